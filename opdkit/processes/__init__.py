"""Python modules run as child processes with time and memory limits."""
