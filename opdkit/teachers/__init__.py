"""Who scores what the student wrote."""

from opdkit.teachers.local import LoadedTeacher, LocalTeacher
from opdkit.teachers.swapping import SwappedTeacher, hold_teachers

__all__ = ["LoadedTeacher", "LocalTeacher", "SwappedTeacher", "hold_teachers"]
