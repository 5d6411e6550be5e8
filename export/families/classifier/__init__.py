"""The classifier family: graphs, report and study."""
