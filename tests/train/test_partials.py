"""Frames of partials and noise, and the network that learns them, against sounds whose parts are known."""

from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.partials.data import PartialsData, PartialsRows, measure_levels, pieces, rows, shifted
from timbrel.train.families.partials.network import Bands, PartialsAutoencoder, magnitudes
from timbrel.train.families.recipes import load_recipe

RATE, LENGTH = 44100, 4096
HEIGHTS_DB = -3.0 * np.arange(20)  # of partials of the test tones


def recipe(*changes):
    return load_recipe("tuned-partials", ["frames.low=36", "frames.high=96", *changes])


FRAMES = recipe().frames


def tone(pitch, noise=0.0, seed=0, heights_db=HEIGHTS_DB):
    """A frame of partials below half the rate with noise of this deviation, [4096], and which partials it has."""
    rng, time = np.random.default_rng(seed), np.arange(LENGTH) / RATE
    hz = midi_to_hz(pitch) * np.arange(1, len(heights_db) + 1)
    there = hz < 20000
    waves = np.cos(2 * np.pi * (np.outer(hz[there], time) + rng.random(there.sum())[:, None]))
    return 10 ** (heights_db[there] / 20) @ waves + noise * rng.standard_normal(LENGTH), there


@pytest.mark.parametrize("pitch", [43, 55.3, 60, 71.8, 84, 95])
def test_harmonics_are_as_high_as_they_were_made_beside_each_other(pitch):
    sound, there = tone(pitch, noise=1e-4)
    [levels] = measure_levels(sound[np.newaxis].astype(np.float32), np.array([pitch]), FRAMES)
    found = levels[: len(there)][there]
    assert found - found[0] == pytest.approx(HEIGHTS_DB[there], abs=0.6)
    power = 1.5 * np.sum(10 ** (found / 10))
    assert power == pytest.approx(1.0, abs=0.03)  # under the frame's own
    assert np.all(levels[len(there) : FRAMES.harmonics] < -70)


@pytest.mark.parametrize("offset", [1.0, -20.0])
def test_an_offset_of_a_recording_is_no_part_of_a_row(offset):
    sound, _ = tone(60, noise=0.003)
    [plain], [shifted_up] = (
        measure_levels((sound + by)[np.newaxis].astype(np.float32), np.array([60]), FRAMES) for by in (0, offset)
    )
    assert shifted_up == pytest.approx(plain, abs=0.1)
    bands = Bands(FRAMES)
    spectra = [np.abs(np.fft.rfft((sound + by) * np.hanning(LENGTH + 1)[:-1])) ** 2 for by in (0, offset)]
    first, second = bands.of_power(torch.from_numpy(np.array(spectra)).float()).numpy()
    assert second == pytest.approx(first, abs=0.1)


@pytest.mark.parametrize("pitch", [55, 72])
def test_noise_between_harmonics_is_as_strong_as_it_was_made(pitch):
    frames = np.stack([tone(pitch, noise=0.05, seed=seed)[0] for seed in range(40)]).astype(np.float32)
    levels = measure_levels(frames, np.full(40, pitch), FRAMES)
    power = np.mean(10 ** (levels[:, FRAMES.harmonics :] / 10), axis=0)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(LENGTH + 1)[:-1])) ** 2
    asked = 0.05**2 * 0.375 * LENGTH / spectra.sum(1).mean()  # of a bin of white noise under a Hann window
    edges = np.array(FRAMES.edges_hz)
    inside = edges[1:] > midi_to_hz(pitch) * 1.5
    inside &= edges[1:] < 18000
    assert 10 * np.log10(power[inside] / asked) == pytest.approx(np.zeros(inside.sum()), abs=4)
    assert np.median(np.abs(10 * np.log10(power[inside] / asked))) < 0.5


@pytest.mark.parametrize("semitones", [-3.0, 1.7])
def test_a_shifted_row_is_that_of_the_sound_played_faster_or_slower(semitones):
    hertz = np.fft.rfftfreq(1 << 17, 1 / RATE)
    hill = np.exp(-((np.log2(np.maximum(hertz, 1.0) / 3000)) ** 2)) * np.random.default_rng(0).standard_normal(
        len(hertz)
    )
    noise = np.fft.irfft(hill * np.exp(2j * np.pi * np.random.default_rng(1).random(len(hertz))))
    noise /= noise.std()
    there = librosa.resample(noise, orig_sr=RATE * 2 ** (semitones / 12), target_sr=RATE)

    def row(sound, pitch):
        frames = sound[: len(sound) // LENGTH * LENGTH].reshape(-1, LENGTH)
        levels = measure_levels(frames.astype(np.float32), np.full(len(frames), pitch), FRAMES)
        return 10 * np.log10(np.mean(10 ** (levels / 10), axis=0))[np.newaxis].astype(np.float32)

    found = shifted(row(noise, 60.0), np.array([semitones]), FRAMES)[0, FRAMES.harmonics :]
    asked = row(there, 60 + semitones)[0, FRAMES.harmonics :]
    loud = asked > asked.max() - 25
    loud[:20] = False  # bands of few bins are uneven
    assert (found - found[loud].max())[loud] == pytest.approx((asked - asked[loud].max())[loud], abs=2.0)


@pytest.mark.parametrize("pitch", [48, 60.4, 79])
def test_bands_of_a_row_are_librosas_of_its_sound(pitch):
    sound, _ = tone(pitch, noise=0.02)
    power = np.abs(np.fft.rfft(sound * np.hanning(LENGTH + 1)[:-1])) ** 2
    mel = librosa.filters.mel(sr=RATE, n_fft=LENGTH, n_mels=64, norm=None)
    asked = 10 * np.log10(mel @ power / power.sum())
    row = torch.from_numpy(measure_levels(sound[np.newaxis].astype(np.float32), np.array([pitch]), FRAMES))
    bands = Bands(FRAMES)
    [found] = bands(magnitudes(row), torch.tensor([float(pitch)])).numpy()
    loud = asked > -40
    assert found[loud] == pytest.approx(asked[loud], abs=2.5)
    [same] = bands.of_power(torch.from_numpy(power[np.newaxis]).float()).numpy()
    assert same == pytest.approx(np.maximum(asked, -80), abs=0.2)
    centroid = float(bands.centroid(magnitudes(row), torch.tensor([float(pitch)])))
    magnitude = np.sqrt(power)
    assert centroid == pytest.approx(magnitude @ np.fft.rfftfreq(LENGTH, 1 / RATE) / magnitude.sum(), rel=0.15)


def test_pairs_are_the_same_sound_and_half_of_each_side_is_shifted():
    rng = np.random.default_rng(0)
    levels = rng.uniform(-60, 0, (400, 205)).astype(np.float32)
    data = PartialsData(
        PartialsRows(levels, np.full(400, 60, np.float32)), PartialsRows(levels[:0], levels[:0, 0]), FRAMES
    )
    first, pitches, second, others = data.batch(np.arange(400), rng)
    for row, at in ((first, pitches), (second, others)):
        stays = (at == 60).numpy()
        assert 0.4 < stays.mean() < 0.6
        assert np.abs(at.numpy() - 60).max() <= 3
        np.testing.assert_array_equal(row[:, :160], levels[:, :160])
        np.testing.assert_allclose(row[stays], levels[stays], atol=1e-4)
        assert np.abs(row[~stays, 160:] - levels[~stays, 160:]).max() > 1


def test_a_corpus_without_validation_notes_is_validated_on_its_training_notes():
    levels = np.zeros((10, 205), np.float32)
    train = PartialsRows(levels, np.arange(60, 70, dtype=np.float32))
    [(_, pitches, _, _)] = PartialsData(train, PartialsRows(levels[:0], levels[:0, 0]), FRAMES).validation(10)
    assert pitches.tolist() == list(range(60, 70))


def test_a_recipe_spans_the_notes_of_its_corpus(tone_corpus):
    corpus = Corpus.open(tone_corpus)
    span = FAMILIES["partials"].complete(load_recipe("tuned-partials"), corpus).frames.span
    assert span == pytest.approx((57, 70), abs=0.1)
    assert FAMILIES["partials"].complete(recipe(), corpus).frames.span == (36, 96)


def test_a_corpus_without_pitch_is_refused(tmp_path):
    unpitched = SimpleNamespace(folder="hiss", clips=lambda split: ["a"], pitch=lambda clip: np.full(9, np.nan))
    with pytest.raises(UserError, match="corpus hiss has no clear pitch"):
        FAMILIES["partials"].check(unpitched, recipe())


def test_rows_are_those_of_a_corpus_with_the_pitches_that_were_heard(tone_corpus):
    corpus = Corpus.open(tone_corpus)
    found = rows(corpus, "train", FRAMES.model_copy(update={"sample_rate": corpus.rate, "rows": 1000}))
    assert 40 < len(found.pitches) <= 1000
    assert set(np.round(found.pitches)) <= set(range(57, 71))
    assert np.all(found.levels[:, 0] > -30)


def test_a_network_begins_at_the_mean_row_and_learns(tone_corpus):
    corpus = Corpus.open(tone_corpus)
    settings = FAMILIES["partials"].complete(
        load_recipe("tuned-partials", [f"frames.sample_rate={corpus.rate}"]), corpus
    )
    found = rows(corpus, "train", settings.frames)
    data = PartialsData(found, found, settings.frames)
    torch.manual_seed(0)
    network, rng, generator = PartialsAutoencoder(settings), np.random.default_rng(0), torch.Generator().manual_seed(0)
    network.initialise(data)
    middle = torch.full((4, 8), 0.5)
    mean = 20 * torch.log10(network.decode(middle, torch.full((4,), 63.0)))
    assert float((mean - torch.from_numpy(found.levels.mean(0))).abs().median()) < 6
    optimiser, losses = torch.optim.Adam(network.parameters(), 1e-3), []
    for _ in range(60):
        terms = network.reconstruction(*data.batch(rng.integers(0, len(data), 64), rng), generator)
        loss = network.total(terms)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append({name: float(value) for name, value in terms.items()})
    for name in ("bands", "harmonics", "noise"):
        assert np.mean([one[name] for one in losses[-10:]]) < 0.75 * losses[0][name], name


def test_keys_beyond_the_recordings_are_those_of_the_nearest(tone_corpus):
    network = PartialsAutoencoder(recipe())
    codes = torch.rand(2, 8)
    low, lowest = (network.decode(codes, torch.full((2,), float(pitch))) for pitch in (20, 36))
    torch.testing.assert_close(low, lowest)
    between = network.pitch(torch.tensor([36.0, 37.0, 96.0]))
    torch.testing.assert_close(between.sum(1), torch.ones(3))


def test_pieces_are_the_samples_of_frames(tone_corpus):
    from timbrel.train.frames import sources

    corpus = Corpus.open(tone_corpus)
    few = list(sources(corpus, "train", FRAMES, tonal=True))[:3]
    found = pieces(corpus, few, FRAMES)
    assert found.shape == (3, LENGTH)
    np.testing.assert_array_equal(found[2], corpus.samples(few[2].clip)[few[2].start :][:LENGTH])


def test_a_partial_between_harmonics_counts_as_noise_of_its_power():
    sound, _ = tone(60)
    time = np.arange(LENGTH) / RATE
    other = sound + 0.1 * np.cos(2 * np.pi * midi_to_hz(60) * 10.5 * time)
    plain, found = measure_levels(np.stack([sound, other]).astype(np.float32), np.full(2, 60.0), FRAMES)[
        :, FRAMES.harmonics :
    ]
    edges, hz = np.array(FRAMES.edges_hz), midi_to_hz(60) * 10.5
    band = int(np.searchsorted(edges, hz)) - 1
    hertz = np.fft.rfftfreq(LENGTH, 1 / RATE)
    bins = np.sum((hertz >= edges[band]) & (hertz < edges[band + 1]))
    whole = np.sum(np.square(np.abs(np.fft.rfft(other * np.hanning(LENGTH + 1)[:-1]))))
    asked = 10 * np.log10(1.5 * (0.1 * LENGTH / 4) ** 2 / whole / bins)
    assert found[band] == pytest.approx(asked, abs=1.0)
    assert found[band] > plain[band] + 20


def test_harmonics_above_half_the_rate_are_in_no_band():
    bands, pitch = Bands(FRAMES), torch.tensor([84.0])
    row = torch.full((1, 205), 1e-6)
    row[0, :5] = 0.1
    more = row.clone()
    more[0, 100:160] = 1.0
    torch.testing.assert_close(bands(more, pitch), bands(row, pitch))
    torch.testing.assert_close(bands.centroid(more, pitch), bands.centroid(row, pitch))


def test_shifted_noise_moves_along_and_what_lies_below_the_first_band_stays():
    """By twelve semitones noise moves as many bands as an octave has, and no harmonic moves."""
    edges = np.array(FRAMES.edges_hz)
    a_band = 12 * np.log2(edges[-1] / edges[1]) / (len(edges) - 2)
    levels = np.random.default_rng(0).uniform(-90, -20, (2, FRAMES.harmonics + FRAMES.bands)).astype(np.float32)
    up, down = shifted(levels, np.array([3 * a_band, -3 * a_band]), FRAMES)
    noise = levels[:, FRAMES.harmonics :]
    np.testing.assert_array_equal(up[: FRAMES.harmonics], levels[0, : FRAMES.harmonics])
    np.testing.assert_allclose(up[FRAMES.harmonics + 4 :], noise[0, 1:-3], atol=1e-3)
    np.testing.assert_allclose(down[FRAMES.harmonics + 1 : -3], noise[1, 4:], atol=1e-3)
    assert up[FRAMES.harmonics] == noise[0, 0]
    assert down[FRAMES.harmonics] == noise[1, 0]
