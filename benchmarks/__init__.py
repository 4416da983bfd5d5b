"""Speed and memory compared with other projects: `python -m benchmarks`.

Every repeat of every contestant runs in a fresh process, and contestants alternate, so that a slowdown of the machine
affects all of them. The results are ratios of minima and of medians.
"""
