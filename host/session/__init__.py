"""The running instrument, common to terminal, panel and plugin."""
