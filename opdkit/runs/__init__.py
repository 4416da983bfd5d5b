"""The run folder: its paths, checkpoints and model card."""
