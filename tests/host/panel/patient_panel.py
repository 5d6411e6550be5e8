"""Imported by a process that opens a panel: its panel waits for pages as long as tests do.

On a machine that stands still a test's page may not answer for some seconds; the panel would take it for gone.
"""

from timbrel.host.panel import process

PATIENCE_SECONDS = 600.0  # as in `patience`, which the panel's process does not find

original = process.run


def run(*given):
    from timbrel.host.panel import server

    server.GONE_SECONDS = PATIENCE_SECONDS
    original(*given)


process.run = run
