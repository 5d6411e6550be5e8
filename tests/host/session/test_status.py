"""The line that tells which knob a controller moved last."""

from timbrel.host.events import ControlChange
from timbrel.host.preset.library import open_patch
from timbrel.host.session.meters import last_moved

PRESET = 'format = 1\nmodel = "gm-chroma-8"\n[[cc]]\nnumber = 20\nbits = 14\nchannel = 2\ntarget = "gain"\nlow = -6\n'


def test_a_controller_of_another_channel_or_number_moves_nothing(tmp_path):
    (tmp_path / "mine.toml").write_text(PRESET + "high = 0\n")
    patch = open_patch(str(tmp_path / "mine.toml"))
    moved = [(1, 20), (1, 52), (0, 20), (1, 21)]
    lines = [last_moved(ControlChange(0, channel, number, 64), patch, []) for channel, number in moved]
    assert lines == ["CC 20 = 64 -> gain", "CC 52 = 64 -> gain", "CC 20 = 64 -> nothing", "CC 21 = 64 -> nothing"]
