"""The invert family: its graphs and reports are those of generators."""
