"""The families gan, dcgan and halves: graphs, report and study."""
