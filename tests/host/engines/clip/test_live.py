"""Live, clips are decoded beside the playing: notes never wait, and sound as offline once theirs is ready."""

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.clip import engine
from timbrel.host.engines.clip.clip_cache import NEWEST, ClipRequest, PrefetchClipCache, SingleClipDecoder
from timbrel.host.engines.clip.resampling import ResampledClip, kernels
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument, Rack
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import fitted

from ....patience import PATIENCE_SECONDS, until
from ...clips import LENGTH, RATE, SHARP, noise, save_clips

BLOCK = 100
SIDE = np.float32(np.sqrt(0.5))
KIT = [{"key": 36 + number, "code": [number / 10, 0.0]} for number in range(5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "m.onnx"
    return Model(save_clips(path, noise(1), np.stack([noise(2), noise(3)])))


@pytest.fixture(autouse=True)
def gate(monkeypatch):
    """Decoding, in this process, waits for it; a list ``decoded`` has the codes. It opens at the end."""
    opened, made = threading.Event(), SingleClipDecoder.clip
    opened.set()
    opened.decoded = []

    def clip(self, label, code, recording=None):
        assert opened.wait(PATIENCE_SECONDS)
        opened.decoded.append(code.tolist())
        return made(self, label, code, recording)

    monkeypatch.setattr(SingleClipDecoder, "clip", clip)
    monkeypatch.setattr(engine, "ClipDecodeWorker", lambda decoder, *_: decoder)
    yield opened
    opened.set()


@pytest.fixture
def patch(model, tmp_path):
    def make(**keys):
        fields = {"format": 1, "model": "m", "envelope": SHARP, "knobs": [20, 21], **keys}
        return Patch("clips", fitted(Preset.model_validate(fields), model.card, tmp_path), model, tmp_path)

    return make


class Playing:
    """An instrument that is played block by block."""

    def __init__(self, patch, live=True, settled=True):
        self.instrument, self.now = ChannelInstrument(patch, RATE, live=live), 0
        self.engine = self.instrument._synthesis._engine
        if settled:
            self.settle()

    def settle(self):
        until(lambda: self.engine.idle)

    def play(self, events, count, settled=False):
        """One side of the next samples; events' times count from here."""
        blocks, first = [], self.now
        while self.now < first + count:
            size = min(BLOCK, first + count - self.now)
            due = [e for e in events if self.now <= first + e.time < self.now + size]
            blocks.append(self.instrument.process([replace(e, first + e.time) for e in due], size)[0])
            self.now += size
            if settled:
                self.settle()
        return np.concatenate(blocks) / SIDE


def replace(event, time):
    return type(event)(time, *(getattr(event, name) for name in event.__slots__[1:]))


def on(time=0, key=60):
    return NoteOn(time, 0, key, 127)


EVENTS = st.lists(
    st.one_of(
        st.builds(on, st.integers(0, 5000), st.sampled_from([36, 38, 40, 60, 77])),
        st.builds(NoteOff, st.integers(0, 5000), st.just(0), st.sampled_from([36, 60, 77])),
        st.builds(ControlChange, st.integers(0, 5000), st.just(0), st.sampled_from([20, 21]), st.integers(0, 127)),
    ),
    min_size=2,
    max_size=8,
)


@given(EVENTS, st.sampled_from([{}, {"keys": KIT}, {"clip": {"loop": True}}]))
def test_live_playing_is_rendering_where_knobs_have_come_to_rest(model, tmp_path_factory, events, keys):
    fields = {"format": 1, "model": "m", "envelope": SHARP, "knobs": [20, 21], **keys}
    patch = Patch(
        "clips", fitted(Preset.model_validate(fields), model.card, tmp_path_factory.getbasetemp()), model, None
    )
    turns = [replace(e, 0) for e in events if isinstance(e, ControlChange)]
    notes = sorted((e for e in events if not isinstance(e, ControlChange)), key=lambda event: event.time)
    sounds = []
    for live in (True, False):
        playing = Playing(patch, live)
        playing.play(turns, 1000, settled=True)
        sounds.append(playing.play(notes, 6000, settled=True))
    assert np.array_equal(*sounds)


def test_a_label_that_a_morph_leads_to_is_decoded_ahead(tmp_path):
    path = save_clips(tmp_path / "l.onnx", np.zeros(LENGTH), labels=("a", "b"), labelled=np.stack([noise(2), noise(3)]))
    (tmp_path / "b.toml").write_text('format = 1\nmodel = "l.onnx"\n[clip]\nlabel = "b"\n')
    fields = {"format": 1, "model": "l", "envelope": SHARP, "knobs": [], "morph": {"to": "b.toml"}}
    model = Model(path)
    made = Patch("clips", fitted(Preset.model_validate(fields), model.card, tmp_path), model, tmp_path)
    sounds = []
    for live in (True, False):
        playing = Playing(made, live)
        playing.play([], 1000, settled=True)
        playing.play([ParameterChange(0, 0, "morph", 0.5)], 1000, settled=True)
        sounds.append(playing.play([on()], LENGTH, settled=True))
    assert np.array_equal(*sounds)
    assert sounds[0] == pytest.approx(0.5 * (noise(2) + noise(3)), abs=1e-5)


def test_before_its_first_clip_is_ready_it_says_so_and_a_note_is_silent(patch, gate):
    gate.clear()
    playing = Playing(patch(), settled=False)
    assert not playing.engine.ready
    assert not playing.play([on()], 1000).any()
    gate.set()
    playing.settle()
    assert playing.engine.ready
    assert playing.play([on()], 1000).any()


def test_a_kit_is_ready_when_every_key_is(patch, gate):
    playing = Playing(patch(keys=KIT))
    assert playing.engine.ready
    assert len(gate.decoded) == len(KIT)
    assert playing.instrument.ready


def test_a_note_never_waits_it_plays_the_clip_that_is_ready_and_its_age_is_told(patch, gate):
    playing = Playing(patch())
    before = playing.play([on()], LENGTH + 1000)
    assert playing.instrument.age_ms == 0.0
    gate.clear()
    playing.play([ControlChange(0, 0, 20, 127)], 1600)
    after = playing.play([on()], LENGTH + 1000)
    assert np.array_equal(after, before)
    assert playing.instrument.age_ms == pytest.approx(100, abs=8)  # 1600 samples, less a look's 5 ms
    gate.set()
    playing.settle()
    assert not np.array_equal(playing.play([on()], LENGTH + 1000), before)
    assert playing.instrument.age_ms == 0.0


def test_the_clip_to_which_a_knob_leads_is_ready_before_the_knob_is_there(patch, gate):
    """It takes 20 ms to come to rest; the end of its way is decoded at once."""
    playing = Playing(patch())
    playing.play([ControlChange(0, 0, 20, 127)], 2 * BLOCK, settled=True)
    assert gate.decoded[-1][0] == 2.0
    playing.play([], 3 * BLOCK)
    assert len(gate.decoded) == 2


def test_of_a_kit_whose_knob_never_rests_each_key_has_its_turn_in_the_order_that_is_asked_for():
    """The knob has moved on by the time that a clip is ready."""

    class Moving:
        def clip(self, label, code, recording):
            decoded.append(int(code[0]))
            if len(decoded) < 30:
                ahead.ask(wants(len(decoded)))
            return ResampledClip(np.zeros(16, np.float32))

    def wants(moved):
        codes = {slot: np.array([slot, moved], np.float32) for slot in (3, 1, 4, 2, 0)}
        return [ClipRequest(slot, 0, code, code.tobytes(), moved) for slot, code in codes.items()]

    decoded = []
    ahead = PrefetchClipCache(Moving())
    ahead.ask(wants(0))
    until(lambda: len(decoded) >= 30)
    assert decoded[:30] == [3, 1, 4, 2, 0] * 6


def test_what_is_asked_for_anew_takes_the_place_of_what_has_not_begun(model, gate):
    gate.clear()
    ahead = PrefetchClipCache(SingleClipDecoder(model))
    for number in range(50):
        code = np.array([number / 50, 0.0], np.float32)
        ahead.ask([ClipRequest(0, 0, code, code.tobytes(), number)])
    gate.set()
    until(lambda: ahead.idle)
    assert len(gate.decoded) <= 2
    assert ahead.ready_clips(0)[-1].current_time == 49


def test_few_clips_are_kept_however_far_a_knob_turns(patch):
    playing = Playing(patch())
    for value in range(0, 127, 3):
        playing.play([ControlChange(0, 0, 20, value)], 400, settled=True)
    assert len(playing.engine._prefetch_cache.ready_clips(-1)) == NEWEST


def test_a_decoder_that_fails_is_heard_of_by_who_plays_on(patch, monkeypatch):
    playing = Playing(patch())

    def fail(self, label, code, recording):
        raise UserError("it cannot be run")

    monkeypatch.setattr(SingleClipDecoder, "clip", fail)
    with pytest.raises(UserError, match="it cannot be run"):
        playing.play([ControlChange(0, 0, 20, 127)], 1000, settled=True)


def test_a_rack_that_is_dropped_ends_its_thread_without_a_collection(patch):
    before = threading.active_count()
    gc.disable()
    try:
        rack = Rack({0: patch()}, RATE, live=True)
        until(lambda rack=rack: rack.ready)
        rack.process([on()], 500)
        gone = weakref.ref(next(iter(rack._instruments.values()))._synthesis._engine)
        del rack
        assert gone() is None
    finally:
        gc.enable()
    until(lambda: threading.active_count() <= before)


def test_offline_nothing_is_decoded_beside_and_no_age_is_told(patch):
    before = threading.active_count()
    playing = Playing(patch(), live=False)
    playing.play([on()], 500)
    assert threading.active_count() <= before  # an earlier test's may end meanwhile
    assert playing.instrument.age_ms is None


def test_a_knob_that_comes_back_is_heard_as_it_is_and_not_as_it_was_further_on(patch, gate):
    """Its clip is there still, older than that of where it has been since."""
    playing = Playing(patch())
    for value in (100, 120, 100):
        playing.play([ControlChange(0, 0, 20, value)], 1000, settled=True)
    gate.clear()
    playing.play([ControlChange(0, 0, 20, 99)], 350)  # its clip does not come
    heard = playing.play([on()], 1000)
    gate.set()
    still = Playing(patch(), live=False)
    still.play([ControlChange(0, 0, 20, 100)], 1000)
    assert np.array_equal(heard, still.play([on()], 1000))


def test_a_block_in_which_a_key_is_struck_leaves_the_knobs_to_the_next_but_not_for_ever(patch, gate):
    playing = Playing(patch())
    playing.play([], 3 * BLOCK)
    looks, look = [], playing.engine._look
    playing.engine._look = lambda *given: (looks.append(given[-1]), look(*given))
    playing.play([on()], BLOCK)
    assert not looks
    playing.play([], BLOCK)
    assert len(looks) == 1
    gate.decoded.clear()
    playing.play([ControlChange(0, 0, 20, 100), *(on(time) for time in range(0, 20 * BLOCK, BLOCK))], 20 * BLOCK)
    playing.settle()
    assert gate.decoded


def test_the_low_passes_are_there_before_the_first_note(patch):
    """They take as long as 25 blocks of 128."""
    kernels.cache_clear()
    Rack({0: patch()}, RATE, live=True)
    assert kernels.cache_info().currsize == 1
