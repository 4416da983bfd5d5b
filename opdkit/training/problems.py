"""Walks over problems in a seeded, endless order that can be resumed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.seeding import derive_seed


class EpochSampler:
    """Numbers below `count`, in a new order every epoch, without end. `cursor` and `dropped` are all of its state.

    cursor counts what was taken; dropped counts what its user passed over.
    """

    def __init__(self, count: int, seed: int) -> None:
        if count == 0:
            raise UserError("the task has no problems")
        self.count = count
        self.cursor = 0
        self.dropped = 0
        self._seed = seed
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, dtype=np.int64)

    def next(self) -> int:
        """The next number."""
        epoch, place = divmod(self.cursor, self.count)
        if epoch != self._epoch:
            generator = np.random.default_rng(derive_seed(self._seed, "order", epoch))
            self._order = generator.permutation(self.count)
            self._epoch = epoch
        self.cursor += 1
        return int(self._order[place])

    def restarted(self) -> EpochSampler:
        """The same walk, at its beginning."""
        return EpochSampler(self.count, self._seed)

    def state(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"cursor": self.cursor, "dropped": self.dropped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.cursor, self.dropped = int(state["cursor"]), int(state["dropped"])


class ProblemStream:
    """Walks over problems and renders them.

    render: problem -> prompt ids. A prompt longer than `limit` tokens is passed over and counted.
    """

    def __init__(
        self, problems: Sequence[Problem], render: Callable[[Problem], list[int]], limit: int, seed: int
    ) -> None:
        self.sampler = EpochSampler(len(problems), seed)
        self._problems = problems
        self._render = render
        self._limit = limit
        self._seed = seed

    def restarted(self) -> ProblemStream:
        """A walk of its own over the same problems in the same order, which begins at the first."""
        return ProblemStream(self._problems, self._render, self._limit, self._seed)

    @property
    def first(self) -> Problem:
        """The task's first problem, whatever the order of the walk."""
        return self._problems[0]

    def take(self, count: int) -> list[tuple[Problem, list[int]]]:
        """The next `count` problems with their prompts."""
        taken: list[tuple[Problem, list[int]]] = []
        passed = 0
        while len(taken) < count:
            problem = self._problems[self.sampler.next()]
            ids = self._render(problem)
            if len(ids) <= self._limit:
                taken.append((problem, ids))
                passed = 0
                continue
            self.sampler.dropped += 1
            passed += 1
            if passed >= len(self._problems):
                raise UserError(
                    f"every prompt of the task is longer than rollout.max_prompt_tokens={self._limit} "
                    f"(problem {problem.identifier}: {len(ids)} tokens)"
                )
        return taken

    def require_one(self, tries: int = 64) -> None:
        """Raise UserError, before anything is written, where none of the first `tries` prompts fits."""
        lengths = [len(self._render(self._problems[i])) for i in range(min(tries, len(self._problems)))]
        if min(lengths) > self._limit:
            raise UserError(
                f"rollout.max_prompt_tokens={self._limit}: the first {len(lengths)} prompts of the task are all longer "
                f"(the shortest has {min(lengths)} tokens)"
            )
