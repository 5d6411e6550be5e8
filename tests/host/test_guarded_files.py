"""Files that the user names, or that lie in a folder that is listed: none is opened that never ends."""

import contextlib
import json
import os
import sys
import threading

import pytest
from timbrel.host import config
from timbrel.host.errors import UserError
from timbrel.host.files import read_regular
from timbrel.host.model.onnx_bytes import card_of
from timbrel.host.panel.presets import PresetFolder
from timbrel.host.preset.library import read_controller, read_model_name
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.plugin_consent import plugins_of
from timbrel.host.preset.shipped import preset_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pipes as files")

READERS = {
    "preset": read_preset,
    "model of a pack": read_model_name,
    "controller": lambda path: read_controller(str(path)),
    "configuration": config._read.__wrapped__,
    "plugins": plugins_of,
    "card": card_of,
    "listed preset": lambda path: PresetFolder(path.parent, path.parent).listed(),
}


class Pipe:
    """A pipe in place of a file, and whether it was opened to be read."""

    def __init__(self, path):
        self.path, self.opened = path, False
        os.mkfifo(path)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def _write(self):
        with self.path.open("w") as file:  # waits for a reader
            self.opened = True
            file.write('model = "gm-keys"')

    def close(self):
        if not self.opened:
            self.path.read_text()
        self._writer.join()


@pytest.fixture
def pipe(tmp_path):
    with contextlib.closing(Pipe(tmp_path / "pipe.toml")) as pipe:
        yield pipe
        assert not pipe.opened


@pytest.mark.parametrize("name", READERS)
def test_no_reader_opens_a_pipe(name, pipe):
    with contextlib.suppress(UserError):
        READERS[name](pipe.path)


def test_the_listing_opens_no_model_that_is_a_pipe(pipe):
    (pipe.path.parent / "pad.toml").write_text(f"model = {json.dumps(pipe.path.name)}")
    assert not next(entry for entry in PresetFolder(pipe.path.parent, pipe.path.parent).listed()).fits


@pytest.mark.parametrize("name", ["preset", "model of a pack", "controller", "configuration"])
def test_a_file_that_is_too_large_is_refused_before_it_is_read(name, tmp_path):
    path = tmp_path / "large.toml"
    path.touch()
    os.truncate(path, 20 << 20)
    with pytest.raises(UserError, match=r"large.toml has (20 M|20480 K)iB, at most (1|64) are read; give"):
        READERS[name](path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file of the system that tells no size")
def test_a_file_that_tells_no_size_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "link").symlink_to("/proc/self/smaps")
    with pytest.raises(UserError, match="at most 1 are read"):
        read_regular(tmp_path / "link", 1 << 10)


def test_a_presets_text_keeps_its_line_ends(tmp_path):
    (tmp_path / "pad.toml").write_bytes(b'format = 1\r\nmodel = "gm-keys"\r\n')
    assert preset_text(tmp_path / "pad.toml") == 'format = 1\r\nmodel = "gm-keys"\r\n'
    assert read_preset(tmp_path / "pad.toml").model == "gm-keys"


def test_a_model_of_countless_parts_has_no_card(tmp_path):
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x01" * 5000)
    with pytest.raises(Exception, match="more than 1000 parts"):
        card_of(path)
