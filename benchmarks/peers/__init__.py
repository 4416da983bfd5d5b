"""Other projects' code, used through its public interface. Imported only if that project is installed."""
