"""A sound that goes through a model keeps its pitch, octave included; heard by YIN, not as the host hears."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from onnx import helper
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.engines.spectrum.harmonic_shift import LOBE, HarmonicShift, moved_down, octaves_above
from timbrel.host.engines.spectrum.partial_analysis import fundamentals
from timbrel.host.engines.spectrum.phase_retrieval import CausalPhase
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.process import with_options
from timbrel.host.resynthesis.processor import EffectRack, Processor
from timbrel.host.signal import window
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.pitch import pitch_track

from ..cover import cover

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
PHASES = ["original", "own"]
RATE, LENGTH = 44_100, 4096


@pytest.fixture(scope="module")
def keys():
    """A function that opens the shipped model, with options of `process`."""

    def opened(**options):
        return with_options(open_patch("gm-chroma-8"), [], [], options)

    return opened


def test_a_process_without_a_way_leads_nowhere_beside_a_preset_in_the_working_folder(keys, tmp_path, monkeypatch):
    (tmp_path / "preset.toml").write_text('format = 1\nmodel = "gm-chroma-8"\n')
    monkeypatch.chdir(tmp_path)
    assert keys().preset.process.to is None


def through(processor, sound, events=()):
    """A sound as it comes out, its latency taken off."""
    late = processor.latency_samples
    return processor.process(list(events), np.pad(sound, (0, late))[np.newaxis])[0, late:]


def tone(note, seconds=0.7, rate=RATE, fall=0.8, partials=30):
    """A harmonic tone, partials falling off, none above 0.45 of the rate."""
    time, hz = np.arange(round(seconds * rate)) / rate, midi_to_hz(note)
    kept = [k for k in range(1, partials + 1) if k * hz < 0.45 * rate]
    wave = sum(fall**k * np.sin(2 * np.pi * k * hz * time + 2.0 * k * k) for k in kept)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def notes_of(sound, rate):
    """MIDI notes every 23 ms, NaN where it is silent or nothing repeats: by YIN, and not as the host finds them."""
    return pitch_track(scipy.signal.resample_poly(sound, RATE // 100, rate // 100).astype(np.float32), RATE)


def cents_away(before, after, rate):
    """How far the pitch moved, in cents, wherever both have one."""
    was, now = notes_of(before, rate), notes_of(after[: len(before)], rate)
    both = np.isfinite(was) & np.isfinite(now)
    return 100 * (now - was)[both], both.sum() / max(1, np.isfinite(was).sum())


@pytest.mark.parametrize(
    ("note", "phase"), cover(13, [36, 41.3, 47, 52.7, 58, 60, 63.4, 69, 74.6, 80, 85.2, 91, 96], PHASES)
)
def test_a_tone_of_any_of_five_octaves_keeps_its_pitch_within_five_cents(keys, note, phase):
    given = through(Processor(keys(phase=phase), RATE), tone(note))
    middle = given[RATE // 5 : -RATE // 5]
    assert np.nanmedian(notes_of(middle, RATE)) == pytest.approx(note, abs=0.05)
    level = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 18))
    bin_hz = RATE / (1 << 18)
    near = slice(int(midi_to_hz(note - 0.5) / bin_hz), int(midi_to_hz(note + 0.5) / bin_hz) + 1)
    peak = near.start + level[near].argmax()
    assert 1200 * np.log2(peak * bin_hz / midi_to_hz(note)) == pytest.approx(0, abs=5)  # its first partial itself
    assert level[peak] > 0.02 * level.max()


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_what_is_heard_live_keeps_its_pitch_too(keys, rate):
    class Ear:
        heard = np.zeros((1, 0), np.float32)

    ear, sound = Ear(), tone(40.5, rate=rate)
    insert, blocks = EffectRack(keys(), rate, ear), []
    for start in range(0, len(sound) - 127, 128):
        ear.heard = sound[np.newaxis, start : start + 128]
        blocks.append(insert.process([], 128)[0][0])
    assert np.nanmedian(notes_of(np.concatenate(blocks)[rate // 3 :], rate)) == pytest.approx(40.5, abs=0.05)


@pytest.mark.parametrize("key", [38, 55, 79])
def test_a_key_sounds_in_its_own_octave_whatever_is_heard(keys, key):
    events = [NoteOn(0, 0, key, 100), NoteOff(10 * RATE, 0, key)]
    given = through(Processor(keys(phase="own"), RATE), tone(64), events)
    assert np.nanmedian(notes_of(given[RATE // 5 : -RATE // 5], RATE)) == pytest.approx(key, abs=0.05)


def test_a_key_has_the_pitch_that_the_preset_tunes_it_to(make_patch, keys):
    patch = make_patch(keys().model, tuning={"a4_hz": 415.0}, process={"phase": "own"})
    given = through(Processor(patch, RATE), tone(64), [NoteOn(0, 0, 69, 100)])
    baroque = 69 + 12 * np.log2(415 / 440)
    assert np.nanmedian(notes_of(given[RATE // 5 : -RATE // 5], RATE)) == pytest.approx(baroque, abs=0.05)


ORCHESTRA = [
    "trombone_E2_1_pianissimo",
    "trombone_As2_1_mezzo-forte",
    "trombone_C3_15_mezzo-forte",
    "clarinet_Fs3_15_fortissimo",
    "trombone_Gs3_1_forte",
    "flute_F4_15_mezzo-piano",
    "trombone_Cs4_1_mezzo-forte",
    "clarinet_Ds5_1_forte",
    "flute_C5_15_piano",
    "flute_B5_1_mezzo-piano",
    "clarinet_C6_1_pianissimo",
    "flute_D7_15_forte",
]


@pytest.mark.parametrize(("name", "phase"), cover(12, ORCHESTRA, PHASES))
def test_a_players_note_keeps_its_fundamental_within_five_cents(keys, name, phase):
    path = DATA / "orchestra" / f"{name}_normal.flac"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    sound, rate = read_sound(path)
    away, kept = cents_away(sound[0], through(Processor(keys(phase=phase), rate), sound[0]), rate)
    assert abs(np.median(away)) < 5
    assert np.mean(np.abs(away) < 600) > 0.7  # beside noise YIN takes two or three periods for one now and then
    assert kept > 0.8


@pytest.mark.parametrize(("phase", "spread"), [("original", 8), ("own", 12)])
def test_voices_keep_their_fundamental_within_five_cents(keys, phase, spread):
    """Of all that six speakers say together: speech glides on, so that one moment is heard to some cents only."""
    paths = sorted((DATA / "fsdd").glob("[0-3]_*_10.flac"))
    if not paths:
        pytest.skip("no voices are here")
    every, heard = [], []
    for path in paths:
        sound, rate = read_sound(path)
        away, kept = cents_away(sound[0], through(Processor(keys(phase=phase), rate), sound[0]), rate)
        every.append(away)
        heard.append(kept)
    away = np.concatenate(every)
    assert len(away) > 200
    assert abs(np.median(away)) < 5
    assert np.median(np.abs(away)) < spread
    assert np.mean(np.abs(away) < 600) > 0.92
    assert np.mean(heard) > 0.7


def test_through_a_model_of_another_window_keys_choose_what_is_decoded(
    analytic, save_encoder, make_patch, monkeypatch, tmp_path
):
    made = analytic()
    path = made.save(tmp_path / "model.onnx", made.card(window="blackman"))
    nodes = [helper.make_node("MatMul", ["audio", "nothing"], ["latent"])]
    save_encoder(path, nodes, {"audio": 1024}, 2, {"nothing": np.zeros((1024, 2))})
    model, told = Model(path), []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda codes, chroma: told.extend(chroma.tolist()) or decode(codes, chroma))
    given = through(Processor(make_patch(model), 22_050), tone(64, rate=22_050), [NoteOn(8000, 0, 43, 100)])
    assert [key for key, _ in itertools.groupby(told[4:])] == [4, 7]
    assert np.abs(given).max() > 0.01


@pytest.fixture(scope="module")
def card(keys):
    """The shipped model's card, as if it sounded where it was told to, in octave 4."""
    card = keys().model.card
    return card.model_copy(update={"chroma": card.chroma.model_copy(update={"octave": 4, "folded": False})})


def comb(note, envelope):
    """A frame of harmonics in closed form, [bins], under an envelope over Hz."""
    bins, hz = np.arange(LENGTH // 2 + 1), midi_to_hz(note)
    frame = np.zeros(len(bins))
    for order in range(1, int(0.5 * RATE / hz)):
        away = bins - order * hz * LENGTH / RATE
        lobe = np.where(np.abs(away) < 2, np.sinc(away) + (np.sinc(away - 1) + np.sinc(away + 1)) / 2, 0)
        frame += envelope(order * hz) * lobe
    return frame.astype(np.float32)


def vowel(hz):
    """Two formants, that fall off towards high frequencies."""
    formants = np.exp(-np.square((hz - 700) / 500)) + 0.5 * np.exp(-np.square((hz - 2600) / 900))
    return (0.02 + formants) * np.exp(-hz / 9000)


@pytest.mark.parametrize("pitch", [38.2, 45, 52.4, 57, 64.3, 69, 76.5, 81])
def test_harmonics_move_and_formants_stay(card, pitch):
    decoded = 60 + int(np.floor(pitch + 0.5)) % 12
    moved = HarmonicShift(card).apply(comb(decoded, vowel)[np.newaxis], np.array([pitch]))[0][0]
    first = midi_to_hz(pitch) * LENGTH / RATE
    harmonics = np.arange(1, int(6000 / midi_to_hz(pitch)))
    found = np.array([moved[round(k * first) + np.arange(-1, 2)].max() for k in harmonics])
    between = np.array([moved[round((k + 0.5) * first)] for k in harmonics])
    wanted = vowel(harmonics * midi_to_hz(pitch))
    inside = harmonics * midi_to_hz(pitch) >= midi_to_hz(decoded)  # below, nothing was decoded
    ratio = found[inside] / wanted[inside]
    assert np.abs(20 * np.log10(ratio / np.median(ratio))).max() < 4
    if first > 6:  # lobes stand apart
        assert np.median(between / found) < 0.2


@pytest.mark.parametrize(("pitch", "octaves"), [(64.3, 0), (76.5, 1), (90, 2), (100.2, 3)])
def test_what_was_encoded_octaves_lower_takes_its_harmonics_by_their_numbers(card, pitch, octaves):
    """The encoder heard a sound in another octave, and what is decoded lies there, formants and all."""
    decoded = 60 + int(np.floor(pitch + 0.5)) % 12
    frames = comb(decoded, vowel)[np.newaxis]
    moved = HarmonicShift(card).apply(frames, np.array([pitch]), np.array([octaves]))[0][0]
    first = midi_to_hz(pitch) * LENGTH / RATE
    harmonics = np.arange(1, int((LENGTH // 2 - 4) / first))
    found = np.array([moved[round(k * first) + np.arange(-1, 2)].max() for k in harmonics])
    ratio = found / vowel(harmonics * midi_to_hz(decoded))
    assert np.abs(20 * np.log10(ratio / np.median(ratio))).max() < 4


@pytest.mark.parametrize(("pitch", "octaves"), [(30.0, 0), (71.49, 0), (71.51, 1), (72.0, 1), (90.0, 2), (np.nan, 0)])
def test_sounds_above_the_octave_of_training_are_moved_down_by_whole_octaves(card, pitch, octaves):
    folded = card.model_copy(update={"chroma": card.chroma.model_copy(update={"folded": True})})
    assert octaves_above(np.array([pitch]), folded) == octaves
    assert octaves_above(np.array([pitch]), card) == 0


@pytest.mark.parametrize("octaves", [1, 2])
def test_a_frame_that_is_moved_down_is_that_of_the_sound_played_slower(octaves):
    rng, times = np.random.default_rng(5), np.arange(LENGTH)
    hertz, phases = rng.uniform(200, RATE / 2.2, 9), rng.uniform(0, 6, 9)
    middle = LENGTH / 2

    def sound(speed):
        return np.cos(2 * np.pi * np.outer(times - middle, hertz) * speed / RATE + phases).sum(1).astype(np.float32)

    moved = moved_down(np.stack([sound(1.0), sound(1.0)]), np.array([octaves, 0]))
    assert np.array_equal(moved[1], sound(1.0))
    shape = window("hann", LENGTH)
    asked, given = (np.abs(np.fft.rfft(one * shape)) for one in (sound(0.5**octaves), moved[0]))
    assert np.linalg.norm(given - asked) < 0.05 * np.linalg.norm(asked)


def test_a_frame_at_its_own_pitch_is_as_it_was(card):
    frame = comb(64, vowel)
    frame += 0.003 * np.abs(np.random.default_rng(0).standard_normal(len(frame))).astype(np.float32)
    frame /= frame.max()
    moved = HarmonicShift(card).apply(frame[np.newaxis], np.array([64.0]))[0][0]
    assert np.abs(moved - frame).max() < 0.06
    assert np.sqrt(np.mean(np.square(moved - frame))) < 0.05 * np.sqrt(np.mean(np.square(frame)))


def test_frames_without_a_pitch_and_frames_that_hold_nothing_stay_as_they_are(card):
    frames = np.stack([comb(60, vowel), np.zeros(LENGTH // 2 + 1, np.float32)])
    moved, away = HarmonicShift(card).apply(frames, np.array([np.nan, 62.0]))
    assert np.array_equal(moved, frames)
    assert np.isnan(away).all()


@pytest.mark.parametrize("pitch", [38.2, 57, 81])
def test_what_is_told_of_each_bin_is_the_way_to_its_harmonic(card, pitch):
    decoded = 60 + int(np.floor(pitch + 0.5)) % 12
    _, away = HarmonicShift(card).apply(comb(decoded, vowel)[np.newaxis], np.array([pitch]))
    first, bins = midi_to_hz(pitch) * LENGTH / RATE, np.arange(LENGTH // 2 + 1)
    known = np.isfinite(away[0])
    order = (bins + away[0])[known] / first
    assert np.abs(order - np.rint(order)).max() < 1e-9
    assert order.min() == pytest.approx(1)
    assert np.array_equal(known, np.abs(bins - np.maximum(np.rint(bins / first), 1) * first) < LOBE)


def spectra_of(sound):
    """Of frames of a Hann window, 256 samples apart."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, LENGTH)[::256]
    return np.abs(np.fft.rfft(frames * window("hann", LENGTH))).astype(np.float32)


@pytest.mark.parametrize("rate", [22_050, RATE, 96_000])
@pytest.mark.parametrize("note", np.arange(38, 100, 4.3))
def test_a_frames_pitch_is_found_within_a_cent(rate, note):
    if midi_to_hz(note) > 5 * rate / LENGTH:  # harmonics stand apart
        found = fundamentals(spectra_of(tone(note, 2 * LENGTH / rate, rate)), rate)
        assert found == pytest.approx(np.full(len(found), note), abs=0.02)


def test_a_tone_without_its_fundamental_has_the_pitch_of_its_period():
    time = np.arange(2 * LENGTH) / RATE
    sound = sum(np.sin(2 * np.pi * 110 * k * time + k * k) for k in (2, 3, 4, 5, 6))
    assert fundamentals(spectra_of(sound), RATE) == pytest.approx(45, abs=0.02)


def test_noise_and_silence_have_no_pitch():
    noise = 0.1 * np.random.default_rng(1).standard_normal(8 * LENGTH).astype(np.float32)
    assert np.isnan(fundamentals(spectra_of(noise), RATE)).all()
    assert np.isnan(fundamentals(np.zeros((3, LENGTH // 2 + 1), np.float32), RATE)).all()


def test_phases_of_frequencies_that_are_known_go_on_by_these():
    """A lobe between two bins, whose slope alone tells its place to some cents only."""
    hop, frames, place = 1024, 12, 29.49
    lobe = np.zeros((frames, LENGTH // 2 + 1), np.float32)
    bins = np.arange(lobe.shape[1])
    away = place - bins
    near = np.abs(away) < 2
    lobe[:, near] = (np.sinc(away) + (np.sinc(away - 1) + np.sinc(away + 1)) / 2)[near]
    phases = CausalPhase(LENGTH, hop)
    states = [phases.start_state()] * frames
    spectra = phases.apply(lobe, states, np.tile(np.where(near, away, np.nan), (frames, 1)))
    steps = np.angle(spectra[1:, 29] / spectra[:-1, 29])
    wanted = 2 * np.pi * hop / LENGTH * place
    assert np.abs(np.angle(np.exp(1j * (steps - wanted)))).max() < 1e-3
