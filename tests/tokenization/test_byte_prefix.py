"""Masses over the student's vocabulary, against every string of two tiny tokenizers over two letters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from opdkit.tokenization import BytePrefixMap, Placement, TokenBytes, path_log_prob, place, student_log_mass
from opdkit.tokenization.byte_prefix import scatter_logsumexp
from tests.tokenization.tiny import Merges, letters, merges


class RandomModel:
    """A teacher: after each of its token strings another random distribution, float64."""

    def __init__(self, tokenizer: Merges, seed: int) -> None:
        self.table = tokenizer.table
        self.size = len(self.table.strings)
        self._seed = seed

    def __call__(self, context: Sequence[int]) -> Tensor:
        place = self._seed
        for token in context:
            place = (place * 31 + token + 1) % 2**31
        return (
            2 * torch.randn(self.size, generator=torch.Generator().manual_seed(place), dtype=torch.float64)
        ).log_softmax(-1)

    def before_each(self, ids: Sequence[int]) -> Tensor:
        return torch.stack([self(ids[:count]) for count in range(len(ids))])

    def starts_with(self, context: tuple[int, ...], text: bytes) -> float:
        """Probability that the text after `context` begins with `text`: a walk over all token strings."""
        if not text:
            return 1.0
        total = 0.0
        for token, log_prob in enumerate(self(context).tolist()):
            string = self.table.strings[token]
            if string is None:
                continue
            if string.startswith(text):
                total += math.exp(log_prob)
            elif text.startswith(string):
                total += math.exp(log_prob) * self.starts_with((*context, token), text[len(string) :])
        return total

    def starts_inside(self, context: tuple[int, ...], written: bytes, text: bytes) -> float:
        """The same where the next token is known to continue `written`, if anything is written."""
        if not written:
            return self.starts_with(context, text)
        going_on = [
            (token, string, math.exp(self(context)[token].item()))
            for token, string in enumerate(self.table.strings)
            if string is not None and string.startswith(written) and string != written
        ]
        found = 0.0
        for token, string, probability in going_on:
            rest = string[len(written) :]
            if rest.startswith(text):
                found += probability
            elif text.startswith(rest):
                found += probability * self.starts_with((*context, token), text[len(rest) :])
        return found / sum(probability for _, _, probability in going_on)


def scored(student: Merges, teacher: Merges, text: bytes, seed: int):
    model = RandomModel(teacher, seed)
    ours, theirs = student.encode(text, stopped=True), teacher.encode(text, stopped=True)
    placements = place(student.table.symbols(ours), teacher.table.symbols(theirs))
    known = [p for p in placements if p is not None]
    assert len(known) == len(ours)
    prefixes = BytePrefixMap(student.table, teacher.table, (len(student.table.strings), model.size))
    log_mass = student_log_mass(prefixes, model.before_each(theirs), theirs, ours, known)
    return model, prefixes, ours, theirs, known, log_mass


def by_hand(student: Merges, model: RandomModel, log_prob: Tensor, written: bytes) -> list[float]:
    """Each teacher's token looked up among all of the student's."""
    masses = [0.0] * (len(student.table.strings) + 1)
    for string, probability in zip(model.table.strings, log_prob.exp().tolist(), strict=True):
        if string is None:
            masses[student.stop] += 0.0 if written else probability
        elif string.startswith(written) and (string != written):
            rest = string[len(written) :]
            owner = max((len(own), index) for index, own in enumerate(student.strings) if rest.startswith(own))[1]
            masses[owner] += probability
    return [mass / sum(masses) for mass in masses]


@given(merges, merges, letters, st.integers(0, 99))
def test_masses_sum_to_one_and_are_those_of_every_token(
    student: Merges, teacher: Merges, text: bytes, seed: int
) -> None:
    model, _, _, theirs, placements, log_mass = scored(student, teacher, text, seed)
    torch.testing.assert_close(log_mass.exp().sum(-1), torch.ones(len(placements), dtype=torch.float64))
    for found, where in zip(log_mass.exp(), placements, strict=True):
        if where.crossing is None:
            expected = by_hand(student, model, model(theirs[: where.token]), where.written)
            torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@given(merges, merges, letters, st.integers(0, 99))
def test_the_next_byte_has_the_teachers_probability(student: Merges, teacher: Merges, text: bytes, seed: int) -> None:
    """Whatever the vocabularies: of each letter, the student's tokens that begin with it have the teacher's mass."""
    model, _, _, theirs, placements, log_mass = scored(student, teacher, text, seed)
    for found, where in zip(log_mass.exp(), placements, strict=True):
        for letter in (b"a", b"b"):
            mass = sum(found[index].item() for index, own in enumerate(student.strings) if own.startswith(letter))
            exact = model.starts_inside(tuple(theirs[: where.token]), where.written, letter)
            assert mass == pytest.approx(exact, abs=1e-12)


@given(merges, merges, letters, st.integers(0, 99))
def test_a_crossing_token_has_no_more_than_all_paths_and_no_less_than_its_own(
    student: Merges, teacher: Merges, text: bytes, seed: int
) -> None:
    model, prefixes, ours, theirs, placements, log_mass = scored(student, teacher, text, seed)
    for row, where in enumerate(placements):
        if where.crossing is None:
            continue
        path = path_log_prob(prefixes, model.before_each(theirs), theirs, where).exp().item()
        own = student.strings[ours[row]]
        before = tuple(theirs[: where.token])
        assert 0 < path <= model.starts_inside(before, where.written, own) * (1 + 1e-12)
        assert log_mass[row, ours[row]].exp().item() >= path * (1 - 1e-12)
        assert log_mass[row, ours[row]].exp().item() <= model.starts_inside(before, where.written, own) * (1 + 1e-12)
        plain = by_hand(student, model, model(before), where.written)
        assert log_mass[row, ours[row]].exp().item() == pytest.approx(plain[ours[row]] + path, rel=1e-9)
        owner = prefixes.owner(where.rest)
        assert log_mass[row, owner].exp().item() == pytest.approx(plain[owner] - path, abs=1e-12)


@given(merges, letters, st.integers(0, 99))
def test_one_tokenizer_for_both_changes_no_bit(both: Merges, text: bytes, seed: int) -> None:
    model, _, _, theirs, _, log_mass = scored(both, both, text, seed)
    expected = model.before_each(theirs)
    assert torch.equal(log_mass[:, :-1], expected)
    assert torch.equal(log_mass[:, -1], torch.full((len(theirs),), -torch.inf, dtype=torch.float64))


def test_a_student_of_single_letters_is_told_the_teachers_every_string() -> None:
    """All strings up to six letters: the student's masses multiply to the probability of the teacher's path, but for
    its decisions to end a token or to go on, which the bytes do not show."""
    student, teacher = Merges([]), Merges([(0, 1), (2, 0), (1, 1)])
    for code in range(2, 2**7):
        text = bin(code)[3:].translate({48: "a", 49: "b"}).encode()
        model, _, ours, theirs, _, log_mass = scored(student, teacher, text, seed=3)
        told = log_mass[torch.arange(len(ours)), torch.tensor(ours)].sum().item()
        hidden, path = 0.0, 0.0
        for count, token in enumerate(theirs):
            log_prob = model(theirs[:count])
            path += log_prob[token].item()
            string = teacher.table.strings[token] or b""
            for length in range(1, len(string) + 1):
                begun = [i for i, s in enumerate(teacher.strings) if s.startswith(string[:length])]
                chosen = (
                    [token] if length == len(string) else [i for i in begun if teacher.strings[i] != string[:length]]
                )
                hidden += (log_prob[chosen].logsumexp(-1) - log_prob[begun].logsumexp(-1)).item()
        assert told + hidden == pytest.approx(path)


def test_what_the_student_can_not_write_is_residual() -> None:
    student = TokenBytes((b"a", b"ab"))
    teacher = TokenBytes((b"abc", b"b", None, b"a", None), {2: "<tool>", 4: "</s>"}).with_stops([4])
    prefixes = BytePrefixMap(student, teacher, (2, 6))
    log_prob = torch.tensor([[0.4, 0.1, 0.1, 0.2, 0.1, 0.1]], dtype=torch.float64).log()
    masses = prefixes.marginal(log_prob, [b""]).exp()
    torch.testing.assert_close(masses, torch.tensor([[0.2, 0.4, 0.4]], dtype=torch.float64))
    inside = prefixes.marginal(log_prob, [b"a"]).exp()  # the next byte is the teacher's b: not one of the student's
    assert inside.tolist() == [[0.0, 0.0, 1.0]]


def test_bytes_of_255_and_empty_vocabularies_do_not_trip_the_search() -> None:
    teacher = TokenBytes((b"\xff", b"\xff\xff", b"\xffa", b"a"))
    prefixes = BytePrefixMap(TokenBytes((b"\xff", b"a")), teacher, (2, 4))
    log_prob = torch.full((1, 4), 0.25, dtype=torch.float64).log()
    assert prefixes.begun(b"\xff").teacher_ids.tolist() == [2, 1]
    torch.testing.assert_close(prefixes.marginal(log_prob, [b"\xff"]).exp()[0, :2], torch.tensor([0.5, 0.5]).double())
    assert prefixes.begins_with(log_prob, b"\xff").exp().tolist() == pytest.approx([0.75])
    nothing = BytePrefixMap(TokenBytes(()), TokenBytes(()), (0, 3))
    assert nothing.marginal(log_prob[:, :3].log_softmax(-1), [b""]).exp().tolist() == [pytest.approx([1.0])]


def test_scattered_logsumexp_keeps_far_values_and_empty_places() -> None:
    values = torch.tensor([[-2000.0, -2000.0, -1.0, -torch.inf]])
    found = scatter_logsumexp(values, torch.tensor([0, 0, 2, 3]), 4)
    torch.testing.assert_close(found, torch.tensor([[-2000.0 + math.log(2), -torch.inf, -1.0, -torch.inf]]))


def test_float32_is_enough() -> None:
    student, teacher = Merges([(0, 1), (0, 0)]), Merges([(1, 0), (0, 2), (1, 1)])
    model, prefixes, ours, theirs, placements, expected = scored(student, teacher, b"abbabaabba", seed=1)
    found = student_log_mass(prefixes, model.before_each(theirs).float(), theirs, ours, placements)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().double(), expected.exp(), atol=1e-6, rtol=1e-5)


def test_a_row_of_placements_without_a_crossing_asks_nothing_of_the_path() -> None:
    where = [Placement(0, b"", b"a")]
    prefixes = BytePrefixMap(TokenBytes((b"a",)), TokenBytes((b"a",)), (1, 1))
    assert student_log_mass(prefixes, torch.zeros(1, 1), [0], [0], where).tolist() == [[0.0, -math.inf]]
