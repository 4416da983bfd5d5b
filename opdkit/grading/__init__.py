"""Grading of answers: extraction, comparison, algebra under limits."""
