"""Which problems a step sees: a seeded, endless walk over a task that can be taken up anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from opdkit.errors import UserError
from opdkit.seeding import derive_seed
from opdkit.types import Problem


class ProblemStream:
    """Walks over the problems in a new order every epoch. `cursor` and `dropped` are all of its state.

    render: problem -> prompt ids. A prompt longer than `limit` tokens is passed over and counted.
    """

    def __init__(
        self, problems: Sequence[Problem], render: Callable[[Problem], list[int]], limit: int, seed: int
    ) -> None:
        if len(problems) == 0:
            raise UserError("the task has no problems")
        self._problems = problems
        self._render = render
        self._limit = limit
        self._seed = seed
        self._epoch = -1
        self._order: np.ndarray = np.empty(0, dtype=np.int64)
        self.cursor = 0
        self.dropped = 0

    def from_the_start(self) -> ProblemStream:
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
            problem = self._problems[self._index(self.cursor)]
            self.cursor += 1
            ids = self._render(problem)
            if len(ids) <= self._limit:
                taken.append((problem, ids))
                passed = 0
                continue
            self.dropped += 1
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

    def _index(self, cursor: int) -> int:
        epoch, place = divmod(cursor, len(self._problems))
        if epoch != self._epoch:
            generator = np.random.default_rng(derive_seed(self._seed, "order", epoch))
            self._order = generator.permutation(len(self._problems))
            self._epoch = epoch
        return int(self._order[place])
