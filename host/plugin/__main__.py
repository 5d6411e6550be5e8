"""Entry point of the plugin server: ``python -I -m timbrel.host.plugin``, memory and socket in fds 3 and 4."""

import os

MEMORY, SOCKET = 3, 4  # as in native/wire.h

if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before importing numpy: each of its threads uses memory
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # its plugin search scans every installed package
    from ..panel.process import run
    from .server import serve

    serve(MEMORY, SOCKET, run)
