"""The processes of a run: who this one is, what they share, and how they start and end together."""
