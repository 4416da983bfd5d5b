"""The seccomp filter of sandboxed programs.

It rejects system calls that allocate memory outside of all limits (memfd, System V IPC), create namespaces, access
other processes, open sockets, or reach kernel interfaces that test programs do not need.
"""

from __future__ import annotations

import errno
import functools
import platform
import struct

# Name -> number on x86_64 and aarch64, from the kernel's tables.
_REFUSED = {
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "mount_setattr": (442, 442),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "syslog": (103, 116), "personality": (135, 92),
    "socket": (41, 198),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), 435
_NEW_NAMESPACES = 0x7E02_0000
_MACHINES = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}
_OTHER_TABLE = 0x4000_0000  # x86_64's second table of numbers (x32)
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


@functools.cache
def syscall_filter() -> bytes | None:
    """The filter for this machine, None if its system call numbers are unknown."""
    if platform.machine() not in _MACHINES:
        return None
    column, machine = _MACHINES[platform.machine()]
    numbers = sorted(pair[column] for pair in _REFUSED.values())
    # Each step is (code, value, jump if true, jump if false); jump targets are resolved at the end.
    steps: list[tuple[int, int, str, str]] = [
        (_LOAD, _MACHINE, "", ""),
        (_EQUAL, machine, "", "refuse"),
        (_LOAD, _NUMBER, "", ""),
        (_AT_LEAST, _OTHER_TABLE, "refuse", ""),
        (_EQUAL, _CLONE3, "unknown", ""),
        *((_EQUAL, number, "refuse", "") for number in numbers),
        (_EQUAL, _CLONE[column], "", "allow"),
        (_LOAD, _FIRST_ARGUMENT, "", ""),
        (_ANY_BIT, _NEW_NAMESPACES, "refuse", "allow"),
    ]
    places = {"allow": len(steps), "refuse": len(steps) + 1, "unknown": len(steps) + 2}
    # On ENOSYS for clone3 a C library falls back to clone, whose flags the filter can check.
    ends = [_ALLOW, _REFUSE | errno.EPERM, _REFUSE | errno.ENOSYS]
    lines = [
        struct.pack("=HBBI", code, *(places[to] - at - 1 if to else 0 for to in (yes, no)), value)
        for at, (code, value, yes, no) in enumerate(steps)
    ]
    return b"".join([*lines, *(struct.pack("=HBBI", _RETURN, 0, 0, end) for end in ends)])
