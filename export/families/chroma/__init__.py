"""The chroma family: graphs, report and study."""
