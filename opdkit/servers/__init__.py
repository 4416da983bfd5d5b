"""Requests to servers that score or write: how they are reached, and what is done when they fail."""
