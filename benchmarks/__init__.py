"""Speed and memory beside other projects' code: `python -m benchmarks`.

Every repeat of every contestant runs in a fresh process of its own, turn and turn about, so that a machine
that slows down slows all of them. The answers are ratios of minima and of medians.
"""
