"""Programs that try to harm the machine they run on."""

STUBBORN = """
import signal
for one in range(1, 64):
    try: signal.signal(one, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
"""
TOO_MUCH_AT_ONCE = """
try: bytearray(10 << 30)
except MemoryError: print("MemoryError")
"""
TOO_MUCH_TOGETHER = """
import os, time
for _ in range(5):
    if os.fork() == 0: break
held = b"x" * (120 << 20)
time.sleep(30)
"""
OTHER_CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, call in {
    "memory in files": lambda: os.memfd_create("a"),
    "memory of System V": lambda: libc.shmget(0, 1 << 30, 0o1600),
    "a user namespace": lambda: libc.unshare(0x10000000),
    "a mount": lambda: libc.mount(b"x", b"/tmp", b"tmpfs", 0, None),
    "another process": lambda: libc.ptrace(16, os.getppid(), 0, 0),
    "a socket": lambda: libc.socket(2, 1, 0),
    "clone into namespaces": lambda: libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": lambda: libc.syscall(435, 0, 0),
    "the ring": lambda: libc.syscall(425, 8, bytes(120)),
    "x32": lambda: libc.syscall(0x40000000 + 39),
}.items():
    try:
        if call() >= 0: print(name)
    except OSError: pass
print("tried")
"""
CHILDREN = """
import os
made = 0
try:
    for _ in range(500):
        if os.fork() == 0:
            while True: os.getpid()
        made += 1
except OSError: pass
print(made)
"""
FORK_BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
FLEEING_BOMB = """
import os
while True:
    try:
        if os.fork() == 0: os.setsid()
        else: os._exit(0)
    except OSError: pass
"""
DAEMON = """
import os, time
if os.fork() == 0:
    LEAVE
    if os.fork() == 0: time.sleep(60)
    os._exit(0)
print("started")
"""
LOOKING_FOR_SECRETS = """
import os
print(dict(os.environ))
for name in ("/proc/self/environ", "/proc/1/environ"):
    try: print(open(name).read())
    except OSError: pass
"""
WRITING_ELSEWHERE = """
import os
for n in (0, 3, 4, 5, 6):
    try:
        os.pwrite(n, b"x", 0)
        print("written", n)
    except OSError: pass
"""
RAISING_LIMITS = """
import resource
for name in dir(resource):
    if name.startswith("RLIMIT_") and name != "RLIMIT_STACK":
        hard = resource.getrlimit(getattr(resource, name))[1]
        try:
            if hard != -1:
                resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1))
                print("raised", name)
        except (ValueError, OSError): pass
print("tried")
"""
BECOMING_ROOT = """
import os
for call in (os.setuid, os.setgid):
    try:
        call(0)
        print("became", os.getuid(), os.getgid())
    except OSError: pass
print("tried")
"""
OUT_OF_BOUNDS = (
    "open('/etc/passwd').read()",
    "import socket; socket.create_connection(('127.0.0.1', 80), 1)",
    "open('/usr/bin/x', 'w')",
    "open('/dev/shm/x', 'w')",
    "import os; os.symlink('/', '/tmp/root'); os.listdir('/tmp/root/root/.cache')",
    "import os; os.mknod('/tmp/sda', 0o60600, os.makedev(8, 0)); open('/tmp/sda').read()",
    "import subprocess; subprocess.run(['mount', '-t', 'tmpfs', 'x', '/usr'], check=True)",
    "open('/proc/sys/kernel/hostname', 'w').write('x')",
    "open('/proc/sysrq-trigger', 'w').write('x')",
    "for n in range(40): open(str(n), 'wb').write(bytes(1 << 20))",
)
