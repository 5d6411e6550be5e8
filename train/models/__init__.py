"""One network family a file."""
