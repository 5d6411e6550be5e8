"""Options beside a preset are played and recorded; the recording and the preset alone repeat the sound."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, ParameterTouch, ProgramChange
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import HeardInputs, ProcessState
from timbrel.host.midi.files import read_performance
from timbrel.host.midi.ports import Timed
from timbrel.host.midi.recorder import Recorder
from timbrel.host.play import player
from timbrel.host.play.player import Player
from timbrel.host.preset.library import LiveOptions, read_controller
from timbrel.host.preset.recording_notes import LoadedPreset, RecordingNotes, Swap, differences, read_notes
from timbrel.host.preset.shipped import Draft
from timbrel.host.session.messages import Events, LiveStatus, Setup, Sound, Swapped
from timbrel.host.session.meters import Meters
from timbrel.host.session.takes import Recording, SessionRecorder

RATE, BLOCK = 48000, 128
PRESET = """format = 1
model = "m.onnx"
[play]
voices = 8
[envelope]
release_seconds = 0.2
[[cc]]
number = 74
target = "latent.0"
low = 0.6
high = 0.1
"""


@pytest.fixture
def presets(tmp_path, analytic, monkeypatch):
    """Presets ``a.toml``, soft ``b.toml`` and their model, in the folder where the test is."""
    monkeypatch.chdir(tmp_path)
    analytic(latents=3).save(tmp_path / "m.onnx")
    (tmp_path / "a.toml").write_text(PRESET, encoding="utf-8")
    (tmp_path / "b.toml").write_text(PRESET.replace("voices = 8", "gain_db = -6.0\npan = 0.5"), encoding="utf-8")
    return tmp_path


def performance(channels):
    """Half a second of notes on some channels, and the knobs of a nanoKONTROL2."""
    random, events = np.random.default_rng(2), []
    for index in range(30):
        time, channel = int(random.integers(0, RATE // 2)), int(random.choice(channels))
        key = 50 + index
        events += [NoteOn(time, channel, key, 100), NoteOff(time + int(random.integers(1000, 10_000)), channel, key)]
    for number in (16, 17, 18, 74):
        times = random.integers(0, RATE // 2, 6)
        events += [ControlChange(int(time), 0, number, int(random.integers(0, 128))) for time in times]
    return sorted(events, key=lambda event: event.time)


class Played:
    """A live performance, block by block, and its recording: ``take.wav`` and ``take.mid``."""

    def __init__(self, setup, events, seconds=0.75, then=lambda tape: None, loads=None):
        """``loads`` are presets by slot, by the number of the block before which they are loaded."""
        state = ProcessState(replace(setup, recording=True), pipe=None, rate=RATE)
        names = {None: setup.preset, **dict(setup.channels)}
        patches = state.presets.opened(names)
        state.presets.activate(names, patches)
        rack = audio_process._rack(patches, RATE, None)
        player, waiting = Player(rack, RATE), [Timed(event.time / RATE, event) for event in events]
        source = HeardInputs(self, setup.silent, Meters(0))
        self._coming = waiting
        with SessionRecorder(
            Recording(Path("take.wav"), Path("take.mid")), setup, self.ready(rack, patches), True
        ) as tape:
            for timed in source.poll():
                player.schedule(timed.event)
            sink = SimpleNamespace(block=BLOCK)
            state.loop = SimpleNamespace(player=player, sink=sink, brace=lambda blocks: None, recording=True)
            for number in range(round(seconds * RATE / BLOCK)):
                if number in (loads or {}):
                    audio_process._load(state, loads[number])
                sound, due = player.block(BLOCK)
                for message in [message for message in state.outbox if isinstance(message, Swapped)]:
                    tape.record(message)
                state.outbox.clear()
                tape.record(Events(due))
                tape.record(Sound(sound.T.tobytes()))
            then(tape)

    def poll(self):
        return self._coming

    @staticmethod
    def ready(rack, patches):
        known = dict.fromkeys(LiveStatus.__dataclass_fields__)
        latency = {"instrument": 1000 * rack.latency_samples / RATE}
        presets = {slot: patch.name for slot, patch in patches.items()}
        digests = {slot: patch.digest for slot, patch in patches.items()}
        told = {"rate": RATE, "latency_ms": latency, "presets": presets, "digests": digests}
        return LiveStatus(**known | told)


def rendered(timbrel, *options):
    """The sound of the recording, and the lines about it."""
    ended = timbrel("render", "a.toml", "take.mid", "-o", "again.wav", "--rate", RATE, "--overwrite", *options)
    assert ended.status == 0, ended.err
    return soundfile.read("again.wav", dtype="float32")[0].T, ended.err


def alike(sound):
    """Return whether it is what was recorded, to the last bit; what is longer is silent at its end."""
    recorded = soundfile.read("take.wav", dtype="float32")[0].T
    length = min(recorded.shape[1], sound.shape[1])
    assert np.abs(recorded).max() > 0.01
    assert length > RATE // 2
    return np.array_equal(recorded[:, :length], sound[:, :length])


CONTROLLER = read_controller("nanokontrol2")


def test_a_preset_or_a_model_that_was_changed_since_it_was_played_is_told(presets, timbrel, analytic):
    Played(Setup("a.toml", channels=((2, "b.toml"),)), performance((0, 2)))
    same = ["--channel", "3=b.toml"]
    a, b = ((presets / name).read_text(encoding="utf-8") for name in ("a.toml", "b.toml"))
    (presets / "a.toml").write_text(f"# a remark\ndescription = 'mine'\n{a}", encoding="utf-8")
    assert rendered(timbrel, *same)[1] == ""  # it sounds the same
    (presets / "a.toml").write_text(a.replace("voices = 8", "voices = 8\npan = 0.5"), encoding="utf-8")
    [line] = rendered(timbrel, *same)[1].splitlines()
    assert line.startswith("warning: take.mid: preset 'a' or its model was changed since it was played")
    (presets / "a.toml").write_text(a, encoding="utf-8")
    (presets / "b.toml").write_text(b.replace("pan = 0.5", "pan = 0.4"), encoding="utf-8")
    [line] = rendered(timbrel, *same)[1].splitlines()
    assert "preset 'b' or its model was changed since it was played on channel 3" in line
    (presets / "b.toml").write_text(b, encoding="utf-8")
    ended = timbrel("render", "b.toml", "take.mid", "-o", "again.wav", "--overwrite", *same)
    assert "take.mid: it was played with 'a', and 'b' sounds different here" in ended.err
    analytic(latents=3, chroma=False).save(presets / "m.onnx")
    lines = rendered(timbrel, *same)[1].splitlines()
    assert len([line for line in lines if "or its model was changed" in line]) == 2


def test_a_set_is_passed_over_where_a_recording_holds_what_program_changes_chose(presets, timbrel):
    Played(Setup("a.toml"), performance((0,)))
    assert (
        "take.mid holds the presets that its program changes chose; --set is passed over"
        in rendered(timbrel, "--set", ".")[1]
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"controller": CONTROLLER},
        {"voices": 2},
        {"voices": 3, "controller": CONTROLLER, "silent": (9,)},
    ],
    ids=["controller", "voices", "all"],
)
def test_a_recording_renders_with_the_preset_alone_to_what_was_played(presets, timbrel, asked):
    Played(Setup("a.toml", **asked), performance((0, 4, 9)))
    sound, said = rendered(timbrel)
    assert alike(sound)
    assert said == ""
    bare = read_performance(presets / "take.mid", RATE)
    with Recorder(presets / "take.mid", RATE, overwrite=True) as recorder:
        recorder.add(bare.events)
        recorder.spill(bare.length)
    assert not alike(rendered(timbrel)[0])  # so it is that note by which they are alike


@pytest.mark.parametrize("left_out", [ParameterChange, ParameterTouch])
def test_what_a_panel_turned_and_held_is_recorded_and_renders_to_the_same_samples(presets, timbrel, left_out):
    """Compared with what was played, and with the same recording without one of these."""
    moved = "[[motion]]\nrate_hz = 3.0\npath = [[0.1, 0.9, 0.2], [0.8, 0.2, 0.9], [0.5, 0.5, 0.1]]\n"
    (presets / "a.toml").write_text(PRESET + moved, encoding="utf-8")
    random, events = np.random.default_rng(3), performance((0, 4))
    for target in ("latent.0", "latent.1", "gain", "envelope.release_seconds"):
        for time in random.integers(0, RATE // 2, 50).tolist():
            events.append(ParameterChange(time, 0, target, random.random()))
            events.append(ParameterTouch(time, 0, target, bool(random.integers(2))))
    Played(Setup("a.toml"), sorted(events, key=lambda event: event.time))
    assert alike(rendered(timbrel)[0])
    kept = [event for event in read_performance(presets / "take.mid", RATE).events if not isinstance(event, left_out)]
    with Recorder(presets / "take.mid", RATE, overwrite=True) as recorder:
        recorder.add(kept)
    assert not alike(rendered(timbrel)[0])


def test_a_recording_of_channels_with_presets_of_their_own_renders_so_where_they_are_given(presets, timbrel):
    given = [part for option in ("1=b.toml", "3=b.toml", "10=none") for part in ("--channel", option)]
    Played(Setup("a.toml", channels=((0, "b.toml"), (2, "b.toml")), silent=(9,)), performance((0, 1, 2, 5, 9)))
    sound, said = rendered(timbrel, *given)
    assert alike(sound)
    assert said == ""
    sound, said = rendered(timbrel)
    assert not alike(sound)
    assert said == "warning: take.mid: it was played with --channel 1='b' --channel 3='b', and sounds different here\n"


def test_a_recording_of_one_preset_says_that_others_are_not_what_was_played(presets, timbrel):
    Played(Setup("a.toml"), [NoteOn(0, 1, 60, 100), NoteOff(20_000, 1, 60), ProgramChange(9, 0, 3)])
    assert rendered(timbrel)[1] == ""  # no set of presets was given: the program change chose nothing
    said = rendered(timbrel, "--channel", "2=b.toml")[1]
    assert said == "warning: take.mid: it was played without --channel, and sounds different here\n"


ECHO = """[[effects]]
plugin = "Delay"
delay_seconds = 0.11
feedback = 0.3
"""
MOVED = """[[motion]]
target = "latent.0"
shape = "saw"
depth = 0.4
beats = 0.7
"""


def test_what_was_loaded_while_it_was_played_is_heard_again_at_its_sample(presets, timbrel, monkeypatch):
    """Drafts, a file that changes and a model, one after the other and on a channel alone: notes ring on in each."""
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(player, "RING_SECONDS", 0.2)  # so that what rang on fades, too
    drafts = [Draft("one", PRESET + ECHO, presets), Draft("two", PRESET + MOVED, presets)]
    loads = {
        25: {None: drafts[0]},
        45: {2: drafts[1]},
        65: {None: "b.toml", 2: "m.onnx"},
        150: {None: drafts[0], 2: drafts[0]},
    }
    turns = [ParameterChange(time, 0, "latent.1", time / RATE) for time in range(0, RATE // 2, 888)]
    turns += [ParameterTouch(10_000, 0, "latent.0", True), ParameterTouch(25_000, 0, "latent.0", False)]
    events = sorted([*performance((0, 2, 5)), *turns], key=lambda event: event.time)
    Played(Setup("a.toml", channels=((2, "b.toml"),)), events, 0.65, loads=loads)
    (presets / "b.toml").write_text(PRESET, encoding="utf-8")  # as it was begun with; when it was loaded it was soft
    (presets / "c.toml").write_text(PRESET.replace("voices = 8", "gain_db = -6.0\npan = 0.5"), encoding="utf-8")
    sound, said = rendered(timbrel, "--channel", "3=c.toml")
    assert alike(sound)
    assert "loaded" not in said
    bare = read_performance(presets / "take.mid", RATE)
    with Recorder(presets / "take.mid", RATE, overwrite=True) as recorder:
        recorder.add(bare.events)
        recorder.spill(bare.length)
    assert not alike(rendered(timbrel, "--channel", "3=c.toml")[0])


def test_what_was_loaded_and_cannot_be_opened_any_more_is_said_and_the_rest_is_heard(presets, timbrel, monkeypatch):
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    loads = {25: {None: Draft("one", PRESET.replace("m.onnx", "gone.onnx"), presets)}, 45: {None: "b.toml"}}
    (presets / "gone.onnx").write_bytes((presets / "m.onnx").read_bytes())
    Played(Setup("a.toml"), performance((0,)), 0.2, loads=loads)
    (presets / "gone.onnx").unlink()
    [said] = [line for line in rendered(timbrel)[1].splitlines() if "loaded" in line]
    assert said.startswith(
        "warning: take.mid: preset 'one', which was loaded while it was played, is not heard again: "
    )


def test_the_channels_of_what_was_loaded_are_stems_that_add_up(presets, timbrel, monkeypatch):
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    quiet = PRESET.replace("voices = 8", "gain_db = -40.0")
    (presets / "a.toml").write_text(quiet, encoding="utf-8")  # which the limiter leaves as it is
    Played(Setup("a.toml"), performance((0, 2)), loads={50: {2: Draft("one", quiet + ECHO, presets)}})
    whole, _ = rendered(timbrel, "--stems")
    stems = [soundfile.read(f"again-ch{number:02d}.wav", dtype="float32")[0].T for number in (1, 3)]
    assert min(np.abs(stem).max() for stem in stems) > 1e-4
    assert np.abs(sum(stems) - whole).max() < 1e-4


def test_the_keys_that_were_down_when_the_card_went_are_silent_in_a_recording_that_goes_on(presets, timbrel):
    def lose(tape):
        tape.go_on()
        tape.record(Sound(np.zeros((RATE, 2), np.float32).tobytes()))

    Played(Setup("a.toml"), [NoteOn(100, 3, 60, 100)], 1.0, lose)
    sound, _ = rendered(timbrel)
    assert np.abs(sound[:, RATE - 5000 : RATE - 100]).max() > 0.01
    assert np.all(sound[:, RATE + 2000 :] == 0)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"fiting": {}}', '{"fitting": {"voices": 65}}', '{"fitting": {"presets": {"17": "a"}}}', "\ufffd"],
)
def test_a_note_that_is_broken_is_refused_in_a_line(presets, timbrel, text):
    with Recorder(presets / "take.mid", RATE, note=text) as recorder:
        recorder.add([NoteOn(0, 0, 60, 100)])
    ended = timbrel("render", "a.toml", "take.mid", "-o", "again.wav")
    assert ended.status == 2
    assert ended.err.startswith("timbrel: cannot read take.mid: what it says of how it was played is broken: ")
    assert len(ended.err.splitlines()) == 1


def test_notes_come_back_with_their_samples(presets):
    fitting = LiveOptions(voices=9, controller=CONTROLLER, presets={2: "gm-pad", 16: "x" * 300})
    swap = Swap(presets=[LoadedPreset(name="Ü", channel=3, text=PRESET, folder="/")], primed=1024, block=128)
    with Recorder(presets / "take.mid", RATE, note=RecordingNotes(fitting=fitting).text()) as recorder:
        recorder.add([NoteOn(100, 0, 60, 100)])
        recorder.note(5000, RecordingNotes(swap=swap).text())
        recorder.add([NoteOff(6000, 0, 60)])
    performance = read_performance(presets / "take.mid", RATE)
    assert performance.events == [NoteOn(100, 0, 60, 100), NoteOff(6000, 0, 60)]
    assert read_notes(performance.notes, "take.mid") == (fitting, [(5000, swap)], ())


def test_a_file_that_says_nothing_was_fitted_with_nothing():
    assert read_notes([], "take.mid") == (LiveOptions(), [], ())
    assert differences(LiveOptions(), {}) == []


def test_control_characters_in_a_name_do_not_reach_the_terminal():
    [line] = differences(LiveOptions(presets={1: "\x1b[2J"}), {})
    assert "\x1b" not in line
    with pytest.raises(UserError) as refused:
        read_notes([(0, '{"\x1b[2J": 1}')], "take.mid")
    assert "\x1b" not in str(refused.value)
