"""Report pages, pictures and verdicts of `timbrel evaluate`."""
