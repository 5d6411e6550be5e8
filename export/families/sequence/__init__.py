"""The sequence family: graphs, report and study."""
