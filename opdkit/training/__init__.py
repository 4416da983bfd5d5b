"""The training loop, which joins tasks, rollouts, teachers and objectives; the only package that updates weights."""
