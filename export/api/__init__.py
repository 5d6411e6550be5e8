"""timbrel from Python: the names that ``import timbrel`` offers."""
