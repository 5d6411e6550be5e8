"""A bounce by a host of CLAP or VST3 is what `timbrel render` makes, to the bit, as late as the plugin says."""

import contextlib
import os
import shutil
import subprocess
from dataclasses import replace

import mido
import numpy as np
import pedalboard
import pytest
from timbrel.host.events import ChannelPressure, ControlChange, NoteOff, NoteOn, PitchBend, ProgramChange, Tempo
from timbrel.host.preset.shipped import shipped_presets

from ...patience import PATIENCE_SECONDS
from .bounces import message, starter
from .formats import compile_c, machine, need
from .native import make
from .test_bounce import LENGTH, MOVED, RATE, in_order, rendered, turned
from .test_programs import AT, NOTES, changed

PRESET = "electric-piano"  # what a new instance plays
BLOCK = 64
PLAYED = [
    ControlChange(0, 0, 74, 90),
    NoteOn(100, 0, 60, 100),
    NoteOn(100, 1, 36, 90),
    PitchBend(64 * BLOCK, 0, -5000),
    ControlChange(94 * BLOCK, 0, 1, 77),
    NoteOff(7000, 0, 60),
    NoteOn(7000, 0, 60, 40),
    ChannelPressure(148 * BLOCK, 0, 99),
    NoteOn(20000, 0, 64, 64),
]


@pytest.fixture
def built(once):
    """A folder with both plugins, whose server is that of this tree, and their hosts."""
    need()
    return once("formats", build)


def build(folder):
    start = starter(folder)
    for name in ("clap", "vst3"):
        make(name, folder)
        compile_c(folder / f"{name}_host", f"{name}_host.c")
    for plugin in (folder / "timbrel.clap", binary(folder)):
        (plugin.parent / "interpreter").write_text(f"{start}\n")


def binary(folder):
    """The binary in the bundle of VST3."""
    return folder / "timbrel.vst3" / "Contents" / machine() / "timbrel.so"


@pytest.fixture
def play(built, tmp_path):
    """Play lines of events in a host of ours: the latency that it was told last, and the sound [2, samples]."""

    def played(name, lines, samples, *words, blocks=(1024,)):
        (tmp_path / "events").write_text("".join(f"{line}\n" for line in lines))
        plugin = built / "timbrel.clap" if name == "clap" else binary(built)
        words = [*words, f"samples={samples}", f"blocks={','.join(map(str, blocks))}", f"events={tmp_path / 'events'}"]
        command = [built / f"{name}_host", plugin, tmp_path / "out", *words]
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        told = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("latency ")]
        return int([word for word in told if word != "changed"][-1]), np.fromfile(tmp_path / "out", np.float32).reshape(
            -1, 2
        ).T

    return played


def lines(events, moves):
    """Events and moves of macros in their order, as hosts of ours read them."""
    said = [(event.time, f"{event.time} midi {message(event).hex(' ')}") for event in events]
    said += [(time, f"{time} set {macro} {value!r}") for time, macro, value in moves]
    return [text for _, text in sorted(said, key=lambda one: one[0])]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("clap", (*[64] * 100, 1, 777, 4096, 16384, 3)), ("vst3", (1, 777, 1024))],
    ids=["clap", "vst3"],
)
def test_a_bounce_is_what_render_makes_in_any_blocks(play, name, blocks):
    expected, latency = rendered(PRESET, in_order([Tempo(0, 93.0), *PLAYED, *turned(PRESET, MOVED)]))
    told, sound = play(name, ["0 tempo 93", *lines(PLAYED, MOVED)], LENGTH, "offline", blocks=blocks)
    assert told == latency
    np.testing.assert_array_equal(sound[:, latency:], expected[:, : LENGTH - latency])


@pytest.mark.parametrize("name", ["clap", "vst3"])
def test_a_bounce_in_the_midst_of_playing_has_the_latency_that_was_told(play, name):
    expected, latency = rendered(PRESET, PLAYED)
    start = 100 * BLOCK
    late = [replace(event, time=event.time + start) for event in PLAYED]
    told, sound = play(name, [f"{start} offline", *lines(late, [])], start + LENGTH, blocks=(BLOCK,))
    begin = start + told
    assert told >= latency
    np.testing.assert_array_equal(sound[:, begin:], expected[:, : LENGTH - told])


@pytest.mark.parametrize("name", ["clap", "vst3"])
def test_a_project_that_is_opened_again_sounds_the_same(play, name, tmp_path):
    moves = [(0, macro, value) for macro, value in {macro: value for _, macro, value in MOVED}.items()]
    expected, latency = rendered("gm-hall", in_order([*PLAYED, *turned("gm-hall", moves)]))
    number = list(shipped_presets()).index("gm-hall") + 1
    chosen = f"0 set 17 {number if name == 'clap' else number / 127}"
    play(name, [chosen, *lines([], moves)], 4096, "offline", f"save={tmp_path / 'state'}")
    told, sound = play(name, lines(PLAYED, []), LENGTH, "offline", f"load={tmp_path / 'state'}")
    assert told == latency
    np.testing.assert_array_equal(sound[:, told:], expected[:, : LENGTH - told])


@pytest.mark.parametrize("name", ["clap", "vst3"])
def test_a_program_change_is_heard_on_its_sample(play, name):
    change = ProgramChange(AT, 0, list(shipped_presets()).index("gm-pad"))
    notes = [NoteOn(time, 0, key, 100) for time, key in NOTES]
    _, sound = play(name, lines(in_order([change, *notes]), []), LENGTH, "offline", blocks=(1, 777, 1024))
    expected = changed(PRESET, "gm-pad")
    np.testing.assert_array_equal(sound[:, : expected.shape[1]], expected)


@pytest.fixture
def vst3(built, tmp_path, monkeypatch):
    """The bundle of VST3, for hosts that play in this process."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return str(built / "timbrel.vst3")


def by_the_block(events, block):
    """Events as hosts play them that give controllers at the beginnings of blocks alone."""
    notes = (NoteOn, NoteOff)
    return in_order([e if isinstance(e, notes) else replace(e, time=e.time - e.time % block) for e in events])


def test_pedalboard_bounces_what_render_makes_in_any_blocks_one_after_the_other(vst3):
    plugin = pedalboard.load_plugin(vst3)
    for block in (64, 1024):
        events = by_the_block(PLAYED, block)
        expected, latency = rendered(PRESET, events)
        messages = [(message(event), (event.time + 0.01) / RATE) for event in events]  # its host cuts times off
        sound = plugin.process(messages, duration=LENGTH / RATE, sample_rate=RATE, num_channels=2, buffer_size=block)
        np.testing.assert_array_equal(sound[:, latency:], expected[:, : LENGTH - latency])


# Its host writes an automated parameter at the beginning of each block: a controller that turns it, too, gives way.
@pytest.mark.parametrize("ends", [{0: 0.25, 1: 1.0}, {1: 1.0}], ids=["over-a-controller", "beside-a-controller"])
def test_dawdreamer_bounces_the_sound_of_render(vst3, tmp_path, ends):
    block = 128
    dawdreamer = pytest.importorskip("dawdreamer", reason="no dawdreamer (PyPI)")
    events = by_the_block(PLAYED, block)
    # A tick is half a sample, and all is one later: its host cuts times off.
    track, now = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=250_000)]), -1
    for event in events:
        track.append(mido.Message.from_bytes(message(event), time=2 * event.time - now))
        now = 2 * event.time
    mido.MidiFile(tracks=[track], ticks_per_beat=RATE // 2).save(tmp_path / "played.mid")
    lanes = {macro: np.where(np.arange(LENGTH) < LENGTH // 2, 0.5, end) for macro, end in ends.items()}
    moves = [(time, macro, float(lane[time])) for time in range(0, LENGTH, block) for macro, lane in lanes.items()]
    expected, latency = rendered(PRESET, in_order([Tempo(0, 120.0), *turned(PRESET, moves), *events]))
    engine = dawdreamer.RenderEngine(RATE, block)
    plugin = engine.make_plugin_processor("timbrel", vst3)
    plugin.load_midi(str(tmp_path / "played.mid"), beats=False, all_events=True)
    for macro, lane in lanes.items():
        plugin.set_automation(macro, lane.astype(np.float32))
    engine.load_graph([(plugin, [])])
    engine.render(LENGTH / RATE)
    sound = engine.get_audio()
    np.testing.assert_array_equal(sound[:, latency:LENGTH], expected[:, : LENGTH - latency])


@contextlib.contextmanager
def standard_error(path):
    """Append it to a file, also that of native code; a plugin that another test left may write at any time."""
    before = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@pytest.mark.parametrize("host", ["pedalboard", "dawdreamer"])
def test_without_a_server_a_bounce_is_silent_and_standard_error_says_why(vst3, tmp_path, host):
    module = pytest.importorskip(host, reason=f"no {host} (PyPI)")
    moved = shutil.copytree(vst3, tmp_path / "moved" / "timbrel.vst3")
    (moved / "Contents" / machine() / "interpreter").write_text("/nowhere\n")
    with standard_error(tmp_path / "screen.txt"):
        if host == "pedalboard":
            plugin = module.load_plugin(str(moved), initialization_timeout=0.5)  # seconds that it waits for sound
            sound = plugin.process(
                [(message(NoteOn(0, 0, 60, 100)), 0.0)], duration=0.5, sample_rate=RATE, num_channels=2
            )
        else:
            engine = module.RenderEngine(RATE, 128)
            plugin = engine.make_plugin_processor("timbrel", str(moved))
            plugin.add_midi_note(60, 100, 0.0, 0.4)
            engine.load_graph([(plugin, [])])
            engine.render(0.5)
            sound = engine.get_audio()
    assert sound.shape[1] >= RATE // 2
    assert not sound.any()
    assert "timbrel is silent: /nowhere does not start" in (tmp_path / "screen.txt").read_text()
