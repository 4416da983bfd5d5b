"""Checks of a student, teacher and task before a run: functions from data to report sections."""
