"""Finds the tokens that two vocabularies have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.tokenization.bytes import TokenBytes


@dataclass(frozen=True)
class SharedVocabulary:
    """Ids of tokens shared by both vocabularies, in student order.

    Attributes:
        student_ids: i64[S].
        teacher_ids: i64[S], the same tokens.
        to_teacher: i64[V_student], the teacher id of each student id, -1 if none.
        to_student: i64[V_teacher], the reverse.
    """

    student_ids: Tensor
    teacher_ids: Tensor
    to_teacher: Tensor
    to_student: Tensor

    def __len__(self) -> int:
        return len(self.student_ids)

    @property
    def pairs(self) -> Tensor:
        """i64[S, 2]: (student id, teacher id)."""
        return torch.stack([self.student_ids, self.teacher_ids], dim=1)

    def mass(self, log_prob: Tensor) -> Tensor:
        """Total probability f[...] of the shared ids. log_prob f[..., V_teacher] of the teacher."""
        return log_prob[..., self.teacher_ids.to(log_prob.device)].logsumexp(-1).exp()


def shared_vocabulary(student: TokenBytes, teacher: TokenBytes, sizes: tuple[int, int]) -> SharedVocabulary:
    """Tokens with equal bytes, neither special nor ambiguous in either vocabulary, plus one pair per common role.

    sizes: V_student and V_teacher, the rows of the two heads. The first of several ids with one role is used.
    """
    theirs = {string: index for string, index in teacher.ids.items() if string not in teacher.ambiguous}
    pairs = [
        (index, theirs[string])
        for string, index in student.ids.items()
        if string in theirs and string not in student.ambiguous
    ]
    ours_by_role, theirs_by_role = student.id_of_role, teacher.id_of_role
    pairs += [(ours_by_role[role], theirs_by_role[role]) for role in ours_by_role.keys() & theirs_by_role.keys()]
    pairs = sorted((a, b) for a, b in pairs if a < sizes[0] and b < sizes[1])
    ids = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    to_teacher = torch.full((sizes[0],), -1).index_put((ids[:, 0],), ids[:, 1])
    to_student = torch.full((sizes[1],), -1).index_put((ids[:, 1],), ids[:, 0])
    return SharedVocabulary(ids[:, 0].contiguous(), ids[:, 1].contiguous(), to_teacher, to_student)
