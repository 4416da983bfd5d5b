"""Small problems in the forms that public sets have, each with a right program and one that just misses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """A row, a program that passes its tests, one that does not, and why the second fails."""

    name: str
    row: dict[str, Any]
    right: str
    wrong: str
    status: str = "wrong_output"


def stdin_row(question: str, *pairs: tuple[str, str]) -> dict[str, Any]:
    return {"question": question, "inputs": [one for one, _ in pairs], "outputs": [other for _, other in pairs]}


DOUBLE = Case(
    "inputs and outputs",
    stdin_row("Print twice the number that is read.", ("3\n", "6\n"), ("-4\n", "-8"), ("0", "0\n")),
    "print(2 * int(input()))",
    "print(abs(2 * int(input())))",
)
SUM_OF_LINES = Case(
    "lines until the end",
    stdin_row("Print the sum of each line's numbers.", ("1 2\n3\n", "3\n3\n"), ("5 -5\n", "0")),
    "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))",
    "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())), end=' ')",
)
HALF = Case(
    "numbers are compared by value",
    stdin_row("Print half of each number.", ("1 3 4\n", "0.5 1.5 2\n"), ("10\n", "5")),
    "print(*[int(x) / 2 for x in input().split()])",
    "print(*[int(x) // 2 for x in input().split()])",
)
APPS = Case(
    "APPS",
    {
        "question": "Print the word backwards.",
        "input_output": json.dumps({"inputs": ["abc\n", ["xy", ""]], "outputs": ["cba\n", ["yx"]]}),
        "solutions": json.dumps(["print(input()[::-1])", "pass"]),
    },
    "def main():\n    print(input()[::-1])\n\nif __name__ == '__main__':\n    main()",
    "print(input()[::-2])",
)
APPS_CALL = Case(
    "APPS, a function",
    {
        "question": "The largest of a list, in a list.",
        "input_output": {"fn_name": "top", "inputs": [[[1, 5, 2]], [[-1]]], "outputs": [[5], [-1]]},
    },
    "def top(values):\n    return max(values)",
    "def top(values):\n    return values[-1]",
)
LIVE = Case(
    "LiveCodeBench, standard input",
    {
        "question_content": "Print whether the number is even.",
        "question_id": "even",
        "starter_code": "",
        "metadata": "{}",
        "public_test_cases": json.dumps(
            [
                {"input": "4\n", "output": "Yes\n", "testtype": "stdin"},
                {"input": "7\n", "output": "No\n", "testtype": "stdin"},
            ]
        ),
        "private_test_cases": "eJxrYKm9",
    },
    "print('No' if int(input()) % 2 else 'Yes')",
    "print('no' if int(input()) % 2 else 'Yes')",
)
LIVE_CALL = Case(
    "LiveCodeBench, a function",
    {
        "question_content": "The two places whose values add up to the target.",
        "starter_code": "class Solution:\n    def places(self, values: List[int], target: int) -> List[int]:\n        ",
        "metadata": json.dumps({"func_name": "places"}),
        "public_test_cases": json.dumps(
            [
                {"input": "[1, 4, 6]\n10", "output": "[1, 2]", "testtype": "functional"},
                {"input": "[5, 5]\n10", "output": "[0, 1]", "testtype": "functional"},
            ]
        ),
        "private_test_cases": [{"input": "[2, 0, 1]\n1", "output": "[1, 2]", "testtype": "functional"}],
    },
    "class Solution:\n    def places(self, values: List[int], target: int) -> List[int]:\n"
    "        return next(p for p in combinations(range(len(values)), 2) if values[p[0]] + values[p[1]] == target)",
    "class Solution:\n    def places(self, values: List[int], target: int) -> List[int]:\n"
    "        return sorted(values.index(v) for v in values if target - v in values)[:2]",
)
MBPP = Case(
    "MBPP",
    {
        "text": "Write a function to take the first n of a list as a tuple, and the rest.",
        "test_list": [
            "assert parted([1, 2, 3], 1) == ((1,), [2, 3])",
            "assert parted([], 2) == ((), [])",
            "assert len(parted(list(range(5)), 2)[1]) == 3",
            "assert set(parted('ab', 1)[0]) == {'a'}, 'a text'",
        ],
        "test_setup_code": "",
        "code": "def parted(values, n):\n    return tuple(values[:n]), list(values[n:])",
        "task_id": 7,
    },
    "def parted(values, n):\n    return tuple(values[:n]), list(values[n:])",
    "def parted(values, n):\n    return list(values[:n]), list(values[n:])",
)
HUMANEVAL = Case(
    "HumanEval",
    {
        "task_id": "Ours/0",
        "prompt": 'from typing import List\n\n\ndef gap(values: List[float]) -> float:\n    """The widest gap."""\n',
        "entry_point": "gap",
        "canonical_solution": "    return max(values) - min(values)\n",
        "test": "\n\nMETADATA = {'author': 'us'}\n\n\ndef check(candidate):\n    assert candidate([1, 2, 6]) == 5\n"
        "    assert abs(candidate([0.5, 0.75]) - 0.25) < 1e-6\n"
        "    for n in range(1, 9):\n        assert candidate(list(range(n))) == n - 1, n\n    assert True, 'the end'\n",
    },
    "def gap(values: List[float]) -> float:\n    return max(values) - min(values)",
    "def gap(values: List[float]) -> float:\n    return values[-1] - values[0] if values[1:] else 1",
)
VERL = Case(
    "verl",
    {
        "prompt": [
            {"role": "system", "content": "You write programs."},
            {"role": "user", "content": "Add two numbers."},
        ],
        "reward_model": {"style": "rule", "ground_truth": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})},
    },
    "a, b = map(int, input().split())\nprint(a + b)",
    "print(sum(map(int, input())))",
    "runtime_error",
)
CASES = [DOUBLE, SUM_OF_LINES, HALF, APPS, APPS_CALL, LIVE, LIVE_CALL, MBPP, HUMANEVAL, VERL]


def fenced(program: str) -> str:
    return f"Here it is.\n\n```python\n{program}\n```\n"
