"""The controlled study of App. E: two teachers, one student, five gammas, on a line."""

from opdkit.study.control.study import ControlStudy

__all__ = ["ControlStudy"]
