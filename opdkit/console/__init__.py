"""Terminal output of running commands."""
