"""The partials family."""
