"""A page without a browser: a socket that says words and waits for answers."""

import json
import time
from pathlib import Path

from websockets.sync.client import connect

from ...patience import PATIENCE_SECONDS

# Statement of a process whose panel waits for slow pages; a test's own process never imports that module.
PATIENT = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import patient_panel; patient_panel.use()"


class Client:
    """A page that has said hello, and knows the state that it was told."""

    def __init__(self, panel, name="127.0.0.1"):
        host = f"{name}:{panel.port}"
        self.connection = connect(
            f"ws://{host}/socket",
            origin=f"http://{host}",
            max_size=None,
            open_timeout=PATIENCE_SECONDS,
            close_timeout=1,
            ping_interval=None,  # the server asks; on a machine that stands still nobody else need close
        )
        self._token = panel.token
        self.state = {}

    def __enter__(self):
        self.socket = self.connection.__enter__()
        self.say("hello", token=self._token)
        self.wait("welcome")
        return self

    def __exit__(self, *error):
        self.connection.__exit__(*error)

    def say(self, t, **fields):
        self.socket.send(json.dumps({"t": t, **fields}))

    def wait(self, t, true=lambda message: True, seconds=PATIENCE_SECONDS):
        """Return the next message of a kind of which something is true."""
        until = time.monotonic() + seconds
        while True:
            assert time.monotonic() < until, f"no such {t} came; the state is {self.state}"
            message = self.socket.recv(timeout=seconds)
            if isinstance(message, str):
                message = json.loads(message)
                self.state |= message.get("state", {})
                if message["t"] == t and true(message):
                    return message

    def see(self, part, true, seconds=PATIENCE_SECONDS):
        """Wait until something is true of a part of the state, and return that part."""
        while not (part in self.state and true(self.state[part])):
            self.wait("state", seconds=seconds)
        return self.state[part]
