"""The Python interface: what the commands do, as functions. Its public names are those of `opdkit.__all__`."""
