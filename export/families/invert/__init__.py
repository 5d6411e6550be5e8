"""The invert family: uses the graphs and reports of generators."""
