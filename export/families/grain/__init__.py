"""The grain family: graphs, report and study."""
