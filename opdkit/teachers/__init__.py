"""Who scores what the student wrote."""

from opdkit.teachers.local import LoadedTeacher, LocalTeacher
from opdkit.teachers.offloaded import OffloadedTeacher, hold_teachers

__all__ = ["LoadedTeacher", "LocalTeacher", "OffloadedTeacher", "hold_teachers"]
