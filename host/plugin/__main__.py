"""The process that a plugin begins: ``python -I -m timbrel.host.plugin``, the wire in descriptors 3 and 4."""

import os

MEMORY, SOCKET = 3, 4  # as native/wire.h has them

if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is loaded: each of its threads takes memory
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # it looks for them through all that is installed
    from .server import serve

    serve(MEMORY, SOCKET)
