"""The clip family: graphs, report and study."""
