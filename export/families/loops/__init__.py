"""The loops family: graphs, report and study."""
