"""What `timbrel evaluate` says of a run, a file or two a family."""
