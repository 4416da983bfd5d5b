"""Who scores what the student wrote."""

from opdkit.teachers.local import LoadedTeacher, LocalTeacher

__all__ = ["LoadedTeacher", "LocalTeacher"]
