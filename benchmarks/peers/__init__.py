"""Other projects' code, called as its users call it. Imported only where that project is installed."""
