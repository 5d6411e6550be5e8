"""Keys play the recordings of a model's file: as they are at their codes, and elsewhere as its decoder changes."""

import itertools
import json
import re

import numpy as np
import pytest
from scipy.signal import periodogram
from timbrel.export.parity import update_reference
from timbrel.export.recordings import with_path_levels
from timbrel.host.audio.sound_files import flac_bytes
from timbrel.host.engines.clip.clip_cache import ClipDecodeWorker, SingleClipDecoder
from timbrel.host.engines.clip.engine import FADE_SECONDS
from timbrel.host.engines.clip.recorded import FAR, MOST_RATIO_DB, NEAR, RecordedClips
from timbrel.host.engines.clip.recorded_path import band_levels_db
from timbrel.host.engines.clip.synthesis import sound_of
from timbrel.host.engines.engine import recordings_off
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOn, ParameterChange
from timbrel.host.model.model import Model, ParityResult
from timbrel.host.model.recordings import MOST_SECONDS
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import fitted
from timbrel.host.spectra import mel_edges_hz
from timbrel.host.units import db_to_gain

from ....patience import until
from ...clips import (
    BINS,
    FRAME_LENGTH,
    HOP,
    LOUDER,
    RATE,
    SHARP,
    SPECTRA,
    TILT,
    TRANSFORM,
    in_16_bit,
    noise,
    recorded,
    save_clips,
    save_recorded,
)

SIDE, FADE = np.float32(np.sqrt(0.5)), round(FADE_SECONDS * RATE)
STEREO, MONO, LONG = recorded(1, 2), recorded(2), recorded(3, 2, 9001)
SOUNDS = {"stereo": STEREO, "mono": MONO, "long": LONG}
CODES = [[0.5, 0.0], [-0.25, 0.5], [0.0, -0.5]]
GAINS_DB = [0.0, -6.0, 0.0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(save_recorded(tmp_path_factory.mktemp("clips") / "m.onnx", SOUNDS, CODES, GAINS_DB))


@pytest.fixture
def patch(model, tmp_path):
    def make(of=model, **keys):
        fields = {"format": 1, "model": "m", "envelope": SHARP, "knobs": [20, 21], **keys}
        return Patch("clips", fitted(Preset.model_validate(fields), of.card, tmp_path), of, tmp_path)

    return make


@pytest.fixture
def sides(patch):
    """Return a function that renders events, [2, count], without the gain of voices."""

    def play(events, count, size=1 << 14, live=False, **keys):
        instrument = ChannelInstrument(patch(**keys), RATE, live=live)
        starts = range(0, count, size)
        blocks = [
            instrument.process([e for e in events if at <= e.time < at + size], min(size, count - at)) for at in starts
        ]
        return np.concatenate([block.copy() for block in blocks], axis=1) / SIDE

    return play


def kit(*names):
    return [{"key": 36 + number, "recording": name} for number, name in enumerate(names)]


def on(time=0, key=36):
    return NoteOn(time, 0, key, 127)


def near(found, expected, within=2e-6):
    return np.allclose(found, expected, atol=within)


# ---- at rest


def test_at_its_code_a_recording_is_as_it_is_and_nothing_is_decoded(model):
    clips = RecordedClips(model)
    for index, sides in ((0, STEREO), (2, LONG)):
        found = clips.bent(index, np.array(CODES[index], np.float32), lambda code: pytest.fail("decoded"))
        assert np.array_equal(found[:, : sides.shape[1]], sides)
        assert not found[:, sides.shape[1] :].any()


def test_a_key_plays_its_recording_on_both_sides_and_to_its_end(sides):
    found = sides([on(100, 36), on(20000, 37), on(40000, 38)], 60000, keys=kit("stereo", "mono", "long"))
    assert near(found[:, 100:3100], STEREO)
    assert near(found[:, 20000:23000], np.repeat(MONO, 2, axis=0) * np.float32(db_to_gain(-6)))
    assert near(found[:, 40000:49001], LONG)
    for start, end in ((0, 100), (3100, 20000), (23000, 40000), (49001, 60000)):
        assert not np.abs(found[:, start:end]).max() > 1e-9


def test_blocks_of_any_size_give_the_same_samples(sides):
    events = [on(100, 36), on(130, 38), on(2000, 37)]
    expected = sides(events, 12000, keys=kit("stereo", "mono", "long"))
    assert np.array_equal(sides(events, 12000, size=97, keys=kit("stereo", "mono", "long")), expected)


def test_start_and_direction_choose_a_part_of_both_sides(sides):
    for name, recording in (("long", LONG), ("stereo", STEREO)):
        length = recording.shape[1]
        found = sides([on(0)], 12000, keys=kit(name), clip={"reverse": True})
        assert near(found[:, : length - FADE], recording[:, FADE:][:, ::-1])
        begun = sides([on(0)], 12000, keys=kit(name), clip={"start": 0.5})
        assert near(begun[:, : length // 2 - FADE], recording[:, length // 2 :][:, : length // 2 - FADE])
        assert not begun[:, length // 2 + 1 :].any()


def test_an_octave_down_each_side_is_read_twice_as_slowly(sides):
    found = sides([on()], 6000, keys=[kit("stereo")[0] | {"pitch_semitones": -12}])
    assert near(found[:, :6000:2], STEREO)


def test_a_kit_of_mono_recordings_has_one_channel(patch):
    for names, channels in ((("mono",), 1), (("mono", "stereo"), 2)):
        instrument = ChannelInstrument(patch(keys=kit(*names)), RATE)
        assert instrument._synthesis._engine.channels == channels


def test_a_loop_of_a_stereo_recording_returns_on_both_sides(sides):
    found = sides([on()], 30000, keys=kit("long"), clip={"loop": True, "crossfade_seconds": 0.0})
    assert near(found[:, 9001 : 2 * 9001], LONG)


# ---- elsewhere


def moved(model, name, code):
    index = list(SOUNDS).index(name)
    return np.stack(
        [side.samples for side in SingleClipDecoder(model).clip(0, np.array(code, np.float32), index).sides]
    )


def test_magnitudes_and_levels_change_as_the_decoders_do(model):
    """Noise has the tilt of its spectrum changed, on both sides alike."""
    found = moved(model, "long", [1.5, -0.5])  # latent 0 from 0 to 1.5
    assert found.shape == (2, 71 * HOP)
    for side, before in zip(found, LONG, strict=True):
        powers = [band_powers(sound[:8192]) for sound in (side, before)]
        expected_db = 20 * np.log10(1 + 1.5 * np.interp(BAND_MIDDLES, np.linspace(0, 1, BINS), TILT))
        assert np.ptp(10 * np.log10(powers[0] / powers[1]) - expected_db) < 1.0


BAND_MIDDLES = (np.arange(8) + 0.5) / 8  # of half the rate


def band_powers(sound):
    """Return the powers of eight bands of equal width."""
    return np.square(np.abs(np.fft.rfft(sound)))[:-1].reshape(8, -1).sum(1)


def test_beyond_the_networks_clip_its_last_ratio_holds(model):
    """The upper half of its last spectrum rises by 12 dB."""
    clips, plain = RecordedClips(model), np.ones(model.card.frame_width, np.float32)
    clips._own_frames.get(2, lambda index: plain)
    brighter = plain.copy()
    brighter[SPECTRA * BINS - BINS // 2 : SPECTRA * BINS] = 4.0
    found = clips.bent(2, np.array([0.0, -0.4], np.float32), lambda code: brighter)
    for start, rise_db in ((0, 0.0), (FRAME_LENGTH + TRANSFORM, 12.04)):
        halves = [band_powers(sound[0, start : start + 2048]).reshape(2, -1).sum(1) for sound in (found, LONG)]
        (low, high), (low_before, high_before) = halves
        assert 10 * np.log10(high / low * low_before / high_before) == pytest.approx(rise_db, abs=0.5)


def test_loudness_changes_by_the_ratio_of_levels(model):
    found = moved(model, "long", [0.0, 0.5])
    ratio = (0.1 + 0.5 * LOUDER) / (0.1 - 0.5 * LOUDER)
    assert np.sqrt(np.square(found).mean() / np.square(LONG).mean() * found.shape[1] / 9001) == pytest.approx(
        ratio, rel=0.02
    )


def test_a_step_of_a_knob_is_a_small_change(model):
    own = np.pad(LONG, ((0, 0), (0, 71 * HOP - 9001)))
    for distance in (1e-4, 1e-2):
        change = moved(model, "long", [distance, -0.5]) - own
        assert 0 < np.abs(change).max() < distance


def test_far_from_every_recording_the_decoder_plays_alone(model):
    def own(code):
        return sound_of(model.card)(model.decode(np.array([code], np.float32), np.zeros(1, np.intp)))[0]

    code = [0.5 + FAR + 0.1, 0.0]
    found = moved(model, "stereo", code)
    assert near(found, np.tile(own(code), (2, 1)), 1e-6)
    between = [0.5 + (NEAR + FAR) / 2, 0.0]
    both = moved(model, "stereo", between)
    nearer = moved(model, "stereo", [0.5 + NEAR, 0.0])
    assert not near(both, np.tile(own(between), (2, 1)), 1e-3)
    assert np.abs(both - (nearer + own(between)) * np.float32(np.sqrt(0.5))).max() < 0.1 * np.abs(both).max()


def test_a_decoder_that_is_silent_at_either_code_gives_finite_sound(model):
    clips, silent, loud = (
        RecordedClips(model),
        *(np.full(model.card.frame_width, level, np.float32) for level in (0, 1)),
    )
    for own_frame, frame in ((silent, loud), (loud, silent), (silent, silent)):
        clips._own_frames = type(clips._own_frames)()
        clips._own_frames.get(2, lambda index, own=own_frame: own)
        with np.errstate(all="raise"):
            found = clips.bent(2, np.array([0.0, -0.4], np.float32), lambda code, moved=frame: moved)
        assert np.isfinite(found).all()


def test_what_the_decoder_adds_behind_a_recording_is_heard(tmp_path, sides):
    far = Model(save_recorded(tmp_path / "m.onnx", {"mono": MONO}, [[-1.0, -1.0]]))
    changes = [ParameterChange(0, 0, f"latent.{number}", 2.0) for number in range(2)]
    found = sides([*changes, on(4000)], 10000, of=far, keys=kit("mono"))
    assert np.abs(found[:, 4000 + 3100 : 4000 + FRAME_LENGTH]).max() > 1e-3
    assert not found[:, 4000 + FRAME_LENGTH + 2000 :].any()


def test_ratios_are_limited(model, monkeypatch):
    clips = RecordedClips(model)
    frames = {
        0.0: np.full(model.card.frame_width, 1.0, np.float32),
        1.0: np.full(model.card.frame_width, 1e3, np.float32),
    }
    frames[1.0][0] = 1.0
    quiet = np.full(model.card.frame_width, 1.0, np.float32)
    quiet[0] = 1e3
    clips._own_frames.get(2, lambda index: quiet)
    found = clips.bent(2, np.array([0.0, -0.4], np.float32), lambda code: frames[1.0])
    rise_db = 20 * np.log10(np.abs(found).max() / np.abs(LONG).max())
    assert rise_db < 2 * MOST_RATIO_DB


def test_a_knob_moves_a_key_from_its_recording(sides):
    changes = [ParameterChange(0, 0, "latent.0", 0.8)]
    found = sides([*changes, on(4000)], 16000, keys=kit("long"))[:, 4000:13001]
    assert not near(found, LONG, 1e-3)
    back = [ParameterChange(0, 0, "latent.0", 0.8), ParameterChange(3000, 0, "latent.0", 0.0), on(8000)]
    assert near(sides(back, 20000, keys=kit("long"))[:, 8000:17001], LONG)


# ---- live


def test_beside_the_playing_each_side_has_a_room_of_its_own(model):
    decoder = SingleClipDecoder(model)
    worker = ClipDecodeWorker(decoder, 71 * HOP, 3)
    until(worker._server._is_ready)
    code = np.array([0.7, 0.0], np.float32)
    expected = decoder.clip(0, code, 0)
    found = worker.clip(0, code, 0)
    assert len(worker._free_rooms) == 1
    for side, other in zip(found.sides, expected.sides, strict=True):
        assert np.array_equal(side.samples, other.samples)
    crowded = worker.clip(0, code, 2)  # a room is missing: this process decodes
    assert len(worker._free_rooms) == 1
    assert np.array_equal(crowded.right.samples, decoder.clip(0, code, 2).right.samples)
    del found, side
    assert len(worker._free_rooms) == 3


# ---- layers and takes


@pytest.fixture
def layered(tmp_path):
    sounds = {name: recorded(number) for number, name in enumerate(("soft", "loud 1", "loud 2", "loud 3", "other"))}
    rows = [{"sound": "snare", "velocity": velocity} for velocity in (40, 100, 100, 100)] + [{}]
    codes = [[number / 10, 0.0] for number in range(5)]
    return sounds, Model(save_recorded(tmp_path / "m.onnx", sounds, codes, rows=rows))


def heard(found, sounds, start, velocity):
    """The name of the recording that begins at ``start``."""
    side = found[0, start : start + 3000] / (velocity / 127) ** 2
    return next((name for name, sides in sounds.items() if near(side, sides[0], 1e-5)), None)


def test_the_layer_nearest_in_velocity_plays_and_its_takes_by_turns(layered, sides):
    sounds, model = layered
    velocities = [100, 127, 30, 90, 127, 60, 71, 69]
    events = [NoteOn(4000 * number, 0, 36, velocity) for number, velocity in enumerate(velocities)]
    found = sides(events, 32000, of=model, keys=[{"key": 36, "label": "snare"}])
    names = [heard(found, sounds, 4000 * number, velocity) for number, velocity in enumerate(velocities)]
    loud = ["loud 1", "loud 2", "loud 3"]
    assert [names[2], names[5], names[7]] == ["soft"] * 3
    assert [name for name in names if name != "soft"] == [*loud, *loud][:5]


def test_a_recording_by_name_is_one_of_them(layered, sides):
    sounds, model = layered
    found = sides([on(0), on(4000)], 8000, of=model, keys=[{"key": 36, "recording": "loud 2"}])
    assert [heard(found, sounds, start, 127) for start in (0, 4000)] == ["loud 2", "loud 2"]


# ---- presets


def test_a_label_stands_for_the_medoid_of_its_recordings(tmp_path, patch, sides):
    sounds = {f"take {number}": recorded(number) for number in range(3)}
    codes = [[0.0, 0.0], [0.5, 0.5], [1.9, 1.9]]
    labelled = Model(save_recorded(tmp_path / "l.onnx", sounds, codes, labels=("tom", "tom", "tom")))
    for label, name in (("tom", "take 1"), ("take 2", "take 2")):
        found = sides([on()], 4000, of=labelled, keys=[{"key": 36, "label": label}])
        assert near(found[:, :3000], np.repeat(sounds[name], 2, axis=0))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"recording": "stero"}, "did you mean 'stereo'?"),
        ({"recording": "stereo", "code": [0.0, 0.0]}, "has its own code and label"),
        ({"recording": "stereo", "label": "one"}, "has its own code and label"),
        ({}, "give it a recording, a code or a label"),
    ],
)
def test_a_key_that_cannot_be_is_told(patch, entry, words):
    with pytest.raises((UserError, ValueError)) as caught:
        ChannelInstrument(patch(keys=[{"key": 36} | entry]), RATE)
    assert words in str(caught.value)


# ---- files


def test_verify_decodes_every_recording(model):
    assert model.verify().passed


@pytest.fixture
def exact_frames(monkeypatch):
    """The decoder passes: only recordings decide."""
    monkeypatch.setattr(Model, "verify", lambda self: ParityResult(0.0, 1.0, 1, 1))


@pytest.mark.usefixtures("exact_frames")
def test_verify_plays_every_recording_at_rest_and_on_one_path_of_codes(model, monkeypatch, timbrel):
    told = timbrel("verify", model.path)
    assert (told.status, told.out.splitlines()[1]) == (
        0,
        f"{model.path}: 3 recordings play as recorded at rest, and along a path of codes",
    )
    codes, bent = [], RecordedClips.bent
    monkeypatch.setattr(
        RecordedClips, "bent", lambda self, index, code, decode: codes.append(code) or bent(self, index, code, decode)
    )
    assert recordings_off(model) == []
    once = np.array(codes)
    assert recordings_off(model) == []
    assert np.array_equal(np.array(codes), np.tile(once, (2, 1)))
    for row, own in zip(once.reshape(3, -1, 2), CODES, strict=True):
        assert row[0] == pytest.approx(own)
        assert np.abs(row[1:] - own).max(1).min() > 0.05
        assert np.abs(row - own).max() <= 1
    assert len(np.unique(once, axis=0)) == len(once)


@pytest.mark.usefixtures("exact_frames")
@pytest.mark.parametrize("fault", ["not finite", "silent", "not as recorded"])
def test_a_recording_that_does_not_play_fails_verification(model, monkeypatch, timbrel, fault):
    bent = RecordedClips.bent

    def faulty(self, index, code, decode):
        sound, is_rest = bent(self, index, code, decode), np.array_equal(code, np.array(CODES[index], np.float32))
        if index == 1 and is_rest == (fault == "not as recorded"):
            return sound * np.float32({"not finite": np.inf, "silent": 0.0, "not as recorded": 0.999}[fault])
        return sound

    monkeypatch.setattr(RecordedClips, "bent", faulty)
    with np.errstate(invalid="ignore"):
        told = timbrel("verify", model.path)
    assert told.status == 1
    assert "1 of 3 recordings do not play as recorded at rest, and along a path of codes: mono; export" in told.out


# ---- a path's reference


def plain_levels(sound, edges_hz):
    """Levels of bands of a sound, [channels, samples], by scipy's periodogram."""
    hz, densities = periodogram(sound.astype(np.float64), RATE, detrend=False)
    powers, edges_hz = densities.mean(0) * hz[1], edges_hz - hz[1] / 2  # an edge belongs to the nearest bin
    bands = [powers[(hz >= low) & (hz < high)].sum() for low, high in itertools.pairwise(edges_hz)]
    return 10 * np.log10(bands)


@pytest.mark.parametrize("sound", [STEREO, LONG, in_16_bit(0.3 * np.sin(np.arange(3000) / 7))[np.newaxis]])
def test_levels_of_bands_are_those_of_a_periodogram_down_to_60_db(sound):
    edges_hz = mel_edges_hz(RATE, 7)  # nine edges
    edges_hz[-1] = RATE
    expected = plain_levels(sound, edges_hz)
    expected = np.maximum(expected, expected.max() - 60)
    assert band_levels_db(sound, RATE) == pytest.approx(expected, abs=0.01)


@pytest.fixture
def proven(tmp_path):
    """A function that writes a model of changed sounds, gains, rest or codes, with the levels of an intact one."""

    def save(name, sounds=SOUNDS, gains=GAINS_DB, codes=CODES, rows=(), **card):
        return Model(save_recorded(tmp_path / f"{name}.onnx", sounds, codes, gains, rows=rows, **card))

    rows = [{"path_levels_db": recording.path_levels_db} for recording in with_path_levels(save("intact"))]
    return lambda name, **changes: save(name, rows=rows, **changes)


def test_the_levels_of_a_card_are_by_another_decoder_than_the_one_that_plays(model, monkeypatch):
    monkeypatch.setattr(Model, "decode", lambda *arguments: pytest.fail("decoded by onnxruntime"))
    for recording in with_path_levels(model):
        assert np.shape(recording.path_levels_db) == (3, 8)


def test_the_tool_for_older_files_adds_levels(tmp_path):
    path = save_recorded(tmp_path / "m.onnx", SOUNDS, CODES, GAINS_DB)
    update_reference(path)
    updated = Model(path)
    assert [recording.path_levels_db for recording in updated.card.recordings] == [
        recording.path_levels_db for recording in with_path_levels(updated)
    ]
    assert recordings_off(updated) == []


@pytest.mark.usefixtures("exact_frames")
def test_verify_says_that_a_path_has_the_levels_of_its_card(proven, timbrel):
    told = timbrel("verify", proven("same").path)
    assert told.status == 0
    assert told.out.splitlines()[1].endswith(
        "3 recordings play as recorded at rest, and along a path of codes, at their card's levels"
    )


@pytest.mark.usefixtures("exact_frames")
@pytest.mark.parametrize(
    ("changes", "faulty"),
    [
        ({"gains": [0.0, -5.8, 0.0]}, "1 of 3 recordings .*: mono"),
        ({"sounds": dict(zip(SOUNDS, [STEREO, recorded(2, 2), LONG], strict=True))}, "1 of 3 recordings .*: mono"),
        ({"sounds": dict(zip(SOUNDS, [LONG, MONO, STEREO], strict=True))}, "2 of 3 recordings .*: stereo, long"),
        ({"codes": [CODES[0], [-0.2, 0.5], CODES[2]]}, "1 of 3 recordings .*: mono"),
        ({"tilt": 0.95}, "3 of 3 recordings .*: stereo, mono, long"),
        ({"louder": 1.3}, "3 of 3 recordings .*: stereo, mono, long"),
    ],
    ids=["gain", "sides", "swapped", "code", "decoder's spectrum", "decoder's level"],
)
def test_a_file_whose_path_has_other_levels_than_its_card_fails(proven, timbrel, changes, faulty):
    damaged = proven("damaged", **changes)
    assert damaged.verify().passed  # all digests are right
    told = timbrel("verify", damaged.path)
    assert told.status == 1
    assert re.search(faulty, told.out)


def test_levels_of_another_number_of_codes_or_bands_are_refused(proven, tmp_path):
    for levels in ([[0.0] * 8] * 2, [[0.0] * 7] * 3):
        with pytest.raises(UserError, match=re.escape("recordings.0.path_levels_db")):
            Model(save_recorded(tmp_path / "m.onnx", {"m": MONO}, [[0.0, 0.0]], rows=[{"path_levels_db": levels}]))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ('{"format": 1, "flac": []}', "are 0, the card's 1"),
        ('{"format": 2, "flac": []}', "newer than this timbrel reads"),
        ("[]", "are not valid"),
    ],
)
def test_metadata_that_do_not_go_with_the_card_are_refused(tmp_path, metadata, words):
    path = save_recorded(tmp_path / "m.onnx", {"mono": MONO}, [[0.0, 0.0]], metadata=metadata)
    with pytest.raises(UserError, match="its recordings") as caught:
        Model(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("flac", "words"),
    [
        ("no base64!", "is not base64"),
        ("AAAA", "is not the one that its card names"),
    ],
)
def test_a_damaged_recording_is_told_before_it_plays(tmp_path, patch, flac, words):
    metadata = json.dumps({"format": 1, "flac": [flac]})
    damaged = Model(save_recorded(tmp_path / "m.onnx", {"mono": MONO}, [[0.0, 0.0]], metadata=metadata))
    for act in (damaged.verify, lambda: ChannelInstrument(patch(of=damaged, keys=kit("mono")), RATE)):
        with pytest.raises(UserError, match="its recording 'mono'") as caught:
            act()
        assert words in str(caught.value)


@pytest.mark.parametrize("fault", ["rate", "channels", "length"])
def test_a_recording_of_another_shape_is_refused(tmp_path, fault, monkeypatch):
    if fault == "rate":
        monkeypatch.setattr("tests.host.clips.flac_bytes", lambda sides, rate: flac_bytes(sides, RATE // 2))
    sound = {
        "rate": MONO,
        "channels": np.repeat(MONO, 3, axis=0),
        "length": np.zeros((1, round(MOST_SECONDS * RATE) + 1)),
    }
    model = Model(save_recorded(tmp_path / "m.onnx", {"mono": in_16_bit(sound[fault])}, [[0.0, 0.0]]))
    with pytest.raises(UserError, match="no FLAC of one or two channels at 16000 Hz"):
        model.verify()


def test_a_card_names_each_recording_once_with_all_its_latents(tmp_path):
    with pytest.raises(UserError, match="'mono' has 3 latents, the model has 2"):
        Model(save_recorded(tmp_path / "m.onnx", {"mono": MONO}, [[0.0, 0.0, 0.0]]))
    names = [{"name": "a", "label": "", "latent": [0.0, 0.0], "gain_db": 0.0, "sha256": ""}] * 2
    with pytest.raises(UserError, match="recordings must have names that differ"):
        Model(save_recorded(tmp_path / "m.onnx", {"mono": MONO}, [[0.0, 0.0]], recordings=names))


def test_a_model_without_spectra_has_no_recordings(tmp_path):
    row = {"name": "a", "label": "", "latent": [0.0, 0.0], "gain_db": 0.0, "sha256": ""}
    with pytest.raises(UserError, match="recordings do not go with kind 'clip' and domain 'samples'"):
        Model(save_clips(tmp_path / "m.onnx", noise(1), recordings=[row]))
