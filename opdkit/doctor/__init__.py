"""What is wrong with a pair of models and a task, told before a run: checks that take data and give sections."""
