"""The filter against every string: a teacher that writes strings of known probabilities, in its canonical split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opdkit.tokenization import ByteFilter, BytePrefixMap, Filtered, Spelled, place, student_log_mass
from tests.tokenization.tiny import Merges, letters, merges, strings_of

LENGTH = 5
STRINGS = [text for length in range(1, LENGTH + 1) for text in strings_of(length)]


class Canonical:
    """A teacher that writes a string of one to five letters, each with a random probability, and stops. Its tokens are
    always those that its tokenizer gives, as a model's are that was trained on encoded text."""

    def __init__(self, tokenizer: Merges, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        weights = (2.0 * torch.randn(len(STRINGS), generator=generator, dtype=torch.float64)).softmax(-1).tolist()
        self.tokenizer = tokenizer
        self.probability = dict(zip(STRINGS, weights, strict=True))
        self.written = {tuple(tokenizer.encode(text, stopped=True)): p for text, p in self.probability.items()}
        self.size = tokenizer.stop + 1

    @lru_cache  # noqa: B019
    def after(self, context: tuple[int, ...]) -> Tensor:
        """log-probs of the next token; a context that is never written stops."""
        masses = torch.zeros(self.size, dtype=torch.float64)
        for ids, probability in self.written.items():
            if ids[: len(context)] == context and len(ids) > len(context):
                masses[ids[len(context)]] += probability
        if not masses.any():
            masses[self.tokenizer.stop] = 1.0
        return (masses / masses.sum()).clamp(min=1e-300).log()

    def starts(self, text: bytes) -> float:
        return sum(p for other, p in self.probability.items() if other.startswith(text))


def filtered(student: Merges, model: Canonical, text: bytes, branching: bool = True) -> tuple[Spelled, Filtered]:
    """The filter with every branch that it wants, and a teacher asked for each."""
    ours, theirs = student.encode(text, stopped=True), model.tokenizer.encode(text, stopped=True)
    symbols = student.table.symbols(ours)
    spelled = Spelled(ours, symbols, place(symbols, model.tokenizer.table.symbols(theirs)), theirs)
    prefixes = BytePrefixMap(student.table, model.tokenizer.table, (student.stop + 1, model.size))
    log_prob = torch.stack([model.after(tuple(theirs[:count])) for count in range(len(theirs))])
    found = ByteFilter(prefixes, spelled, log_prob).run()
    if branching:
        branches = {(j, own): model.after((*theirs[:j], own)) for j, own in found.wanted}
        found = ByteFilter(prefixes, spelled, log_prob, branches).run()
    return spelled, found


@settings(max_examples=60)
@given(merges, merges, letters.filter(lambda text: len(text) <= LENGTH), st.integers(0, 9))
def test_masses_sum_to_one(student: Merges, teacher: Merges, text: bytes, seed: int) -> None:
    for branching in (False, True):
        _, found = filtered(student, Canonical(teacher, seed), text, branching)
        known = ~(found.log_mass == -torch.inf).all(-1)
        assert known[0]
        sums = found.log_mass[known].exp().sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def exact(model: Canonical, text: bytes) -> list[list[float]]:
    """Probabilities of a, b and stop after each prefix of `text`."""
    rows: list[list[float]] = []
    for count in range(len(text) + 1):
        prefix = text[:count]
        whole = model.starts(prefix)
        following = [model.starts(prefix + letter) / whole for letter in (b"a", b"b")]
        rows.append([*following, 1 - sum(following)])
    return rows


# One merge, chains, runs of one letter (white space, as it were): what a number, a word, an indent is made of.
SPLITS = ([(0, 1)], [(0, 0)], [(0, 1), (2, 0)], [(0, 0), (2, 2)], [(0, 0), (2, 0)], [(1, 0), (0, 1)])


@pytest.mark.parametrize("merging", SPLITS, ids=str)
def test_a_student_of_letters_is_told_the_exact_probabilities(merging: list[tuple[int, int]]) -> None:
    """Every string; what is left out is residual, and no larger than what is missing of the letters."""
    student, model = Merges([]), Canonical(Merges(merging), seed=1)
    worst = published = 0.0
    for text in STRINGS:
        spelled, found = filtered(student, model, text)
        true = torch.tensor(exact(model, text), dtype=torch.float64)
        masses, residual = found.log_mass.exp()[:, :-1], found.log_mass.exp()[:, -1:]
        worst = max(worst, (masses - true).abs().max().item() - residual.max().item())
        theirs = spelled.teacher_ids
        log_prob = torch.stack([model.after(tuple(theirs[:count])) for count in range(len(theirs))])
        prefixes = BytePrefixMap(student.table, model.tokenizer.table, (3, model.size))
        placements = [p for p in spelled.placements if p is not None]
        plain = student_log_mass(prefixes, log_prob, theirs, spelled.student_ids, placements).exp()[:, :-1]
        published = max(published, (plain - true).abs().max().item())
    assert worst < 1e-9
    assert published > 0.5, "the split of the whole response tells what comes next"


def test_what_is_residual_goes_where_the_teacher_is_asked() -> None:
    """`a`, then `b`: the teacher's split is `ab`, and what it would have said behind `a` is one more question."""
    student, model = Merges([]), Canonical(Merges([(0, 1)]), seed=3)
    _, without = filtered(student, model, b"ab", branching=False)
    assert list(without.wanted) == [(0, 0)]
    ended = model.after(())[0].exp() / (model.after(())[0].exp() + model.after(())[2].exp())
    assert without.wanted[0, 0] == pytest.approx(ended.item())
    assert without.log_mass[1, -1].exp().item() == pytest.approx(ended.item())
    _, whole = filtered(student, model, b"ab")
    assert whole.log_mass[1, -1].exp().item() == pytest.approx(0.0)
    assert whole.log_mass[1].exp()[:3].tolist() == pytest.approx(exact(model, b"ab")[1])


@settings(max_examples=60)
@given(merges, letters.filter(lambda text: len(text) <= LENGTH), st.integers(0, 9))
def test_one_tokenizer_for_both_changes_no_bit(both: Merges, text: bytes, seed: int) -> None:
    model = Canonical(both, seed)
    spelled, found = filtered(both, model, text)
    theirs = spelled.teacher_ids
    expected = torch.stack([model.after(tuple(theirs[:count])) for count in range(len(theirs))])
    assert torch.equal(found.log_mass[:, :-1], expected)
    assert found.wanted == {}


def joint(rows: Tensor, ids: Sequence[int]) -> float:
    return rows[torch.arange(len(ids)), torch.tensor(ids)].sum().item()


@pytest.mark.parametrize("merging", SPLITS, ids=str)
def test_a_student_of_letters_is_told_the_probability_of_each_string(merging: list[tuple[int, int]]) -> None:
    student, model = Merges([]), Canonical(Merges(merging), seed=2)
    for text, probability in model.probability.items():
        spelled, found = filtered(student, model, text)
        if found.log_mass[:, -1].exp().max() < 1e-12:
            assert joint(found.log_mass, spelled.student_ids) == pytest.approx(math.log(probability))


@settings(max_examples=60)
@given(merges, merges, letters.filter(lambda text: len(text) <= LENGTH), st.integers(0, 9))
def test_crossing_tokens_have_no_more_than_their_text(student: Merges, teacher: Merges, text: bytes, seed: int) -> None:
    model = Canonical(teacher, seed)
    spelled, found = filtered(student, model, text)
    (first, *_), index = found.log_mass, spelled.student_ids[0]
    own = student.table.strings[index]
    assert own is not None
    assert first[index].exp().item() <= model.starts(own) * (1 + 1e-9)
