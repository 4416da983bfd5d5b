"""What a person sees of a run. Needs no torch."""
