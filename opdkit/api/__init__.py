"""The Python interface: the commands as functions. Its public names are those of `opdkit.__all__`."""
