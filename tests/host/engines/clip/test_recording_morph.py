"""Morphs of two recordings: both ends are recordings, onsets move together, and each step is small."""

import dataclasses

import numpy as np
import pytest
from timbrel.host.engines.clip.clip_cache import ClipDecodeWorker, RecordingMorph, SingleClipDecoder
from timbrel.host.engines.clip.engine import FADE_SECONDS, MORPH_STEPS
from timbrel.host.engines.clip.morph import PACE_SECTIONS, even_shares, morph_length, morph_sides, onset_samples
from timbrel.host.engines.clip.recorded import code_between
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.modulation import modulations
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import fitted
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel

from ....patience import until
from ...clips import FRAME_LENGTH, HOP, POINTS, RATE, SHARP, TRANSFORM, in_16_bit, recorded, save_recorded

SIDE, FADE = np.float32(np.sqrt(0.5)), round(FADE_SECONDS * RATE)
LEAD = 700  # samples of silence before "late"
STEREO, LONG = recorded(1, 2), recorded(3, 2, 9001)
LATE = np.pad(recorded(2), ((0, 0), (LEAD, 0)))
FAR_CODE = [2.5, 0.0]  # outside the latent's range
SOUNDS = {"stereo": STEREO, "late": LATE, "long": LONG, "far": recorded(4)}
CODES = [[0.5, 0.0], [-0.25, 0.5], [0.0, -0.5], FAR_CODE]
WHEEL = {"number": 1, "target": "morph", "low": 0.0, "high": 1.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(save_recorded(tmp_path_factory.mktemp("clips") / "m.onnx", SOUNDS, CODES))


@pytest.fixture
def patch(model, tmp_path):
    def make(**keys):
        fields = {"format": 1, "model": "m", "envelope": SHARP, "knobs": [20, 21], **keys}
        return Patch("clips", fitted(Preset.model_validate(fields), model.card, tmp_path), model, tmp_path)

    return make


@pytest.fixture
def sides(patch):
    """Return a function that renders events, [2, count], without the gain of voices."""

    def play(events, count, size=1 << 14, live=False, **keys):
        instrument = ChannelInstrument(patch(**keys), RATE, live=live)
        blocks = []
        for start in range(0, count, size):
            if live:
                until(lambda: instrument._synthesis._engine.idle)
            due = [event for event in events if start <= event.time < start + size]
            blocks.append(instrument.process(due, min(size, count - start)).copy())
        return np.concatenate(blocks, axis=1) / SIDE

    return play


def joined(first, second, position=0.0, **keys):
    return {"keys": [{"key": 36, "recording": first, "morph_to": second}], "morph": {"position": position}, **keys}


def plain(name, **keys):
    return {"keys": [{"key": 36, "recording": name}], **keys}


def on(time=0, key=36):
    return NoteOn(time, 0, key, 127)


def near(found, expected, within=2e-6):
    return np.allclose(found, expected, atol=within)


def synthesis(points=POINTS):
    return SpectraSound(FRAME_LENGTH, TRANSFORM, HOP, points)


def morphed(first, second, share, points=POINTS):
    """The morph of two recordings, in whole hops."""
    onsets = onset_samples(first, RATE), onset_samples(second, RATE)
    length = -(-morph_length((first.shape[1], second.shape[1]), onsets) // HOP) * HOP
    shape = max(len(first), len(second)), length
    return morph_sides(synthesis(points), (first, second), onsets, share, shape, FADE)


# ---- sounds


@pytest.mark.parametrize("onset", [0, 1, 700])
def test_an_onset_is_where_a_sound_begins(onset):
    sound = np.zeros((2, 4000), np.float32)
    sound[1, onset:] = 0.5
    sound[0, :onset] = 0.5 * 10 ** (-40 / 20)  # noise before it
    assert onset <= onset_samples(sound, RATE) <= onset + 1
    assert onset_samples(np.zeros((1, 4000), np.float32), RATE) == 0


@pytest.mark.parametrize(("first", "second"), [(STEREO, LATE), (LATE, LONG), (LONG, STEREO)])
def test_both_ends_are_the_recordings_to_the_bit(first, second):
    for share, recording in ((0, first), (1, second)):
        found = morphed(first, second, share)
        assert np.array_equal(found[:, : recording.shape[1]], np.broadcast_to(recording, (2, recording.shape[1])))
        assert not found[:, recording.shape[1] :].any()


def steady_noise(seed, spectrum, length=1 << 15):
    """Noise of a magnitude spectrum, [bins]."""
    spectra = np.fft.rfft(np.random.default_rng(seed).normal(size=length))
    gains = np.interp(np.linspace(0, 1, len(spectra)), np.linspace(0, 1, len(spectrum)), spectrum)
    return (0.01 * np.fft.irfft(spectra * gains)).astype(np.float32)[np.newaxis]


def band_levels_db(sound):
    return 10 * np.log10(np.square(np.abs(np.fft.rfft(sound)))[:-1].reshape(8, -1).mean(1))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_levels_of_bands_move_in_decibels(share):
    falling, rising = steady_noise(1, [10.0, 0.1]), steady_noise(2, [0.1, 10.0])
    found = morphed(falling, rising, share, points=0)[0, : 1 << 15]
    expected_db = (1 - share) * band_levels_db(falling[0]) + share * band_levels_db(rising[0])
    difference_db = band_levels_db(found) - expected_db
    assert np.ptp(difference_db) < 1.5
    assert abs(difference_db.mean()) < 3.0  # bins of noise scatter, and their mean in decibels is below their power


def test_loudness_moves_in_decibels():
    loud, soft = (level * steady_noise(seed, [1.0, 1.0]) for seed, level in ((1, 1.0), (2, 0.01)))
    found = [np.sqrt(np.square(morphed(loud, soft, share)).mean()) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert 20 * np.log10(np.array(found) / found[0]) == pytest.approx([0, -10, -20, -30, -40], abs=0.3)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_onsets_move_together(share):
    """Attacks of both are one attack, as far between theirs as the morph."""
    for first, second in ((STEREO, LATE), (LATE, STEREO)):
        onset = onset_samples(morphed(first, second, share), RATE)
        expected = (1 - share) * onset_samples(first, RATE) + share * onset_samples(second, RATE)
        assert onset == pytest.approx(expected, abs=0.004 * RATE)


def tone(frequency_hz, seconds, length):
    time = np.arange(length) / RATE
    rise = np.minimum(time / 0.005, 1.0)
    sound = 0.3 * rise * np.sin(2 * np.pi * frequency_hz * time) * np.exp(-time / seconds)
    return (sound * np.minimum((length - np.arange(length)) / 400, 1.0)).astype(np.float32)[np.newaxis]


PAIRS = {
    "noises": (STEREO, LONG),
    "a late one": (STEREO, LATE),
    "tones": (tone(220, 0.1, 6000), tone(660, 0.3, 12000)),
    "a tone and noise": (tone(440, 0.2, 8000), LONG),
}


def step_distances(sounds):
    levels = log_mel(np.stack(sounds), RATE)
    return np.maximum(distance_db(levels[:-1], levels[1:]), distance_db(levels[1:], levels[:-1]))


@pytest.mark.parametrize("name", PAIRS)
def test_no_step_of_21_is_over_twice_the_median_step(name, tmp_path):
    sounds = dict(zip("ab", map(in_16_bit, PAIRS[name]), strict=True))
    decoder = SingleClipDecoder(Model(save_recorded(tmp_path / "m.onnx", sounds, CODES[:2])))
    ends = np.array(CODES[:2], np.float32)
    shares = [step / 20 for step in range(21)]
    steps = step_distances(
        [decoder.clip(0, code_between(*ends, share), RecordingMorph(0, 1, share)).samples for share in shares]
    )
    assert np.median(steps) > 0.1
    assert steps.max() < 2 * np.median(steps)
    assert steps.sum() < 1.2 * step_distances([morphed(*PAIRS[name], share)[0] for share in shares]).sum()


def test_even_shares_are_the_inverse_of_the_distance():
    """A sound whose level in decibels moves with the square of the share, beside a steady one."""
    low, high = tone(500, 9.0, 8000), tone(3000, 9.0, 8000)
    positions = even_shares(lambda share: low + high * np.float32(10 ** (-1.5 * share**2)), RATE)
    assert positions == pytest.approx(np.linspace(0, 1, PACE_SECTIONS + 1) ** 2, abs=0.01)
    assert even_shares(lambda share: low, RATE) == pytest.approx(np.linspace(0, 1, PACE_SECTIONS + 1))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.98])
def test_a_morph_of_tones_has_no_clicks(share):
    """Nothing sounds far above both tones, also not where a recording is cut before its onset."""
    late = np.pad(tone(660, 0.3, 12000), ((0, 0), (900, 0)))
    late[:, :900] += 0.005 * np.sin(2 * np.pi * 660 * np.arange(900) / RATE, dtype=np.float32)  # soft, before it
    first = tone(220, 0.1, 6000)
    found = morphed(first, late, share)
    for sound in (found[0, :4000], found[0, 4000:]):
        powers = np.square(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
        edge = len(powers) // 2  # 4 kHz
        assert powers[edge:].sum() < 1e-6 * np.square(np.abs(np.fft.rfft(found[0]))).sum()


def test_a_beginning_that_is_cut_fades_in():
    steady = np.full((1, 4000), 0.001, np.float32)
    steady[:, 2000:] = 0.5
    early = np.full((1, 4000), 0.5, np.float32)
    found = morph_sides(synthesis(0), (steady, early), (2000, 0), 1 - 1e-9, (1, 4096), FADE)
    assert near(found[0, :4000], early[0], 1e-3)
    cut = morph_sides(synthesis(0), (np.zeros_like(early), steady), (0, 2000), 0, (1, 4096), FADE)
    assert not cut.any()


def test_silent_recordings_give_silence():
    silent = np.zeros((1, 3000), np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert np.abs(morphed(silent, silent, 0.5)).max() < 1e-6
        assert np.isfinite(morphed(silent, STEREO, 0.5)).all()


# ---- keys


@pytest.mark.parametrize(("first", "second"), [("stereo", "late"), ("late", "long"), ("long", "far")])
def test_at_both_ends_a_key_plays_a_recording_as_a_key_without_a_morph_does(sides, first, second):
    for position, name in ((0.0, first), (1.0, second)):
        expected = sides([on(100)], 14000, **plain(name))
        found = sides([on(100)], 14000, **joined(first, second, position))
        assert np.abs(expected).max() > 0.01
        assert np.array_equal(found, np.broadcast_to(expected, found.shape))


def test_a_wheel_leads_from_one_recording_to_the_other(sides, model):
    keys = joined("stereo", "late", cc=[WHEEL])
    for value, share in ((0, 0.0), (64, 64 / 127), (127, 1.0)):
        found = sides([ControlChange(0, 0, 1, value), on(4000)], 9000, **keys)[:, 4000:]
        code = code_between(*np.array(CODES[:2], np.float32), share)
        clip = SingleClipDecoder(model).clip(0, code, RecordingMorph(0, 1, share))
        expected = np.stack([side.samples for side in clip.sides])
        assert near(found[:, : expected.shape[1]], expected[:, : found.shape[1]])


def test_only_keys_with_another_end_morph(sides):
    kit = [*joined("stereo", "late")["keys"], {"key": 37, "recording": "long"}, {"key": 38, "code": [0.5, 0.5]}]
    rests = {"keys": [{**entry, "key": 36} for entry in kit[1:2]]}
    found = sides([on(0, 37)], 12000, keys=kit, morph={"position": 1.0})
    assert np.array_equal(found, sides([on(0, 36)], 12000, **rests))


@pytest.mark.parametrize("position", [0.0, 1.0])
def test_a_knob_bends_both_recordings(sides, position):
    """Each end moves as its recording alone does."""
    events = [ParameterChange(0, 0, "latent.1", 0.3), on(4000)]
    name = ("stereo", "late")[int(position)]
    found = sides(events, 9000, **joined("stereo", "late", position))
    expected = sides(events, 9000, **plain(name))
    assert near(found, expected, 1e-5)
    assert not near(found, sides(events[1:], 9000, **plain(name)), 1e-3)


def test_a_morph_without_a_turned_knob_decodes_nothing(model, monkeypatch):
    decoder = SingleClipDecoder(model)
    monkeypatch.setattr(model, "decode", lambda *_: pytest.fail("decoded"))
    for share in (0.0, 3 / MORPH_STEPS, 0.5, 1.0):
        for first, second in ((0, 1), (2, 3)):
            code = code_between(np.array(CODES[first], np.float32), np.array(CODES[second], np.float32), share)
            decoder.clip(0, code, RecordingMorph(first, second, share))


def test_each_recording_has_its_own_label(tmp_path, monkeypatch):
    labelled = Model(save_recorded(tmp_path / "l.onnx", {"a": STEREO, "b": LATE}, CODES[:2], labels=("one", "two")))
    monkeypatch.setattr(labelled, "card", labelled.card.model_copy(update={"labels": ["two", "one"]}))
    decoder, heard = SingleClipDecoder(labelled), []
    frame = np.ones(labelled.card.frame_width, np.float32)
    monkeypatch.setattr(decoder, "_frame", lambda label, code: heard.append((label, code.tolist())) or frame)
    decoder.clip(0, np.array([0.0, 0.0], np.float32), RecordingMorph(0, 1, 0.5))
    ways = np.array([0.0, 0.0]) - code_between(*np.array(CODES[:2], np.float32), 0.5)
    for label, own in ((1, CODES[0]), (0, CODES[1])):
        codes = [code for found, code in heard if found == label]
        assert codes == [pytest.approx(own), pytest.approx(own + ways)]


def test_start_length_and_direction_count_within_the_morph(sides):
    """A third of the way, the end lies a third of the way between both ends."""
    length = round(3000 + (9001 - 3000) * round(MORPH_STEPS / 3) / MORPH_STEPS)
    whole = sides([on()], 12000, **joined("stereo", "long", 1 / 3))
    reverse = sides([on()], 12000, **joined("stereo", "long", 1 / 3, clip={"reverse": True}))
    assert near(reverse[:, : length - FADE], whole[:, FADE:length][:, ::-1])
    begun = sides([on()], 12000, **joined("stereo", "long", 1 / 3, clip={"start": 0.5, "length": 0.2}))
    count = round(0.2 * length) - FADE - 2
    assert near(begun[:, :count], whole[:, length // 2 :][:, :count])
    assert not begun[:, round(0.2 * length) + 2 :].any()


@pytest.mark.parametrize("keys", [{"start": 0.3}, {"length": 0.5}, {"reverse": True}, {"pitch": -5.0}])
def test_at_the_ends_settings_act_as_on_the_recording_alone(sides, keys):
    for position, name in ((0.0, "stereo"), (1.0, "long")):
        found = sides([on(10)], 14000, **joined("stereo", "long", position, clip=keys))
        assert np.array_equal(found, sides([on(10)], 14000, **plain(name, clip=keys)))


def test_an_octave_down_a_morph_is_read_twice_as_slowly(sides):
    whole = sides([on()], 6000, **joined("stereo", "late", 0.5))
    lower = joined("stereo", "late", 0.5)
    lower["keys"][0]["pitch_semitones"] = -12
    assert near(sides([on()], 12000, **lower)[:, ::2], whole)


def test_a_choke_cuts_a_morph(sides):
    kit = joined("long", "late", 0.5)["keys"] + [{"key": 37, "recording": "stereo"}]
    kit = [entry | {"choke": "hats"} for entry in kit]
    found = sides([on(0, 36), on(2000, 37)], 12000, keys=kit, morph={"position": 0.5})
    alone = sides([on(2000, 37)], 12000, keys=kit, morph={"position": 0.5})
    assert np.abs(found[:, :2000]).max() > 0.01
    assert near(found[:, 2200:], alone[:, 2200:])


EVENTS = [
    on(100),
    ControlChange(900, 0, 1, 40),
    on(5000),
    ControlChange(9000, 0, 1, 127),
    ControlChange(9001, 0, 20, 90),
    on(14000),
    NoteOff(15000, 0, 36),
]


@pytest.mark.parametrize("trigger", ["one-shot", "gated"])
def test_blocks_of_any_size_give_the_same_samples(sides, trigger):
    keys = joined("long", "late", cc=[WHEEL], clip={"trigger": trigger})
    expected = sides(EVENTS, 24000, **keys)
    assert np.array_equal(sides(EVENTS, 24000, size=97, **keys), expected)


def test_live_is_as_rendered_to_the_bit(sides):
    keys = joined("long", "late", cc=[WHEEL])
    expected = sides(EVENTS, 24000, **keys)
    assert np.array_equal(sides(EVENTS, 24000, size=250, live=True, **keys), expected)


def test_beside_the_playing_a_morph_has_rooms_of_its_own_length(model):
    decoder = SingleClipDecoder(model)
    recording = RecordingMorph(0, 1, 0.5)
    channel_count, length = decoder.shape(recording)
    assert (channel_count, length % HOP) == (2, 0)
    worker = ClipDecodeWorker(decoder, length, 2)
    until(worker._server._is_ready)
    code = np.array([0.7, 0.0], np.float32)
    found, expected = worker.clip(0, code, recording), decoder.clip(0, code, recording)
    assert not worker._free_rooms
    for side, other in zip(found.sides, expected.sides, strict=True):
        assert np.array_equal(side.samples, other.samples)


def test_a_gated_morph_follows_its_wheel_without_steps(sides):
    """Between two tones no crossfade clicks: see the events of the wheel."""
    keys = joined("long", "long", cc=[WHEEL], clip={"trigger": "gated"})
    still = sides([on()], 9000, **keys)
    moving = [ControlChange(500 + 40 * number, 0, 1, number) for number in range(128)]
    assert near(sides([on(), *moving], 9000, **keys), still, 2e-3)


# ---- presets


def test_a_morph_of_recordings_leaves_latents_where_they_are(patch):
    made = patch(**joined("stereo", "late", 1.0, latent={"values": [0.3, -3.0]}))
    assert made.morph.end is None
    assert not modulations(made)
    instrument = ChannelInstrument(made, RATE)
    assert instrument.current_latents() == pytest.approx([0.3, -3.0])  # outside the range, as without a morph
    assert dataclasses.replace(made).digest == made.digest != patch(**joined("stereo", "long", 1.0)).digest


def test_a_motion_moves_it(sides):
    motion = [{"target": "morph", "low": 0.0, "high": 1.0, "rate_hz": 0.5, "shape": "square", "phase": 0.25}]
    found = sides([on(100)], 14000, **joined("long", "stereo", motion=motion))
    assert np.array_equal(found, sides([on(100)], 14000, **plain("stereo")))


HEAD = 'format = 1\nmodel = "m"\n'
KEY = '[[keys]]\nkey = 36\nrecording = "stereo"\nmorph_to = "late"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (KEY, "morph_to needs a [morph], which has the position; add one with position = 0.0"),
        ("[morph]\nposition = 0.5\n", "(one number a latent), or a morph_to in [[keys]]"),
        (KEY + "[morph]\nvalues = [0.0, 0.0]\n", "morph_to leads this key to a recording, and [morph] all keys"),
        (KEY + "[morph]\nto = 'gm-keys'\n", "morph_to leads this key to a recording, and [morph] all keys"),
        (KEY + "[morph]\nshape = 'linear'\n", "morph.shape is the way of codes; remove it"),
        (KEY.replace('recording = "stereo"', "code = [0.0, 0.0]") + "[morph]\n", "key 36 has morph_to, which leads"),
    ],
)
def test_a_preset_whose_morph_cannot_be_is_told_in_a_line_with_its_place(tmp_path, text, words):
    path = tmp_path / "p.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_preset(path)
    assert len(caught.value.args) == 1
    assert words in caught.value.args[0]
    assert ", line " in caught.value.args[0]


def test_an_unknown_recording_is_told_with_the_nearest(patch):
    with pytest.raises(UserError) as caught:
        ChannelInstrument(patch(**joined("stereo", "lat")), RATE)
    assert "[[keys]] 1: morph_to 'lat' is not in model 'clips'; did you mean 'late'?" in str(caught.value)


def test_a_preset_of_such_a_kit_reads_back_as_it_was_written(tmp_path, model):
    path = tmp_path / "p.toml"
    path.write_text(f'format = 1\nmodel = "{model.path}"\n{KEY}[morph]\n[[cc]]\nnumber = 1\ntarget = "morph"\n')
    opened = open_patch(str(path))
    assert opened.preset.cc[-1].ends == (0.0, 1.0)
    (tmp_path / "again.toml").write_text(read_preset(path).to_toml())
    assert read_preset(tmp_path / "again.toml") == read_preset(path)
