"""Whether an answer is right: extraction, comparison, algebra under limits."""
