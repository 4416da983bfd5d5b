"""HTML report that compares runs, generated from their folders. Does not import torch."""
