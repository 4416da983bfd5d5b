"""A page that compares runs, made from their folders. Needs no torch."""
