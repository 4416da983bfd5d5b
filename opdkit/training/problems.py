"""A seeded, endless order of problems that can be resumed at any point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.seeding import derive_seed


class EpochSampler:
    """An endless sequence of indices below `count`, reshuffled every epoch. Its state is `cursor` and `dropped`.

    cursor: the number of indices taken. dropped: the number that the user skipped.
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
        """The next index."""
        epoch, place = divmod(self.cursor, self.count)
        if epoch != self._epoch:
            generator = np.random.default_rng(derive_seed(self._seed, "order", epoch))
            self._order = generator.permutation(self.count)
            self._epoch = epoch
        self.cursor += 1
        return int(self._order[place])

    def restarted(self) -> EpochSampler:
        """A new sampler with the same order, at its start."""
        return EpochSampler(self.count, self._seed)

    def state(self) -> dict[str, int]:
        """The state for a checkpoint."""
        return {"cursor": self.cursor, "dropped": self.dropped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resume from `state`."""
        self.cursor, self.dropped = int(state["cursor"]), int(state["dropped"])


class ProblemStream:
    """Iterates over problems and renders their prompts.

    render: problem -> prompt ids. Prompts longer than `limit` tokens are skipped and counted.
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
        """An independent stream over the same problems in the same order, from the first."""
        return ProblemStream(self._problems, self._render, self._limit, self._seed)

    @property
    def first(self) -> Problem:
        """The task's first problem, regardless of the order."""
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
        """Raises UserError if none of the first `tries` prompts fits, before anything is generated."""
        lengths = [len(self._render(self._problems[i])) for i in range(min(tries, len(self._problems)))]
        if min(lengths) > self._limit:
            raise UserError(
                f"rollout.max_prompt_tokens={self._limit}: the first {len(lengths)} prompts of the task are all longer "
                f"(the shortest has {min(lengths)} tokens)"
            )
