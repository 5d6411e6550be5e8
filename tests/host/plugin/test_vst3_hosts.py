"""The VST3 instrument over a core that writes down what it is asked, in hosts that others have written."""

import shutil

import numpy as np
import pedalboard
import pytest

from .formats import BINARIES, WRAPPERS, calls, compile_c, machine, middle, need

RATE = 48000


def build(folder):
    compile_c(folder / BINARIES["vst3"], *WRAPPERS["vst3"], extra=["-shared"])


@pytest.fixture
def bundle(once, tmp_path):
    """The folder that a host takes for the plugin, and the one of its binary."""
    need()
    built = once("unsanitized-vst3", build)
    binary = tmp_path / "timbrel.vst3" / "Contents" / machine()
    binary.mkdir(parents=True)
    shutil.copy(built / BINARIES["vst3"], binary)
    return tmp_path / "timbrel.vst3", binary


def last(word, folder):
    """The calls from the last of a kind on: hosts make a plugin and try it before they play it."""
    lines = calls(folder)
    return lines[max(i for i, line in enumerate(lines) if line.startswith(word)) :]


def test_pedalboard_bounces_notes_on_their_samples_and_controllers_by_the_block(bundle):
    plugin = pedalboard.load_plugin(str(bundle[0]))
    assert plugin.is_instrument
    messages = [(b"\x90\x3c\x64", 0.1), (b"\xb0\x4a\x0a", 0.05), (b"\xe2\x01\x40", 0.2), (b"\x80\x3c\x00", 0.3)]
    sound = plugin.process(messages, duration=0.5, sample_rate=RATE, num_channels=2, buffer_size=96)
    assert middle(last("activate", bundle[1])) == [
        "midi 2400 b0 4a 0a",
        "midi 4800 90 3c 64",
        "midi 9600 e2 01 40",
        "midi 14400 80 3c 00",
    ]
    assert np.flatnonzero(sound[0]).tolist() == [2400, 4800, 9600, 14400]  # no latency: it is a bounce
    assert "offline 1" in calls(bundle[1])


def test_pedalboard_moves_only_what_its_user_moves(bundle):
    plugin = pedalboard.load_plugin(str(bundle[0]))
    read = ["late_blocks", "status"]
    assert list(plugin.parameters) == [*(f"macro_{i}" for i in range(1, 17)), "gain_db", "preset", "open_panel", *read]
    plugin.macro_3 = 0.25
    plugin.gain_db = -6
    plugin.process([], duration=0.1, sample_rate=RATE, num_channels=2, buffer_size=64)
    moved = [line for line in last("new", bundle[1]) if line.startswith(("set", "midi b", "midi e"))]
    assert moved == ["set 0 2 0.25", "set 0 16 -6"]
    assert (plugin.macro_3, plugin.gain_db) == (0.25, -6)


def test_dawdreamer_bounces_notes_on_their_samples_and_automation_by_the_block(bundle):
    dawdreamer = pytest.importorskip("dawdreamer", reason="no dawdreamer (PyPI)")
    engine = dawdreamer.RenderEngine(RATE, 64)
    plugin = engine.make_plugin_processor("timbrel", str(bundle[0]))
    plugin.add_midi_note(60, 100, 0.1, 0.2)
    plugin.set_automation(3, np.linspace(0, 1, RATE).astype(np.float32))  # a value a sample
    engine.load_graph([(plugin, [])])
    engine.render(0.5)
    assert np.flatnonzero(engine.get_audio()[0]).tolist() == [4800, 14400]
    asked = middle(last("activate", bundle[1]))
    assert [line for line in asked if line.startswith("midi")][:2] == ["midi 4800 90 3c 64", "midi 14400 80 3c 64"]
    assert [line.split()[1:3] for line in asked if line.startswith("set")] == [
        [str(at), "3"] for at in range(0, RATE // 2, 64)
    ]
