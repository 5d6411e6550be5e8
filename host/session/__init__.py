"""The running instrument, common to the terminal, the panel and the plugin."""
