"""The loop: joins tasks, rollout, teachers, objectives; the only package that changes weights."""
