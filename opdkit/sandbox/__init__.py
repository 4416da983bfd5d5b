"""Runs untrusted programs in separate processes, under resource limits and, if available, in namespaces."""
