"""The ranks of a run: their collectives, and how they start and end together."""
