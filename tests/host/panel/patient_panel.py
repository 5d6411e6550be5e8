"""A panel's main function that waits for slow pages as long as tests do.

On a machine that stands still a test's page may not answer for some seconds; the panel would take it for gone.
"""

from timbrel.host.panel import process

PATIENCE_SECONDS = 600.0  # as in `patience`, which the panel's process does not find

main = process.run


def run(*given):
    from timbrel.host.panel import server

    server.GONE_SECONDS = server.HELLO_SECONDS = PATIENCE_SECONDS
    main(*given)


def use():
    """Every panel that this process opens is patient."""
    process.run = run
