"""Runs a program that nobody has read: in a process of its own, under limits, behind a wall where there is one."""
