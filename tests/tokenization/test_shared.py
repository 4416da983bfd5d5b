"""Which tokens two vocabularies have in common."""

from __future__ import annotations

import torch
from hypothesis import given

from opdkit.tokenization import TokenBytes, shared_vocabulary
from tests.tokenization.tiny import Merges, merges


def test_the_same_bytes_neither_special_nor_ambiguous() -> None:
    student = TokenBytes((b"a", b"b", b"ab", b"c", b"c", None, None), {5: "<s>", 6: "</s>"}).with_stops([6])
    teacher = TokenBytes((None, b"c", b"ab", b"x", b"a", None, None), {0: "</s>", 5: "<s>", 6: "<end>"}).with_stops(
        [0, 6]
    )
    shared = shared_vocabulary(student, teacher, (7, 7))
    assert shared.student_ids.tolist() == [0, 2, 6]
    assert shared.teacher_ids.tolist() == [4, 2, 0]
    assert shared.to_teacher.tolist() == [4, -1, 2, -1, -1, -1, 0]
    assert shared.to_student.tolist() == [6, -1, 2, -1, 0, -1, -1]
    assert len(shared) == 3


def test_ids_beyond_a_head_and_unused_rows_of_it_are_not_shared() -> None:
    table = TokenBytes((b"a", b"b", b"c"))
    shared = shared_vocabulary(table, table, (2, 5))
    assert shared.student_ids.tolist() == [0, 1]
    assert shared.to_teacher.tolist() == [0, 1]
    assert shared.to_student.tolist() == [0, 1, -1, -1, -1]


def test_nothing_in_common() -> None:
    assert len(shared_vocabulary(TokenBytes((b"a",)), TokenBytes((b"b",)), (1, 1))) == 0


@given(merges)
def test_one_vocabulary_shares_all_of_itself(both: Merges) -> None:
    size = len(both.table.strings)
    shared = shared_vocabulary(both.table, both.table, (size, size))
    assert shared.student_ids.tolist() == shared.teacher_ids.tolist() == list(range(size))


def test_mass_of_the_shared_ids() -> None:
    shared = shared_vocabulary(TokenBytes((b"a", b"b")), TokenBytes((b"b", b"x", b"a")), (2, 3))
    log_prob = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]).log()
    torch.testing.assert_close(shared.mass(log_prob), torch.tensor([0.75, 0.2]))
