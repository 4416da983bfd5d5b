"""From what the user typed to a checked, built experiment. The only package beside `cli` that knows Hydra."""
