"""The overlap-add engine against scipy's inverse transform of the same spectra, and what it decodes when."""

import warnings

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.engines.spectrum.noise_voicing import NoisePhase
from timbrel.host.signal import sounding_note
from timbrel.host.units import midi_to_hz

from ...cover import cover

BLOCK = 16384
SIZES = {
    "small": {},
    "as published": {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024},
    "odd frame": {"frame_length": 1003, "hop_length": 250},
    "hop that does not divide": {"frame_length": 1024, "hop_length": 300},
}


class Still:
    """Knobs that rest, the same for all voices."""

    own_codes = False

    def __init__(self, latents=2, semitones=0.0):
        self.values, self.semitones = [0.5] * latents, semitones

    def latents(self, voices, times, own_times=None):
        return np.tile(np.array(self.values, np.float32), (len(times), 1))

    def residual(self, voices, times, ahead):
        return None

    def decoded_keys(self, voices):
        return [None] * len(voices)

    def bend_semitones(self, voices, times):
        return np.full(len(times), self.semitones)


class Turning(Still):
    """Knobs that never rest, the same for all voices."""

    def latents(self, voices, times, own_times=None):
        return np.stack([np.sin(times / 5000), np.cos(times / 7000)], axis=1).astype(np.float32) / 2 + 0.5


class Apart(Still):
    """A code for every voice that never rests."""

    def latents(self, voices, times, own_times=None):
        return np.stack([np.sin(times / 5000 + voices), np.cos(times / 7000 + voices)], axis=1).astype(np.float32)


class Counting:
    """A model that notes how many rows each call decodes."""

    def __init__(self, model):
        self.card, self.model, self.calls = model.card, model, []

    def decode(self, latent, chroma):
        self.calls.append(len(latent))
        return self.model.decode(latent, chroma)


def sounding(engine, streams, motion, start, count):
    """The sound of a block, copied; then what comes next is prepared."""
    sound = np.array([row[0].copy() for row in engine.render(streams, motion, start, count)])
    engine.prepare(streams, motion, start + count)
    return sound


def sound_of(engine, streams, motion, count, sizes=(BLOCK,), start=0):
    """Samples ``start`` to ``count``, [streams, count - start]."""
    blocks, at, turn = [], start, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        blocks.append(sounding(engine, streams, motion, at, size))
        at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=1)


VOICES = ["noise", "causal", "coherent"]
SIZES_OF_VOICES = [
    (name, voice) for voice in VOICES for name in SIZES if (name, voice) != ("odd frame", "causal")
]  # refused


@pytest.fixture(params=VOICES)
def engine_of(request):
    """Makes engines of each voice."""
    character = VoicingSettings(phase=request.param)
    return lambda model, block=BLOCK: SpectrumEngine(model, block, character)


@pytest.fixture
def heard(monkeypatch):
    """Every spectrum that phases are given to, with the voice's state, in order."""
    given = []
    apply = NoisePhase.apply

    def spy(self, magnitudes, states):
        spectra = apply(self, magnitudes, states)
        given.extend(zip([id(state) for state in states], spectra.copy(), strict=True))
        return spectra

    monkeypatch.setattr(NoisePhase, "apply", spy)
    return given


def test_the_sound_is_scipys_inverse_transform_of_the_same_spectra(tiny, heard):
    model = tiny(**SIZES["as published"])
    card = model.card
    engine = SpectrumEngine(model, BLOCK, character=VoicingSettings(phase="noise"))
    on = 777
    streams = [engine.start_stream(57 + 5 * i, on) for i in range(5)]
    firsts = [stream.next_frame for stream in streams]
    sound = sound_of(engine, streams, Turning(), 12 * card.frame_length, sizes=(1000,))
    lowest = np.arange(card.frame_width) * card.sample_rate / card.frame_length < 20
    window = scipy.signal.get_window("hann", card.frame_length)
    for stream, first, row in zip(streams, firsts, sound, strict=True):
        spectra = np.array([s for state, s in heard if state == id(stream.state)], np.complex128)
        spectra[:, lowest] = 0
        with warnings.catch_warnings(action="ignore"):  # the ends lack overlap, says scipy
            _, expected = scipy.signal.istft(
                spectra.T / window.sum(),
                window="hann",
                nperseg=card.frame_length,
                noverlap=card.frame_length - card.hop_length,
                boundary=False,
            )
        inside = slice(card.frame_length, len(row) - card.frame_length)
        assert row[inside] == pytest.approx(expected[inside.start - first : inside.stop - first], abs=1e-7)
        assert np.abs(row[inside]).max() > 1e-4
        assert np.all(row[:on] == 0)


@pytest.mark.parametrize("settings", SIZES.values(), ids=SIZES)
def test_the_sound_is_that_of_a_plain_loop(tiny, heard, settings):
    model = tiny(**settings)
    n, hop = model.card.frame_length, model.card.hop_length
    engine = SpectrumEngine(model, BLOCK, character=VoicingSettings(phase="noise"))
    stream = engine.start_stream(64, 300)
    first = stream.next_frame
    sound = sound_of(engine, [stream], Still(), 9 * n, sizes=(n, 17, 555))[0]
    t = np.arange(n)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * t / n)
    expected = np.zeros(12 * n + n)
    for index, (_, spectrum) in enumerate(heard):
        bins = spectrum * (np.arange(len(spectrum)) * model.card.sample_rate / n >= 20)
        at = first + index * hop + 2 * n  # so that frames before sample 0 have a place
        if at + n <= len(expected):
            frame = window * np.fft.irfft(bins, n)
            expected[at : at + n] += frame - window * frame.sum() / window.sum()  # no direct current
    expected = expected[2 * n :] * hop / np.sum(window**2)
    assert np.all(sound[:300] == 0)
    assert sound[300:] == pytest.approx(expected[300 : 9 * n], abs=1e-7)


BLOCKS = [(1,), (63, 64, 65), (128,), (8193,), (5, 5000, 1, 16384)]


@pytest.mark.parametrize(
    ("name", "sizes", "engine_of"),
    cover(12, list(SIZES), BLOCKS, ["noise", "coherent"])
    + cover(5, [name for name, voice in SIZES_OF_VOICES if voice == "causal"], BLOCKS, ["causal"]),
    ids=str,
    indirect=["engine_of"],
)
def test_division_into_blocks_changes_no_bit(engine_of, tiny, name, sizes):
    model = tiny(**SIZES[name])
    count = 2000 if sizes == (1,) else 24_000

    def run(sizes):
        engine = engine_of(model, BLOCK)
        streams = [engine.start_stream(50 + 3 * i, 100 * i) for i in range(6)]
        return sound_of(engine, streams, Turning(semitones=0.3), count, sizes)

    whole = run((BLOCK,))
    assert np.array_equal(run(sizes), whole)


@pytest.mark.parametrize("settings", [SIZES["small"], SIZES["as published"]], ids=["small", "as published"])
def test_the_first_five_milliseconds_are_as_loud_as_the_rest(engine_of, tiny, settings):
    model = tiny(**settings)
    rate = model.card.sample_rate
    engine = engine_of(model)
    on = np.random.default_rng(2).integers(0, 3000, 96)
    streams = [engine.start_stream(48 + i % 36, int(time)) for i, time in enumerate(on)]
    sound = sound_of(engine, streams, Still(), 3000 + rate)
    start = np.mean([np.square(row[t : t + rate // 200]).mean() for row, t in zip(sound, on, strict=True)])
    later = np.mean([np.square(row[t + rate // 10 :]).mean() for row, t in zip(sound, on, strict=True)])
    assert 10 * np.log10(start / later) == pytest.approx(0, abs=1.0)


def test_the_frames_and_the_decoding_of_many_voices_are_spread_over_the_blocks(engine_of, tiny, monkeypatch):
    model = Counting(tiny(**SIZES["as published"]))
    engine = engine_of(model)
    made, make = [], engine._voicing.make
    monkeypatch.setattr(engine._voicing, "make", lambda *args: [made.append(len(args[0])), make(*args)][1])
    streams = [engine.start_stream(48 + i, 0) for i in range(16)]
    sound_of(engine, streams, Apart(), 8192, sizes=(128,))
    frames, decoded = [], []
    for block in range(64, 128):
        made.clear(), model.calls.clear()
        sounding(engine, streams, Apart(), 128 * block, 128)
        frames.append(sum(made)), decoded.append(sum(model.calls))
    hops = 64 * 128 // 1024
    assert 16 * hops <= sum(decoded) <= (16 + 12) * hops  # and those of keys that may be pressed
    assert max(decoded) <= 8
    assert max(frames) <= 16  # of one voice no more than one


def test_where_frames_are_due_in_every_block_they_are_decoded_between_blocks(tiny):
    model = Counting(tiny(**SIZES["as published"]))
    engine, motion = SpectrumEngine(model, BLOCK), Apart()
    begun = [engine.start_stream(48 + i % 16, 0) for i in range(40)]
    streams = [*begun[:8], *begun[-8:]]  # of two groups
    for start in range(0, 16384, 128):
        model.calls.clear()
        engine.render(streams, motion, start, 128)
        assert not model.calls or start < 4096
        engine.prepare(streams, motion, start + 128)


def test_still_knobs_decode_nothing_new(engine_of, tiny):
    model = Counting(tiny())
    engine = engine_of(model)
    streams = [engine.start_stream(48 + i, 0) for i in range(16)]
    sound_of(engine, streams, Still(), 4096)
    assert sum(model.calls) == 12
    sounding(engine, streams, Still(), 4096, BLOCK)
    assert sum(model.calls) == 12


def test_64_voices_that_share_turning_knobs_need_at_most_twelve_rows_a_hop(engine_of, tiny):
    model = Counting(tiny())
    hop = model.card.hop_length
    engine = engine_of(model)
    streams = [engine.start_stream(30 + i, 0) for i in range(64)]
    sound_of(engine, streams, Turning(), 20 * hop)
    model.calls.clear()
    hops = 40
    for block in range(20 * 4, (20 + hops) * 4):
        sounding(engine, streams, Turning(), block * hop // 4, hop // 4)
    assert 0 < sum(model.calls) <= 12 * (hops + 1)  # knobs may be read a hop before what they shape


def test_all_voices_that_are_due_are_decoded_in_one_run(engine_of, tiny):
    model = Counting(tiny())
    engine = engine_of(model)
    streams = [engine.start_stream(48 + i, 0) for i in range(8)]
    sound_of(engine, streams, Apart(), 4096)
    model.calls.clear()
    sounding(engine, streams, Apart(), 4096, model.card.hop_length)
    assert model.calls == [8]


@pytest.mark.parametrize("settings", [SIZES["small"], SIZES["as published"]], ids=["small", "as published"])
@pytest.mark.parametrize("octaves", [-2, -1, 0, 1, 2])
def test_an_octave_moves_the_sounding_note_by_an_octave(engine_of, tiny, settings, octaves):
    model = tiny(**settings)
    rate = model.card.sample_rate
    engine = engine_of(model)
    keys = [60 + 12 * octaves + step for step in (0, 4, 9, 11)]
    sound = sound_of(engine, [engine.start_stream(key, 0) for key in keys], Still(), 2 * rate)
    for key, row in zip(keys, sound, strict=True):
        assert sounding_note(row, rate) == pytest.approx(key, abs=0.35)
        hz, power = scipy.signal.welch(row, rate, nperseg=8192)
        width = rate / model.card.frame_length  # the fundamental is the strongest; its lobe is this wide
        assert hz[power.argmax()] == pytest.approx(midi_to_hz(key), abs=max(1.0, 2.0**octaves) * width)


@pytest.mark.parametrize("semitones", [-2.0, -0.5, 0.5, 1.0, 2.0, 7.0])
def test_a_bend_moves_the_note_by_its_semitones(engine_of, tiny, semitones):
    model = tiny(**SIZES["as published"])
    engine = engine_of(model)
    sound = sound_of(engine, [engine.start_stream(64, 0)], Still(semitones=semitones), 60_000)
    assert sounding_note(sound[0], 44100) == pytest.approx(64 + semitones, abs=0.25)


@pytest.mark.parametrize("octaves", [-2, -1, 1, 2])
def test_a_moved_note_is_as_loud_as_it_was(engine_of, tiny, octaves):
    model = tiny(sample_rate=44100, frame_length=4096, hop_length=1024, brightest_hz=2500.0)
    engine = engine_of(model)
    keys = [60 + step for step in range(12)]
    streams = [engine.start_stream(key, 0) for key in keys] + [
        engine.start_stream(key + 12 * octaves, 0) for key in keys
    ]
    power = np.square(sound_of(engine, streams, Still(), 88_200)).mean(1)
    assert 10 * np.log10(power[12:].mean() / power[:12].mean()) == pytest.approx(0, abs=1.5)


def test_without_chroma_every_key_moves_the_spectrum_and_middle_c_does_not(engine_of, tiny):
    model = tiny(chroma=False, **SIZES["as published"])
    engine = engine_of(model)
    keys = [48, 55, 60, 61, 66, 71, 72, 77]
    sound = sound_of(engine, [engine.start_stream(key, 0) for key in keys], Still(), 60_000)
    assert [sounding_note(row, 44100) for row in sound] == pytest.approx(keys, abs=0.25)


@pytest.mark.parametrize("settings", [SIZES["small"], SIZES["as published"]], ids=["small", "as published"])
@pytest.mark.parametrize("key", [24, 41, 60, 84])
def test_there_is_no_direct_current(engine_of, tiny, settings, key):
    model = tiny(**settings)
    engine = engine_of(model)
    sound = sound_of(engine, [engine.start_stream(key, 0)], Still(), 60_000)[0].astype(np.float64)
    window = scipy.signal.get_window("blackman", len(sound))
    offset = np.sum(sound * window) / window.sum()
    assert 20 * np.log10(np.abs(offset) / np.sqrt(np.mean(sound**2))) < -60


@pytest.mark.parametrize(("name", "engine_of"), SIZES_OF_VOICES, indirect=["engine_of"])
def test_a_model_that_is_all_rumble_gives_none(engine_of, tiny, name):
    class Rumbling:
        card = tiny(**SIZES[name]).card

        def decode(self, latent, chroma):
            return np.ones((len(latent), self.card.frame_width), np.float32)

    engine = engine_of(Rumbling())
    sound = sound_of(engine, [engine.start_stream(60, 0)], Still(), 120_000)[0].astype(np.float64)
    rate = Rumbling.card.sample_rate
    hz, power = scipy.signal.periodogram(sound, rate, "blackman", detrend=False, scaling="spectrum")
    # The coherent voice's noise reaches down to 0 Hz: a bin that it leaves out would click where frames begin.
    assert 10 * np.log10(power[hz < 1].sum() / power.sum()) < -40
    lowest = np.ceil(20 * Rumbling.card.frame_length / rate) * rate / Rumbling.card.frame_length
    assert power[(hz > lowest) & (hz < 4 * lowest)].sum() > 3 * power[hz < 5].sum()


@pytest.mark.parametrize("on", [0, 1, 255, 256, 257, 4000])
def test_every_frame_that_overlaps_the_note_on_is_made(engine_of, tiny, on):
    engine = engine_of(tiny())
    n, hop = engine._voicing.frame_length, engine._voicing.hop_length
    for _ in range(40):
        assert on - n < engine.start_stream(60, on).next_frame <= on - n + hop


def test_a_stream_that_sounds_for_long_does_not_grow(engine_of, tiny):
    model = tiny()
    engine = engine_of(model, 512)
    stream = engine.start_stream(60, 0)
    length = stream.pending.shape
    sound = sound_of(engine, [stream], Still(), 200_000, sizes=(512, 100))
    assert stream.pending.shape == length
    quarter = np.square(sound[0].reshape(4, -1)).mean(1)
    assert 10 * np.log10(quarter / quarter.mean()) == pytest.approx(np.zeros(4), abs=1.5)


def test_voices_begun_late_sound_as_they_would_have_at_the_start(engine_of, tiny):
    model = tiny()
    hop = model.card.hop_length

    def run(on):
        engine = engine_of(model)
        return sound_of(engine, [engine.start_stream(60, on)], Still(), on + 5000, start=on - 50)[0]

    assert np.array_equal(run(100), run(100 + 400 * hop))


@pytest.mark.parametrize(("name", "engine_of"), SIZES_OF_VOICES, indirect=["engine_of"])
def test_frames_that_come_together_add_up_as_if_they_came_one_by_one(engine_of, tiny, name):
    model = tiny(**SIZES[name])
    whole, hops = (engine_of(model, 16384) for _ in range(2))
    count = 16000
    a = whole.render([whole.start_stream(60, 0)], Still(), 0, count)[0][0].copy()
    b = sound_of(hops, [hops.start_stream(60, 0)], Still(), count, sizes=(64,))
    assert np.array_equal(a, b[0])


def test_a_stream_makes_no_frame_that_begins_after_its_end(engine_of, tiny):
    counting = Counting(tiny())
    engine = engine_of(counting, 16384)
    stream = engine.start_stream(60, 0)
    stream.end = 1
    sounding(engine, [stream], Turning(), 0, 16384)
    overlapping = -(-counting.card.frame_length // counting.card.hop_length)
    assert sum(counting.calls) <= overlapping


def test_a_key_beside_others_finds_its_frames_decoded_while_knobs_turn(engine_of, tiny):
    counting = Counting(tiny(**SIZES["as published"]))
    engine = engine_of(counting, 16384)
    streams, motion, block = [engine.start_stream(60, 0)], Turning(), 64
    for start in range(0, 5 * 1024 + 800, block):
        sounding(engine, streams, motion, start, block)
    counting.calls.clear()
    start += block
    streams.append(engine.start_stream(67, start))
    sounding(engine, streams, motion, start, block)
    assert counting.calls == []


@pytest.mark.parametrize("settings", [{}, {"chroma": False}], ids=["with chroma", "without"])
@pytest.mark.parametrize("knobs", [Still(), Turning()], ids=["still", "turning"])
def test_the_first_keys_after_silence_find_their_frames_decoded(engine_of, tiny, settings, knobs):
    model = Counting(tiny(**SIZES["as published"], **settings))
    engine, hop = engine_of(model), model.card.hop_length
    block, at = hop // 8, 4 * hop + hop // 2
    for start in range(0, at, block):
        if start == 4 * hop:
            model.calls.clear()
        sounding(engine, [], knobs, start, block)
    foreseen = sum(model.calls)
    sounding(engine, [engine.start_stream(key, at) for key in range(60, 72)], knobs, at, block)
    assert sum(model.calls) == foreseen == (0 if type(knobs) is Still else 1 if settings else 12)


class Noting(Still):
    """Knobs that note when they and notes' own codes are read."""

    def __init__(self):
        super().__init__()
        self.read = []

    def latents(self, voices, times, own_times=None):
        self.read += [] if own_times is None else list(zip(times.tolist(), own_times.tolist(), strict=True))
        return super().latents(voices, times)


@pytest.mark.parametrize("on", [40960, 41000])
def test_knobs_are_read_from_a_note_on_and_its_own_codes_from_before_it(tiny, on):
    engine = SpectrumEngine(tiny(**SIZES["as published"]), BLOCK)
    hop, noting = engine._knob_hop, Noting()
    stream = engine.start_stream(60.0, on, 60)
    for start in range(on - on % 512, on + 6 * hop, 512):
        sounding(engine, [stream], noting, start, 512)
    first = on - on % hop
    assert all(knobs == max(own, first) for knobs, own in noting.read)
    assert min(own for _, own in noting.read) < on - hop // 2
    assert all(own % hop == 0 for _, own in noting.read)
