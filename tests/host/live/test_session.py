"""What the process that sounds makes of a preset, of a controller and of the last knob that was moved."""

import threading
import time
from collections import deque
from dataclasses import replace
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
from timbrel.host.contract.model import Model
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn, ParameterChange, ProgramChange
from timbrel.host.live import audio_process
from timbrel.host.live import parent_process as play
from timbrel.host.live.audio_process_state import FilteredSource, ForwardedEvents, MeteredSource, ProcessState
from timbrel.host.live.report import _last, report
from timbrel.host.midi.ports import Timed
from timbrel.host.patch.controllers import read_controller
from timbrel.host.patch.library import open_patch
from timbrel.host.patch.live_options import LiveOptions
from timbrel.host.patch.macros import MacroSettings, MacroTarget
from timbrel.host.patch.preset import Preset
from timbrel.host.play.rack import Rack
from timbrel.host.session.channel_presets import ChannelPresets, by_channel
from timbrel.host.session.messages import Setup
from timbrel.host.session.meters import Meters
from timbrel.host.shipped import Draft

from ...patience import PATIENCE_SECONDS, until

SPAN = {"low": 0.0, "high": 1.0}


@pytest.fixture
def patch():
    """A function that gives gm-chroma-8 with these maps."""

    def make(*cc):
        shipped = open_patch("gm-chroma-8")
        return replace(shipped, preset=Preset(format=1, model="gm-chroma-8", cc=list(cc)))

    return make


def fitted(patch, controller=None, **setup):
    known = None if controller is None else read_controller(controller)
    return LiveOptions(controller=known, **setup).fit(patch)


def knobs_of(patch, **setup):
    return [(e.number, e.target, e.low, e.high) for e in fitted(patch, **setup).preset.cc]


def test_a_controllers_knobs_span_the_latents_that_a_preset_leaves_free(patch):
    bare = patch()
    numbers = read_controller("nanokontrol2").knobs
    spans = [(latent.low, latent.high) for latent in bare.model.card.latents]
    expected = [(numbers[i], f"latent.{i}", *span) for i, span in enumerate(spans)]
    assert knobs_of(bare, controller="nanokontrol2") == expected
    assert knobs_of(bare) == []


def test_a_controllers_knob_keeps_the_range_curve_and_takeover_of_the_presets_own_map(patch):
    own = {"number": 74, "target": "latent.2", "low": 0.4, "high": 0.3, "curve": 2.0, "takeover": "pickup"}
    entries = fitted(patch({**own, "bits": 7, "channel": 5}), "nanokontrol2").preset.cc
    assert entries[0].number == 74
    [entry] = [e for e in entries[1:] if e.target == "latent.2"]
    assert (entry.low, entry.high, entry.curve, entry.takeover) == (0.4, 0.3, 2.0, "pickup")
    assert (entry.number, entry.channel) == (read_controller("nanokontrol2").knobs[2], None)


@pytest.mark.parametrize(
    ("own", "kept"),
    [({"number": 18, "target": "gain"}, 18), ({"number": 18 - 16, "target": "pan"}, None)],
)
def test_numbers_that_a_preset_maps_stay_its_own(patch, own, kept):
    entries = knobs_of(patch({**own, **SPAN, "high": 0.5}), controller="nanokontrol2")
    moved = [target for number, target, *_ in entries if number == 18]
    assert moved == (["gain"] if kept else ["latent.2"])


def test_the_fine_half_of_a_knob_of_14_bits_stays_its_own(patch, tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\nsource = "me"\nknobs = [33, 34]\n', encoding="utf-8")
    own = {"number": 1, "bits": 14, "target": "gain", **SPAN}
    entries = knobs_of(patch(own), controller=str(tmp_path / "mine.toml"))
    assert [(number, target) for number, target, *_ in entries] == [(1, "gain"), (34, "latent.1")]


@pytest.mark.parametrize("name", ["gm-keys", "gm-chroma-2", "gm-chroma-8"])
@pytest.mark.parametrize("controller", ["eight-knobs", "launch-control-xl", "midi-mix", "nanokontrol2"])
def test_every_shipped_controller_fits_what_ships(name, controller):
    made = fitted(open_patch(name), controller, voices=3)
    Preset.model_validate(made.preset.model_dump(exclude_none=True))  # no number is mapped to a target twice
    assert made.preset.play.voices == 3
    Rack({0: made}, 48_000, omni=True)


# ---- what the last knob did


def told_by(state, latents, *events):
    rack = SimpleNamespace(latent_values=lambda channel: latents)
    loop = SimpleNamespace(meters=Meters(0), player=SimpleNamespace(rack=rack))
    loop.meters.add_events(events)
    return _last(state, loop)


def told(patch, *events, latents=(0.25,) * 8):
    """The report's line on the last knob, after these events."""
    state = ProcessState(Setup("any"), Pipe()[0])
    state.presets.activate({None: "any"}, {None: patch})
    return told_by(state, list(latents), *events)


@pytest.mark.parametrize(
    ("cc", "event", "words"),
    [
        ({"number": 74, "target": "latent.1"}, (74, 64), "CC 74 = 64 -> latent.1 (presence) = 0.25"),
        ({"number": 74, "target": "pan"}, (74, 127), "CC 74 = 127 -> pan = 1"),
        ({"number": 74, "target": "pan", "curve": 2.0}, (74, 0), "CC 74 = 0 -> pan = 0"),
        ({"number": 74, "target": "pan", "takeover": "pickup"}, (74, 9), "CC 74 = 9 -> pan"),
        ({"number": 7, "bits": 14, "target": "pan"}, (39, 9), "CC 39 = 9 -> pan"),
        ({"number": 74, "target": "pan", "channel": 2}, (74, 9), "CC 74 = 9 -> nothing"),
        ({"number": 74, "target": "pan"}, (64, 127), "CC 64 = 127 -> sustain pedal"),
        ({"number": 74, "target": "pan"}, (20, 1), "CC 20 = 1 -> nothing"),
        ({"pressure": "key", "target": "pan"}, (20, 1), "CC 20 = 1 -> nothing"),
    ],
)
def test_the_last_knob_tells_its_target_and_value(patch, cc, event, words):
    assert told(patch({**SPAN, **cc}), ControlChange(0, 0, *event), NoteOn(0, 0, 60, 100)) == words


def test_a_knob_of_two_targets_tells_both_and_keys_tell_nothing(patch):
    both = patch({"number": 5, "target": "latent.0", **SPAN}, {"number": 5, "target": "gain", **SPAN})
    assert told(both, ControlChange(0, 0, 5, 0)) == "CC 5 = 0 -> latent.0 (brightness) = 0.25, gain = 0"
    assert told(both, NoteOn(0, 0, 60, 100)) == ""


def test_a_knob_tells_its_target_by_name(patch):
    made = patch({"number": 16, "target": "macro.0", **SPAN})
    made.preset.macro.append(MacroSettings(name="wide", targets=[MacroTarget(target="latent.0", low=0, high=1)]))
    assert told(made, ControlChange(0, 0, 16, 127)) == "CC 16 = 127 -> macro.0 (wide) = 1"


def test_a_preset_of_more_latents_that_is_just_coming_in_is_no_fault(patch):
    wide = patch({"number": 5, "target": "latent.7", **SPAN})
    assert (
        told(wide, ControlChange(0, 0, 5, 127), latents=(0.5, 0.5)) == "CC 5 = 127 -> latent.7 (less odd partials) = 1"
    )


def test_what_the_parent_passes_on_comes_in_its_order_with_the_moment_at_which_it_came():
    passed, before = ForwardedEvents(), time.perf_counter()
    events = [NoteOn(9, 0, 60, 100), ParameterChange(5, 0, "pan", 0.25), NoteOff(1, 0, 60)]
    passed.play(events[:2])
    between = time.perf_counter()
    passed.play(events[2:])
    timed = passed.poll()
    assert [each.event for each in timed] == events
    assert before <= timed[0].seconds == timed[1].seconds <= between <= timed[2].seconds <= time.perf_counter()
    assert passed.poll() == []


class StandingLoop:
    """A loop that notes which racks are swapped in."""

    def __init__(self):
        self.player, self.swapped, self.meters = self, [], Meters(0)
        self.sink = SimpleNamespace(block=128)

    def brace(self, blocks):
        pass

    standing = ()

    def swap(self, rack, channels, told):
        self.swapped.append(rack)
        self.replaced = channels


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    made = ProcessState(setup=Setup("gm-keys"), pipe=None, loop=StandingLoop(), rate=48000)
    made.presets.activate({None: "gm-keys"}, made.presets.opened({None: "gm-keys"}))
    return made


def test_a_preset_that_is_loaded_is_told_to_the_parent_which_begins_with_it_again(state):
    audio_process._load(state, {None: "gm-pad"})
    assert ("playing", {None: "gm-pad"}) in state.outbox
    assert len(state.loop.swapped) == 1


def test_a_rack_that_is_swapped_in_has_decoded_what_its_first_keys_need(state, monkeypatch):
    decoded, run = [], Model.step
    monkeypatch.setattr(
        Model, "step", lambda self, latent, *others: decoded.append(latent) or run(self, latent, *others)
    )
    audio_process._load(state, {None: "gm-pad"})
    (rack,) = state.loop.swapped
    assert len(decoded) > 0
    decoded.clear()
    rack.process([NoteOn(rack.played, 0, 64, 100)], 128)
    assert decoded == []


def test_phases_that_take_their_time_are_refused_live_and_what_sounds_goes_on(state, tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text('format = 1\nmodel = "gm-chroma-8"\n[play]\nphase = "best"\n')
    audio_process._load(state, {None: str(path)})
    [(kind, [line])] = state.outbox
    assert (kind, state.loop.swapped) == ("preset", [])
    assert "play.phase = 'best'" in line
    assert "'coherent'" in line


# ---- files that change while they play


class Served:
    """A process that serves beside a loop that stands, and its parent's end of the pipe."""

    def __init__(self, preset, channels=(), **setup):
        self._ours, theirs = Pipe()
        self.loop = StandingLoop()
        self.loop.programs = deque()
        self._state = ProcessState(Setup(str(preset), **setup), theirs, loop=self.loop, rate=48000)
        names = {None: str(preset), **dict(channels)}
        self._state.presets.activate(names, self._state.presets.opened(names))
        self.looks, edited = 0, self._state.presets.edited

        def look():
            self.looks += 1
            return edited()

        self._state.presets.edited = look
        self._ends = threading.Event()
        standing = threading.Thread(target=self._ends.wait, daemon=True)
        standing.start()
        self._serving = threading.Thread(target=audio_process._serve, args=(self._state, standing), daemon=True)

    def __enter__(self):
        self._serving.start()
        return self

    def __exit__(self, *error):
        self._ours.send([("stop", None)])
        self._serving.join(PATIENCE_SECONDS)
        self._ends.set()
        assert not self._serving.is_alive()

    def choose(self, *presets, channel=0):
        """Program changes."""
        self._state.presets._programs = tuple(map(str, presets))
        self.loop.programs.extend(ProgramChange(0, channel, number) for number in range(len(presets)))

    def names(self):
        """What plays, by channel."""
        return self._state.presets.names

    def told(self, seconds=PATIENCE_SECONDS):
        """What is told of the preset next."""
        until = time.monotonic() + seconds
        while self._ours.poll(max(0.0, until - time.monotonic())):
            kind, what = self._ours.recv()
            if kind == "preset":
                return what
        return []

    def at_rest(self):
        """Nothing more is told of any preset, for five looks at its files."""
        then = self.looks + 5
        until(lambda: self.looks >= then, "looks at files")
        return self.told(0.0) == []


@pytest.fixture
def served(monkeypatch):
    """A function that gives a process that serves a preset and looks at its files all the time."""
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(audio_process, "LOOK_SECONDS", 0.04)
    monkeypatch.setattr(audio_process, "report", lambda state: None)
    return Served


@pytest.fixture
def presets(tmp_path, analytic):
    """Two presets, and the model of both, ``m.onnx``."""
    analytic().save(tmp_path / "m.onnx")
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text('format = 1\nmodel = "m.onnx"\n', encoding="utf-8")
    return tmp_path / "a.toml", tmp_path / "b.toml"


def soften(preset):
    preset.write_text(preset.read_text(encoding="utf-8") + "[play]\ngain_db = -6.0\n", encoding="utf-8")


def test_commands_that_never_cease_are_taken_and_reports_go_on(served, presets, monkeypatch):
    """Each command is followed by another: the pipe is never empty."""
    monkeypatch.setattr(audio_process, "REPORT_SECONDS", 0.0)
    taken = threading.Event()
    with served(presets[0]) as playing:
        pipe = playing._ours

        def take(events):
            taken.set()
            pipe.send([("events", events)])

        monkeypatch.setattr(playing._state.forwarded, "play", take)
        pipe.send([("events", [ParameterChange(0, 0, "pan", 0.0)])])
        while not taken.is_set():  # reports are read all the while: a full pipe would keep the process waiting
            assert pipe.poll(PATIENCE_SECONDS)
            pipe.recv()
        playing._state.outbox.append(("events", [NoteOn(0, 0, 60, 1)]))
        kinds = set()
        while not {"report", "events"} <= kinds:
            assert pipe.poll(PATIENCE_SECONDS)
            kinds.add(pipe.recv()[0])


def test_reports_come_at_the_pace_that_is_asked(served, presets, monkeypatch):
    monkeypatch.setattr(audio_process, "REPORT_SECONDS", 1000.0)
    with served(presets[0]) as playing:
        playing._ours.send([("pace", 0.01)])
        reports = 0
        while reports < 5:
            assert playing._ours.poll(PATIENCE_SECONDS)
            reports += playing._ours.recv()[0] == "report"
        assert playing.loop.meters.look_seconds == 0.01


def test_midi_input_passes_the_meters_unchanged():
    came = [Timed(0.5, Clock(0, "tick")), Timed(0.5, ControlChange(0, 0, 20, 3))]
    meters = Meters(0)
    source = MeteredSource(SimpleNamespace(poll=lambda: came), meters)
    assert source.poll() == came
    assert meters.take_events() == [came[1].event]


def test_a_preset_that_is_saved_is_loaded_once_and_said_to_be(served, presets):
    with served(presets[0]) as playing:
        assert playing.at_rest()
        soften(presets[0])
        assert playing.told() == ["preset 'a' is loaded"]
        assert playing.at_rest()
        assert len(playing.loop.swapped) == 1


def test_a_refused_save_is_told_once_and_a_good_one_after_it_is_loaded(served, presets):
    good = presets[0].read_text(encoding="utf-8")
    with served(presets[0]) as playing:
        presets[0].write_text(good + "[pley]\n", encoding="utf-8")
        [line] = playing.told()
        assert "unknown key 'pley'" in line
        assert line.endswith("; the preset before plays on")
        assert playing.at_rest()
        presets[0].write_text(good, encoding="utf-8")
        assert playing.told() == ["preset 'a' is loaded"]


def test_what_the_process_before_had_yet_to_load_is_loaded(served, presets):
    with served(presets[0], loading={None: str(presets[1])}) as playing:
        assert playing.told() == ["preset 'b' is loaded"]


def test_a_draft_that_the_parent_sends_is_loaded_as_if_it_lay_in_its_folder(served, presets):
    """Its model is named by a relative path; the file of what it took the place of is watched no more."""
    draft = Draft("mine", presets[0].read_text(encoding="utf-8") + "[play]\ngain_db = -6.0\n", presets[0].parent)
    with served(presets[0]) as playing:
        playing._ours.send([("load", {None: draft})])
        assert playing.told() == ["preset 'mine' is loaded"]
        assert playing.names() == {None: draft}
        assert playing.loop.swapped[0].knobs[0].at("gain") == -6.0
        soften(presets[0])
        assert playing.at_rest()
        broken = replace(draft, text=draft.text + "gain_db = 3\n")
        playing._ours.send([("load", {None: broken})])
        [line] = playing.told()
        assert line.endswith("; the preset before plays on")
        assert "mine.toml" in line
        playing._ours.send([("load", {None: str(presets[1])})])
        assert playing.told() == ["preset 'b' is loaded"]


def test_a_preset_that_is_being_written_is_not_read_by_halves(presets):
    """Between emptying a file and writing it, a program that saves may be kept waiting."""
    playing = ChannelPresets(LiveOptions(), ())
    names = {None: str(presets[0])}
    playing.activate(names, playing.opened(names))
    text = presets[0].read_text(encoding="utf-8")
    assert playing.edited() == {}
    for part in ("", text[:10], text + "\n"):
        presets[0].write_text(part, encoding="utf-8")
        assert playing.edited() == {}
    assert playing.edited() == names
    assert playing.edited() == {}


def test_a_preset_that_an_editor_deletes_and_writes_anew_is_waited_for(served, presets):
    with served(presets[0]) as playing:
        text = presets[0].read_text(encoding="utf-8")
        presets[0].unlink()
        assert playing.at_rest()
        presets[0].write_text(text, encoding="utf-8")
        assert playing.told() == ["preset 'a' is loaded"]


def test_a_save_does_not_take_back_a_program_change_and_what_that_chose_is_watched(served, presets):
    first, second = presets
    with served(first) as playing:
        playing.choose(second)
        assert playing.told() == ["preset 'b' is loaded"]
        soften(first)
        assert playing.at_rest()
        soften(second)
        assert playing.told() == ["preset 'b' is loaded"]
        assert len(playing.loop.swapped) == 2


def test_a_save_just_before_a_program_change_that_is_refused_is_loaded_then(served, presets, tmp_path):
    with served(presets[0]) as playing:
        soften(presets[0])
        playing.choose(tmp_path / "none.toml")
        told = [playing.told(), playing.told()]
        assert ["preset 'a' is loaded"] in told
        assert any("none.toml" in line for lines in told for line in lines)


@pytest.mark.parametrize("way", ["replaced", "written over"])
def test_a_model_that_is_replaced_while_it_plays_is_read_and_played(served, presets, analytic, way):
    model = presets[0].with_name("m.onnx")
    with served(presets[0]) as playing:
        other = analytic(latents=3).save(presets[0].with_name("other.onnx"))
        if way == "replaced":
            other.replace(model)
        else:
            model.write_bytes(other.read_bytes())
        while playing.told() != ["preset 'a' is loaded"]:  # it may be looked at while half of it is written
            assert playing.loop.swapped == []
        [rack] = playing.loop.swapped
        assert len(rack.latent_values(0)) == 3


def test_a_bare_model_is_played_anew_when_it_is_exported_again(served, analytic, tmp_path):
    model = analytic().save(tmp_path / "m.onnx")
    with served(model) as playing:
        analytic().save(tmp_path / "other.onnx").replace(model)
        assert playing.told() == ["preset 'm' is loaded"]


# ---- channels that have a preset to themselves


def test_a_program_change_replaces_the_preset_of_its_channel_and_its_file_is_watched(served, presets, tmp_path):
    first, second = presets
    third = tmp_path / "c.toml"
    third.write_text(first.read_text(encoding="utf-8"), encoding="utf-8")
    with served(first, {4: str(second)}) as playing:
        playing.choose(third, channel=4)
        assert playing.told() == ["preset 'c' is loaded"]
        assert playing.names() == {None: str(first), 4: str(third)}
        assert playing.loop.replaced == {4}
        soften(second)
        assert playing.at_rest()
        soften(third)
        assert playing.told() == ["preset 'c' is loaded"]
        soften(first)
        assert playing.told() == ["preset 'a' is loaded"]
        assert playing.loop.replaced == set(range(16)) - {4}
        playing.choose(second, channel=5)
        assert playing.told() == ["preset 'b' is loaded"]
        assert playing.names() == {None: str(second), 4: str(third)}


def test_banks_are_selected_for_each_preset_by_itself():
    playing = ChannelPresets(LiveOptions(), [str(number) for number in range(300)])
    playing.patches = {None: None, 4: None}
    select = [ControlChange(0, 4, 0, 0), ControlChange(0, 4, 32, 1), ControlChange(0, 0, 32, 2)]
    events = [*select, ProgramChange(0, 4, 3), ProgramChange(0, 7, 5), ProgramChange(0, 0, 127)]
    wanted, lines = playing.requested(events)
    assert wanted == {4: "131", None: "261"}
    assert lines == ["program 384 asked for, but the set has 300"]
    assert playing.requested([ProgramChange(0, 4, 0)]) == ({4: "128"}, [])


@pytest.mark.parametrize(("others", "place"), [((), 0), ((3,), 0), ((0,), 1), ((0, 1, 3), 2)])
def test_the_preset_of_all_channels_has_one_in_the_rack_that_no_other_has(make_patch, others, place):
    playing = ChannelPresets(LiveOptions(), ())
    patches = {None: make_patch(), **{slot: make_patch() for slot in others}}
    playing.activate(dict.fromkeys(patches, "any"), patches)
    assert playing.first_channel == place
    assert [playing.patch_of(channel) for channel in (*others, 9)] == [
        *((slot, patches[slot]) for slot in others),
        (place, patches[None]),
    ]


def test_where_every_channel_has_its_own_preset_that_of_all_plays_none(make_patch):
    patches = {None: make_patch(), **{channel: make_patch() for channel in range(16)}}
    assert list(by_channel(patches)) == list(range(16))
    audio_process._rack(patches, 22050, None)


def test_what_comes_on_a_channel_that_is_not_heard_is_left_out(presets):
    events = [NoteOn(0, 9, 60, 100), NoteOn(0, 3, 60, 100), Clock(0, "tick")]

    class Source:
        def poll(self):
            return [Timed(0.0, event) for event in events]

    assert [timed.event for timed in FilteredSource(Source(), (9,)).poll()] == events[1:]


def test_a_knob_tells_what_it_does_to_the_preset_of_its_channel(patch):
    both = patch({"number": 5, "target": "gain", **SPAN}), patch({"number": 5, "target": "pan", **SPAN})
    for channel, target in ((0, "gain"), (2, "pan"), (6, "gain")):
        state = ProcessState(Setup("any"), Pipe()[0])
        state.presets.activate({None: "any", 2: "any"}, {None: both[0], 2: both[1]})
        assert told_by(state, [0.5] * 8, ControlChange(0, channel, 5, 127)) == f"CC 5 = 127 -> {target} = 1"


def test_a_process_plays_what_it_is_set_up_with_and_hears_all_channels_but_the_silent(presets, monkeypatch):
    first, second = presets
    coming = [NoteOn(0, 9, 60, 100), NoteOn(0, 3, 62, 100), NoteOn(0, 4, 64, 100)]

    class Port:
        whole_blocks, open = False, ["port"]

        def poll(self):
            return [Timed(time.perf_counter(), coming.pop(0)) for _ in range(len(coming))]

    monkeypatch.setattr(audio_process, "Inputs", lambda names, api: Port())
    monkeypatch.setattr(audio_process, "hurry", lambda priority: None)
    knob = ControlChange(0, 4, 7, 50)
    setup = Setup(str(first), null=True, recording=True, block=1024, channels=((4, str(second)),), silent=(9,))
    state = ProcessState(replace(setup, before=[knob], panel=True), None)
    sounding = threading.Thread(target=audio_process._sound, args=(state,), daemon=True)
    sounding.start()
    assert state.ready.wait(PATIENCE_SECONDS)
    assert state.problem is None

    def heard():
        return [event for kind, what in list(state.outbox) if kind == "events" for event in what]

    until(lambda: len(heard()) >= 2, "two notes")
    shown = report(state)
    state.loop.stop()
    sounding.join(PATIENCE_SECONDS)
    assert [(event.channel, event.key) for event in heard()] == [(3, 62), (4, 64)]
    assert (shown.presets, shown.held, shown.ports) == ({None: "a", 4: "b"}, [62, 64], ["port"])
    assert state.loop.standing == [knob]
    assert [event.key for event in state.loop.meters.take_events()] == [62, 64]
    assert (shown.channel, shown.values["pan"], shown.values["latent.0"]) == (0, 0.0, shown.latents[0])


def test_a_preset_that_takes_its_time_to_be_ready_is_described_after_ready(presets, monkeypatch):
    """The parent reads only lines to print until then: sent sooner, the panel stayed empty.

    All three go one way, so that none can pass another.
    """
    asked, gate = threading.Event(), threading.Event()

    class SlowRack(Rack):
        ready = property(lambda self: asked.set() or gate.is_set())

    monkeypatch.setattr(audio_process, "Rack", SlowRack)
    monkeypatch.setattr(audio_process, "hurry", lambda priority: None)
    monkeypatch.setattr(audio_process, "Inputs", lambda names, api: None)
    state = ProcessState(Setup(str(presets[0]), null=True, panel=True), None)
    thread = threading.Thread(target=audio_process._sound, args=(state,), daemon=True)
    thread.start()
    assert asked.wait(PATIENCE_SECONDS)
    assert [kind for kind, _ in list(state.outbox) if kind != "say"] == []
    gate.set()
    assert state.ready.wait(PATIENCE_SECONDS)
    assert [kind for kind, _ in list(state.outbox) if kind != "say"] == ["ready", "view", "preset"]
    state.loop.stop()
    thread.join(PATIENCE_SECONDS)


def test_the_command_line_sets_up_channels_and_a_controllers_knobs(presets, timbrel, monkeypatch):
    setups = []
    monkeypatch.setattr(play, "play", lambda setup, *rest: setups.append(setup))
    options = [part for option in ("2=gm-keys", "10=none", "16=b.toml") for part in ("--channel", option)]
    assert timbrel("play", "a.toml", "--null", "--controller", "nanokontrol2", *options).status == 0
    [setup] = setups
    assert (setup.preset, setup.channels, setup.silent) == ("a.toml", ((1, "gm-keys"), (15, "b.toml")), (9,))
    assert setup.controller == read_controller("nanokontrol2")
