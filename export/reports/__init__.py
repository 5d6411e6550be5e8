"""The reports of `timbrel evaluate`, a file or two a family."""
