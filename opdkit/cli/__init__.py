"""The command line: a dispatcher, and one file a command."""
