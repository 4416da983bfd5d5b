"""Python modules that run as child processes under limits of time and memory."""
