"""The partials family: graphs, report and study."""
