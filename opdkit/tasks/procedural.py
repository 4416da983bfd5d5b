"""Generated problems from any reasoning-gym dataset."""

from __future__ import annotations

import dataclasses
import difflib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.grading.grade import ask, extract_or_refuse, grade_mathematics, shorten
from opdkit.grading.normal_form import tidy
from opdkit.seeding import derive_seed
from opdkit.tasks.templates import check_template, render
from opdkit.tasks.worked import worked_solution

_DRAWS = 500
_LARGEST = 10_000_000
_LONGEST_ANSWER = 50_000  # characters; some puzzles need a whole board


@dataclass(frozen=True)
class ReasoningGym:
    """A reasoning-gym dataset: `size` problems, generated on access.

    `seed` is the seed of the data, not of the run. A question's `split`, "test" or "train", depends only on its text,
    not the seed: one in ten is a test question (see `is_held_out`), by the hash of its field `split_by`. So no training
    question is ever a test question.
    `template` may use {question} and the fields of the entry's metadata. `scorer` "answers" compares the response's
    answer with the gold one as mathematics; "dataset" uses the dataset's own scorer, required for puzzles with several
    solutions. Entries with an empty answer are redrawn: no response could give it.
    Raises UserError for a name, parameter or size that reasoning-gym rejects.
    """

    dataset: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    size: int = 100_000
    split: Literal["train", "test"] = "train"
    split_by: str = "question"
    template: str = "{question}"
    system: str | None = None
    scorer: Literal["answers", "dataset"] = "dataset"

    def __post_init__(self) -> None:
        if self.split not in ("train", "test"):
            raise UserError(f"split={self.split!r} is not a split; allowed: train, test")
        if self.scorer not in ("answers", "dataset"):
            raise UserError(f"scorer={self.scorer!r} is not known; allowed: answers, dataset")
        if not 1 <= self.size <= _LARGEST:
            raise UserError(f"size={self.size}; allowed: 1 to {_LARGEST}")

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset

    def load(self) -> Sequence[Problem]:
        """The problems. One is generated now, to check the template; the others on access."""
        problems = _Problems(self)
        fields, answer = problems.draw(0, 0)
        if answer is None and self.scorer == "answers":
            raise UserError(f"scorer='answers': {self.dataset} gives no answers of its own; allowed: scorer=dataset")
        check_template(self.template, fields)
        if self.split_by not in fields:
            raise UserError(f"split_by={self.split_by!r} is no field; allowed: {', '.join(sorted(fields))}")
        return problems

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grades of (response, reference) pairs; see `grade_mathematics` for the statuses."""
        if self.scorer == "answers":
            return grade_mathematics(pairs)
        grades: list[Grade | None] = []
        requests: list[tuple[int, str, dict[str, Any]]] = []
        for position, (response, reference) in enumerate(pairs):
            extracted, grade = extract_or_refuse(response, _LONGEST_ANSWER)
            gold = json.loads(reference)
            if grade is None and extracted == gold["answer"]:
                grade = Grade.of(True, shorten(extracted))
            if grade is None:
                requests.append((position, extracted, self._request(extracted, gold)))
            grades.append(grade)
        replies = ask([request for _, _, request in requests])
        for (position, extracted, _), reply in zip(requests, replies, strict=True):
            grades[position] = Grade.of(reply["correct"], shorten(extracted), reply["status"])
        return [grade for grade in grades if grade is not None]

    def _request(self, extracted: str, gold: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "kind": "procedural",
            "dataset": self.dataset,
            "parameters": dict(self.parameters),
            "seed": self.entry_seed(gold["draw"]),
            "size": self.size,
            "index": gold["index"],
            "answer": tidy(extracted) if extracted.startswith("$") else extracted,
        }

    def entry_seed(self, draw: int) -> int:
        """The seed of one draw of `size` entries. reasoning-gym generates entry i from `seed + i`, so nearby seeds
        would share data: hashing separates them."""
        return derive_seed("reasoning-gym", self.split, self.seed, draw) % (1 << 31)


def is_held_out(text: str) -> bool:
    """Whether a question is reserved for testing: one text in ten is, by its CRC-32."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % 10 == 0


class _Problems(Sequence[Problem]):
    """Entries of a reasoning-gym dataset as problems; one of the other split is redrawn from the next draw."""

    def __init__(self, source: ReasoningGym) -> None:
        self._source = source
        self._draws: list[Any] = []

    def draw(self, draw: int, index: int) -> tuple[dict[str, Any], str | None]:
        """The template fields of entry `index` in that draw, and its gold answer.

        The answer is None if the dataset has only a scorer, as for puzzles that it does not solve.
        """
        source = self._source
        while draw >= len(self._draws):
            seed = source.entry_seed(len(self._draws))
            self._draws.append(_create(source.dataset, source.parameters, seed, source.size))
        entry = self._draws[draw][index]
        answer = entry["answer"]
        fields = {**(entry.get("metadata") or {}), "question": entry["question"]}
        return fields, None if answer is None else str(answer)

    def __len__(self) -> int:
        return self._source.size

    @overload
    def __getitem__(self, index: int) -> Problem: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...

    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._problem(index % len(self))

    def __iter__(self) -> Iterator[Problem]:
        return (self[index] for index in range(len(self)))

    def _problem(self, index: int) -> Problem:
        source, wanted = self._source, self._source.split == "test"
        for draw in range(_DRAWS):
            fields, answer = self.draw(draw, index)
            if answer != "" and is_held_out(str(fields[source.split_by])) == wanted:
                break
        else:
            raise UserError(
                f"parameters={dict(source.parameters)}: no {source.split} question was found in {_DRAWS} draws; "
                f"allowed: parameters that make more different questions"
            )
        gold = json.dumps({"answer": answer, "draw": draw, "index": index})
        return Problem(
            identifier=f"{source.dataset}/{source.split}/{source.seed}/{index}",
            messages=render(source.template, fields, source.system),
            reference=gold if answer is None or source.scorer == "dataset" else answer,
            context={"answer": answer or "", "solution": worked_solution(source.dataset, fields) or ""},
        )


def _create(name: str, parameters: Mapping[str, Any], seed: int, size: int) -> Any:
    from reasoning_gym.factory import DATASETS, create_dataset

    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"dataset={name!r} is not a reasoning-gym data set{hint}; there are {len(DATASETS)} of them")
    known = [item.name for item in dataclasses.fields(DATASETS[name][1]) if item.name not in ("seed", "size")]
    for parameter in parameters:
        if parameter not in known:
            near = difflib.get_close_matches(parameter, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"parameters.{parameter}: {name} has no such parameter{hint}; allowed: {', '.join(known)}")
    try:
        return create_dataset(name, seed=seed, size=size, **parameters)
    except Exception as error:  # each dataset checks its parameters in its own way
        raise UserError(f"parameters={dict(parameters)} are not taken by {name}: {error}") from None
