"""Programs are found in responses, run on their tests, and can't talk themselves into a pass."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import pytest

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.grading.outputs import same_output, same_value
from opdkit.grading.program_tests import ProgramTests
from opdkit.grading.programs import ProgramGrader, find_program
from opdkit.sandbox.limits import Limits
from tests.program_cases import fenced

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs run only on Linux")
GRADER = ProgramGrader(limits=Limits(seconds=2))


@pytest.fixture(scope="module")
def grader() -> ProgramGrader:
    try:
        GRADER.check()
    except UserError as error:
        pytest.skip(str(error))
    return GRADER


def judged(grader: ProgramGrader, tests: ProgramTests, *programs: str) -> list[Grade]:
    return grader.grade([(fenced(program), tests) for program in programs])


FOUND = {
    "the last of two": ("```python\na = 1\n```\nBetter:\n```python\nb = 2\n```", "b = 2\n"),
    "no language": ("```\na = 1\n```", "a = 1\n"),
    "other languages do not count": ("```py\na = 1\n```\n```bash\npip install x\n```\n```text\n3\n```", "a = 1\n"),
    "one that is not closed does not count": ("```python\na = 1\n```\n```python\nb =", "a = 1\n"),
    "in a list": ("1. So:\n   ```python\n   if 1:\n       a = 1\n   ```", "if 1:\n    a = 1\n"),
    "tildes": ("~~~python\na = 1\n```\n~~~", "a = 1\n```\n"),
    "a longer fence": ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
    "after the reasoning": ("<think>```python\na = 1\n```</think>```python\nb = 2\n```<|im_end|>", "b = 2\n"),
}
NOT_FOUND = {
    "no block": ("print(1)", "no_answer"),
    "an empty block": ("```python\n\n```", "no_answer"),
    "a block without an end": ("```python\na = 1\n", "no_answer"),
    "in the reasoning alone": ("<think>```python\na = 1\n```</think>It is done.", "no_answer"),
    "reasoning without an end": ("<think>```python\na = 1\n```", "no_answer"),
    "another turn": ("```python\na = 1\n```<|im_end|>\n<|im_start|>user\n", "other_turn"),
    "surrogates": ("```python\na = '\ud800'\n```", "not_text"),
    "too long": (f"```python\n{'x' * 100_001}\n```", "too_long"),
}


@pytest.mark.parametrize("case", FOUND)
def test_a_program_is_found(case: str) -> None:
    text, program = FOUND[case]
    assert find_program(text) == (program, "ok")


@pytest.mark.parametrize("case", NOT_FOUND)
def test_where_there_is_none_the_reason_is_told(case: str) -> None:
    text, status = NOT_FOUND[case]
    assert find_program(text) == ("", status)
    (grade,) = GRADER.grade([(text, ProgramTests.of_outputs([("", "1")]))])
    assert (grade.reward, grade.correct, grade.status) == (0.0, False, status)
    assert grade.parts["no_program"] == float(status == "no_answer")


def test_the_block_that_defines_the_function_is_taken() -> None:
    text = "```python\ndef f(x):\n    return x\n```\nTry it:\n```python\nprint(f(3))\n```"
    assert find_program(text, "f")[0].startswith("def f(x)")
    assert find_program(text)[0] == "print(f(3))\n"


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("1 2\n3", "1 2 \n3\n\n", True),
        ("1\n2", "1 2", False),
        ("1.50", "1.5", True),
        ("1.0 2", "1 2.00", True),
        ("1e3", "1000", True),
        ("50000000000000000", "50000000000000001", False),
        ("0.1234567", "0.1234568", False),
        ("nan", "nan", True),
        ("NaN", "nan", False),
        ("1_0", "10", False),
        ("yes", "Yes", False),
        ("", "0", False),
        ("1\r\n2\r\n", "1\n2", True),
        ("9" * 20_000, "9" * 20_000, True),
    ],
)
def test_outputs_are_compared_as_livecodebench_does(printed: str, expected: str, same: bool) -> None:
    assert same_output(printed, expected) is same


def test_a_tolerance_is_for_fractions_alone() -> None:
    assert same_output("0.1234567", "0.1234568", 1e-6)
    assert not same_output("0.1234567", "0.1235", 1e-6)
    assert not same_output("1000001", "1000000", 1e-3)
    assert same_value([0.1 + 0.2, {"a": (1.0,)}], [0.3, {"a": (1.0 + 1e-9,)}], 1e-6)
    assert not same_value([1], (1,))
    assert same_value((1, (2,)), [1, [2]], loose=True)
    assert same_value(True, 1)
    assert not same_value(10**400, 1e10, 1e-6)


ECHO = ProgramTests.of_outputs([("3\n", "6"), ("5\n", "10")])
FAILING = {
    "x = = 1": ("syntax_error", "SyntaxError"),
    "print(2 * int(input())) if 0 else print(7)": ("wrong_output", "test 1: printed '7', not '6'"),
    "n = int(input())\nprint(2 * n if n < 4 else n)": ("wrong_output", "test 2: printed '5', not '10'"),
    "print(undefined)": ("runtime_error", "NameError: name 'undefined' is not defined"),
    "print(2 * int(input()))\nraise SystemExit(1)": ("runtime_error", "exit status 1"),
    "import os\nprint(2 * int(input()), flush=True)\nos.abort()": ("runtime_error", "exit status 134"),
    "while True: pass": ("time_limit", "test 1: time limit"),
    "print('x' * 200000)": ("output_limit", "output limit"),
    "x = bytearray(10 << 30)": ("runtime_error", "MemoryError"),
    "": ("no_answer", "None"),
}


def test_faults_are_named(grader: ProgramGrader) -> None:
    grades = judged(grader, ECHO, *FAILING)
    for (program, (status, told)), grade in zip(FAILING.items(), grades, strict=True):
        assert (grade.status, grade.reward, grade.correct) == (status, 0.0, False), program
        assert told in str(grade.extracted), program
        assert grade.parts.get(status, 1.0) == 1.0


def test_a_pass_says_so_and_the_share_is_told_where_it_counts(grader: ProgramGrader) -> None:
    (right,) = judged(grader, ECHO, "print(2 * int(input()))")
    assert (right.reward, right.correct, right.status, right.extracted) == (1.0, True, "ok", "2 of 2 passed")
    assert right.parts["tests_passed"] == 1.0
    half = "n = int(input())\nprint(2 * n if n > 4 else n)"
    (one,) = judged(ProgramGrader(limits=grader.limits, partial=True), ECHO, half)
    assert (one.reward, one.correct, one.status) == (0.5, False, "wrong_output")
    assert one.extracted == "1 of 2 passed; test 1: printed '3', not '6'"


ASSERTIONS = ProgramTests.of_assertions(
    ["assert f(2) == 4", "assert f([1]) != 3 and len(f([1, 2])) == 4", "assert abs(f(0.25) - 0.5) < 1e-9"]
)
CHECK = ProgramTests.of_check(
    "def check(candidate):\n    for n in range(3):\n        assert candidate(n) == 2 * n\n",
    "f",
    "def f(n):\n    '''Twice.'''\n",
)
ANYTHING = (
    "class Any(int):\n"
    + "".join(f"    def __{n}__(self, *a): return True\n" for n in ("eq", "ne", "lt", "gt", "bool", "len", "contains"))
    + "".join(f"    def __{n}__(self, *a): return self\n" for n in ("sub", "abs", "add", "neg", "getitem"))
    + "    __hash__ = int.__hash__\n"
)
CHEATS = {
    "exit": "import sys\nsys.exit(0)",
    "exit in the function": "import sys\ndef f(n): sys.exit(0)",
    "hard exit": "import os\nos._exit(0)",
    "hard exit in the function": "import os\ndef f(n): os._exit(0)",
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)",
    "printing": "print('2 of 2 passed'); print('{\"value\": 5}')\ndef f(n): print('ok'); return None",
    "equal to everything": f"{ANYTHING}def f(n): return Any()",
    "lists of what is equal to everything": f"{ANYTHING}def f(n): return [Any(), Any(), Any()]",
    "under another's name": f"{ANYTHING}Any.__module__ = 'collections'\ndef f(n): return Any()",
    "a class that is none": (
        "class Meta(type):\n    def __eq__(c, o): return True\n    def __sub__(c, o): return 0\n"
        "    def __len__(c): return 4\n    def __hash__(c): return 0\nclass A(metaclass=Meta): pass\ndef f(n): return A"
    ),
    "other builtins": (
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.len = lambda x: 4\nbuiltins.range = lambda *a: ()\n"
        "builtins.AssertionError = KeyError\nbuiltins.compile = lambda *a, **k: None\nbuiltins.exec = lambda *a: None\n"
        "def f(n): return None"
    ),
    "names of its own": "def abs(x): return 0\ndef len(x): return 4\n__plain__ = lambda x: x\ndef f(n): return None",
    "globals of the tests": "def f(n):\n    globals()['abs'] = lambda x: 0\n    return None",
    "another way of writing": (
        "import os, json\nreal = os.write\nos.write = lambda d, b: real(d, b.replace(b'fault', b'value'))\n"
        "json.dumps = lambda *a, **k: '{\"value\": 5}'\ndef f(n): return None"
    ),
    "reports of its own": (
        "import os\nfor d in range(3, 12):\n    try: os.write(d, b'{\"value\": 5}\\n0 1 2\\n' * 3)\n"
        "    except OSError: pass\ndef f(n): return None"
    ),
    "a guess at the token": (
        "import os\nfor d in range(3, 12):\n    try: os.write(d, b'0' * 64 + b' 0 1 2\\n')\n"
        "    except OSError: pass\nos._exit(0)"
    ),
    "errors that hide": ("class Odd(BaseException):\n    def __str__(self): raise Odd\ndef f(n): raise Odd"),
    "a second process": "import os\nif os.fork(): os._exit(0)\ndef f(n): return None",
    "no error is one": "import sys\nsys.excepthook = lambda *a: None\ndef f(n): raise AssertionError",
    "verdicts of its own": (
        "import os\nfor d in range(3, 20):\n    for told in ('held', 'unsupported', 'call'):\n"
        '        try: os.write(d, b\'{"%s": "f", "arguments": []}\\n\' % told.encode())\n'
        "        except OSError: pass\ndef f(n): return None"
    ),
    "an error that names code": "class __import__(Exception): pass\ndef f(n): raise __import__('os')",
    "what the descriptors hold": (
        "import os\nfor d in range(3, 20):\n    try: text = os.pread(d, 1 << 20, 0)\n    except OSError: continue\n"
        "    for e in range(3, 20):\n"
        "        try: os.write(e, text[-64:] + b' 0 1 2\\n')\n        except OSError: pass\n"
        "def f(n): return None"
    ),
    "what the frames hold": (
        "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in list(frame.f_locals.values()):\n"
        "            if isinstance(value, bytes) and len(value) == 64:\n"
        "                import os\n                os.write(frame.f_locals['report'], value + b' 0 1 2\\n')\n"
        "        frame = frame.f_back\n    return None"
    ),
}


@pytest.mark.parametrize("tests", [ASSERTIONS, CHECK, ECHO], ids=["MBPP", "HumanEval", "stdin"])
def test_no_program_talks_itself_into_a_pass(grader: ProgramGrader, tests: ProgramTests) -> None:
    grades = judged(ProgramGrader(limits=grader.limits, partial=True), tests, *CHEATS.values())
    passed = {name: grade for name, grade in zip(CHEATS, grades, strict=True) if grade.reward > 0}
    assert passed == {}
    assert {grade.status for grade in grades} <= {"wrong_output", "runtime_error"}


def test_right_programs_pass_assertions(grader: ProgramGrader) -> None:
    right = "def f(n):\n    return n * 2"
    imports = "from __future__ import annotations\nimport math\ndef f(n: Any) -> int:\n    return n + n"
    by_name = "f = lambda n: n * 2"
    assert [grade.status for grade in judged(grader, ASSERTIONS, right, imports, by_name)] == ["ok"] * 3
    body = "    return 2 * n"
    assert [grade.status for grade in judged(grader, CHECK, right, imports, body)] == ["ok"] * 3
    known = "from collections import Counter, OrderedDict, namedtuple\nfrom fractions import Fraction\n"
    values = ProgramTests.of_assertions(
        ["x = 1\nassert f(1) == {'a': 1}", "y = 1\nassert f(2) == 0.5", "z=1\nassert f(3) == (1, 2)"]
    )
    returned = "P = namedtuple('P', 'x y')\ndef f(n):\n    return [0, Counter('a'), Fraction(1, 2), P(1, 2)][n]"
    assert judged(grader, values, known + returned)[0].status == "ok"


CLASSES = ProgramTests.of_assertions(["assert Stack([1]).top() == 1", "assert len(Stack([1, 2])) == 2"])
LAMBDAS = ProgramTests.of_assertions(
    ["assert apply(lambda x: x + 1, [1, 2]) == [2, 3]", "assert apply(abs, [-1]) == [1]"]
)
IN_PLACE = ProgramTests.of_assertions(["x = [2, 1]\nassert order(x) is None and x == [1, 2]"])
RAISING = ProgramTests.of_assertions(
    ["try:\n    f(-1)\nexcept ValueError as error:\n    assert 'below' in str(error)\nelse:\n    assert False"]
)
TWO = ProgramTests.of_assertions(["assert decode(encode('ab')) == 'ab'", "assert encode(text='ab') == encode('ab')"])


def test_assertions_about_more_than_values(grader: ProgramGrader) -> None:
    stack = (
        "class Stack:\n    def __init__(s, v): s.v = v\n    def top(s): return s.v[-1]\n"
        "    def __len__(s): return len(s.v)"
    )
    mapped = "def apply(f, values): return [f(x) for x in values]"
    ordered = "def order(values): values.sort()"
    raised = "def f(n):\n    if n < 0: raise ValueError('below 0')"
    swapped = "def encode(text): return text[::-1]\ndef decode(text): return text[::-1]"
    for tests, right, wrong in (
        (LAMBDAS, mapped, "def apply(f, values): return values"),
        (IN_PLACE, ordered, "def order(values): values.sort(reverse=True)"),
        (RAISING, raised, "def f(n): raise ValueError('above')"),
        (TWO, swapped, swapped.replace("[::-1]", "[::-2]")),
    ):
        grades = judged(grader, tests, right, wrong)
        assert [grade.status for grade in grades] == ["ok", "wrong_output"], grades
    assert [len(part) for part in (CLASSES.exams, CLASSES.checks)] == [0, 2]
    grades = judged(grader, CLASSES, stack, stack.replace("return s.v[-1]", "return 0"))
    assert [grade.status for grade in grades] == ["ok", "wrong_output"], grades


def test_assertions_become_calls_where_they_can() -> None:
    assert [len(part) for part in (ASSERTIONS.calls, ASSERTIONS.exams, ASSERTIONS.checks)] == [1, 2, 0]
    assert (len(CHECK.calls), len(CHECK.exams), CHECK.function, CHECK.names) == (0, 1, "f", ["f"])
    assert ProgramTests.of_assertions(["assert abs(g(1) - 2) < 1", "assert sorted(g(2)) == []"]).function == "g"
    assert ProgramTests.of_assertions(["assert sum(10, 15) == 6", "assert abs(sum(1, 2)) == 1"]).names == ["sum"]
    plain = "def check(candidate):\n    '''d'''\n    assert candidate([(1, 'a')], {2: {3}}) == -1.5\n    assert True\n"
    plainly = ProgramTests.of_check(plain, "g")
    assert [len(part) for part in (plainly.calls, plainly.exams, plainly.checks)] == [1, 0, 0]
    for odd in (
        "assert f(x=1) == 2",
        "assert f(*[1]) == 2",
        "assert f(1) is None",
        "assert f(...) == 1",
        "assert g(f(1)) == 1",
    ):
        assert not ProgramTests.of_assertions([odd]).calls, odd
    with pytest.raises(SyntaxError):
        ProgramTests.of_assertions(["assert f("])


def test_calls_see_values_as_they_are(grader: ProgramGrader) -> None:
    values: Sequence[object] = [
        (1, [2.5]),
        {"a": {1, 2}},
        b"x",
        1j,
        None,
        True,
        "ü",
        [[]],
        {(1, 2): "t"},
        float("1e300"),
    ]
    program = f"def f(n):\n    return {list(values)!r}[n]"
    tests = ProgramTests.of_assertions([f"assert f({n}) == {value!r}" for n, value in enumerate(values)])
    assert len(tests.calls) == len(values)
    assert judged(grader, tests, program)[0].extracted == f"{len(values)} of {len(values)} passed"
    deep = "def f(n):\n    x = []\n    for _ in range(5000): x = [x]\n    return x"
    endless = "def f(n):\n    x = []\n    x.append(x)\n    return x"
    huge = "def f(n):\n    return 'x' * 10_000_000"
    grades = judged(grader, tests, deep, endless, huge)
    assert [grade.status for grade in grades] == ["runtime_error", "runtime_error", "output_limit"]


def test_the_same_program_is_judged_once_and_order_is_kept(grader: ProgramGrader) -> None:
    programs = ["print(2 * int(input()))", "print(1)"] * 3
    assert [grade.reward for grade in judged(grader, ECHO, *programs)] == [1.0, 0.0] * 3


def test_what_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="sandbox='none'; allowed: bwrap, process"):
        ProgramGrader(sandbox="none")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="tolerance=-1"):
        ProgramGrader(tolerance=-1)
    with pytest.raises(UserError, match="sandbox=bwrap: python=/bin/true: not a Python interpreter"):
        ProgramGrader(python="/bin/true").check()
    assert json.dumps(CHECK.digest) == f'"{CHECK.digest}"'
