"""Problems made by reasoning-gym, by the name of any of its data sets."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from opdkit.errors import UserError
from opdkit.seeding import derive_seed
from opdkit.tasks.grading import ask, extract_or_refuse, grade_mathematics, shorten
from opdkit.tasks.normal_form import tidy
from opdkit.tasks.templates import check_template, render
from opdkit.types import Problem, Verdict

_ATTEMPTS = 1000
_SEEDS = 1 << 31


@dataclass(frozen=True)
class ReasoningGym:
    """A reasoning-gym data set: `size` problems, generated when they are looked at.

    `seed` names the data, not the run. The splits `train` and `test` are drawn from seeds far apart, and a train
    question that is among the first `held_out` test questions is replaced by a later one, so that the two never
    meet as long as both sides name the same `dataset`, `parameters`, `seed` and `held_out`.
    `template` may use {question} and the fields of the entry's metadata. `scorer` "answers" compares the response's
    answer with the gold one as mathematics; "dataset" asks the data set, which a puzzle with several solutions
    needs. Raises UserError for a name, a parameter or a size that reasoning-gym does not take.
    """

    dataset: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    size: int = 100_000
    split: Literal["train", "test"] = "train"
    held_out: int = 1024
    template: str = "{question}"
    system: str | None = None
    scorer: Literal["answers", "dataset"] = "dataset"

    def __post_init__(self) -> None:
        if self.split not in ("train", "test"):
            raise UserError(f"{self.dataset}: split={self.split!r} is not a split; allowed: train, test")
        if self.scorer not in ("answers", "dataset"):
            raise UserError(f"{self.dataset}: scorer={self.scorer!r} is not known; allowed: answers, dataset")
        if self.size < 1 or self.held_out < 0:
            raise UserError(f"{self.dataset}: size={self.size} and held_out={self.held_out}: allowed: size >= 1, held_out >= 0")
        if self.split == "test" and self.size > self.held_out:
            raise UserError(
                f"{self.dataset}: size={self.size} test problems, but only the first held_out={self.held_out} are kept "
                f"out of training; allowed: size <= held_out"
            )

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.dataset

    def load(self) -> Sequence[Problem]:
        """The problems; nothing is generated before it is looked at, but for the held-out questions."""
        test = _create(self.dataset, self.parameters, self._seed("test"), max(self.held_out, 1))
        check_template(self.template, _fields(test[0]), self.dataset)
        if self.split == "test":
            return _Problems(self, test, frozenset())
        excluded = frozenset(str(test[index]["question"]) for index in range(self.held_out))
        data = _create(self.dataset, self.parameters, self._seed("train"), self.size + _ATTEMPTS * self.size)
        return _Problems(self, data, excluded)

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts on (response, reference) pairs; see `grade_mathematics` for the statuses."""
        if self.scorer == "answers":
            return grade_mathematics(pairs)
        verdicts: list[Verdict | None] = []
        requests: list[tuple[int, str, dict[str, Any]]] = []
        for position, (response, reference) in enumerate(pairs):
            extracted, verdict = extract_or_refuse(response)
            gold = json.loads(reference)
            if verdict is None and extracted == gold["answer"]:
                verdict = Verdict(True, shorten(extracted))
            if verdict is None:
                requests.append((position, extracted, self._request(extracted, gold["index"])))
            verdicts.append(verdict)
        replies = ask([request for _, _, request in requests])
        for (position, extracted, _), reply in zip(requests, replies, strict=True):
            verdicts[position] = Verdict(reply["correct"], shorten(extracted), reply["status"])
        return [verdict for verdict in verdicts if verdict is not None]

    def _request(self, extracted: str, index: int) -> dict[str, Any]:
        return {
            "kind": "procedural",
            "dataset": self.dataset,
            "parameters": dict(self.parameters),
            "seed": self._seed(self.split),
            "size": index + 1,
            "index": index,
            "answer": tidy(extracted) if extracted.startswith("$") else extracted,
        }

    def _seed(self, split: str) -> int:
        """reasoning-gym draws entry i from `seed + i`, so the splits' seeds must lie far apart."""
        half = _SEEDS // 2
        return derive_seed("reasoning-gym", self.seed) % (half // 2) + (half if split == "test" else 0)


class _Problems(Sequence[Problem]):
    """Entries of a reasoning-gym data set as problems, those with an excluded question replaced."""

    def __init__(self, source: ReasoningGym, data: Any, excluded: frozenset[str]) -> None:
        self._source, self._data, self._excluded = source, data, excluded

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
        source = self._source
        for attempt in range(_ATTEMPTS):
            place = index + attempt * len(self)
            entry = self._data[place]
            if str(entry["question"]) not in self._excluded:
                break
        else:
            raise UserError(
                f"{source.dataset}: no question outside the {source.held_out} held-out ones was found; "
                f"allowed: parameters that make more questions, or a smaller held_out"
            )
        answer = str(entry["answer"])
        return Problem(
            identifier=f"{source.dataset}/{source.split}/{source.seed}/{index}",
            messages=render(source.template, _fields(entry), source.system),
            reference=answer if source.scorer == "answers" else json.dumps({"answer": answer, "index": place}),
        )


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    metadata = entry.get("metadata") or {}
    return {**metadata, "question": entry["question"]}


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
            raise UserError(f"{name}: parameter {parameter!r} is not known{hint}; allowed: {', '.join(known)}")
    try:
        return create_dataset(name, seed=seed, size=size, **parameters)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"{name}: parameters={dict(parameters)} are not taken: {error}") from None
