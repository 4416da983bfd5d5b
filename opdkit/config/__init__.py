"""Turns the command line into a checked, built experiment. Only this package and `cli` use Hydra."""
