"""Clips are read between their samples as band-limited sounds are, and what a higher pitch would fold back is gone."""

import itertools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.clip.resampling import BITS, ONE, TAPS, ClipMemory, Request, ResampledClip, Stretch, steps
from timbrel.host.engines.clip.resampling import read as read_all

LENGTH = 6000
SEMITONES = st.integers(-3000, 4000).map(lambda cents: cents / 100)


def sine(cycles, length=LENGTH):
    """[length], ``cycles`` a sample."""
    return np.sin(2 * np.pi * cycles * np.arange(length)).astype(np.float32)


def read(clip, places, step):
    return read_all([Request(clip, places, step)])[0]


def at_pitch(clip, semitones, first=1000, count=600):
    """Return what sounds from a sample of a clip on, at another pitch, and its places in samples."""
    step = steps(semitones)
    places = (first << BITS) + np.arange(count) * step
    return read(clip, places, step), places / ONE


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-30)


@pytest.mark.parametrize("semitones", [-36.0, -11.7, -1.0, -0.01, 0.3, 1.0, 5.0, 11.9])
@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.78])
def test_a_sine_is_read_as_the_sine_that_it_is_80_db_above_all_error(semitones, part):
    """Up to ``part`` of the band that is heard: half the rate, or less where the pitch is raised."""
    cycles = 0.5 * part / max(1.0, 2 ** (semitones / 12))
    found, places = at_pitch(ResampledClip(sine(cycles)), semitones)
    assert level_db(found - np.sin(2 * np.pi * cycles * places)) < level_db(found) - 80


@pytest.mark.parametrize("semitones", [13.0, 19.5, 24.0, 31.0, 43.0])
def test_more_than_an_octave_up_too(semitones):
    cycles = 0.5 * 0.6 / 2 ** (semitones / 12)
    found, places = at_pitch(ResampledClip(sine(cycles, 60_000)), semitones, 20_000)
    assert level_db(found - np.sin(2 * np.pi * cycles * places)) < level_db(found) - 70


@pytest.mark.parametrize("semitones", [2.0, 7.0, 12.0, 17.0, 24.0, 36.0])
@pytest.mark.parametrize("over", [1.3, 1.6])
def test_what_would_be_folded_back_is_75_db_down(semitones, over):
    """A sine ``over`` times as high as what is still heard at that pitch."""
    cycles = 0.5 * over / 2 ** (semitones / 12)
    if cycles < 0.5:
        found, _ = at_pitch(ResampledClip(sine(cycles, 60_000)), semitones, 20_000)
        assert level_db(found) < -3 - 75


@pytest.mark.parametrize(("up", "down"), [(3, 2), (1, 2), (5, 4), (2, 1)])
def test_it_is_what_scipy_makes_of_it(up, down):
    """``up`` samples for every ``down``, of a noise below 0.6 of the band that both keep."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(rng.normal(size=LENGTH))
    spectrum[int(0.3 * LENGTH * min(1.0, up / down)) :] = 0
    noise = np.fft.irfft(spectrum).astype(np.float32)
    count = LENGTH * up // down
    expected = scipy.signal.resample(noise, count)
    step = np.array([ONE * down // up], np.int64)
    middle = slice(count // 4, count // 2)
    places = np.arange(count) * step[0]
    found = read(ResampledClip(noise), places, step)
    assert level_db((found - expected)[middle]) < level_db(expected[middle]) - 70


def test_a_place_on_a_sample_gives_that_sample_unless_the_pitch_is_raised():
    clip = ResampledClip(np.random.default_rng(1).normal(size=LENGTH).astype(np.float32))
    places = np.arange(100, 400, dtype=np.int64) << BITS
    assert np.array_equal(read(clip, places, steps(0.0)), clip.samples[100:400])
    assert np.array_equal(read(clip, places[::-1], steps(0.0)), clip.samples[100:400][::-1])
    halves = (100 << BITS) + np.arange(300) * (ONE // 2)
    assert np.array_equal(read(clip, halves, steps(-12.0))[::2], clip.samples[100:250])
    moving = np.full(300, ONE)
    moving[150:] += 1
    assert np.array_equal(read(clip, places, moving)[:150], clip.samples[100:250])


def test_beyond_its_ends_there_is_silence():
    clip = ResampledClip(np.ones(100, np.float32))
    found = read(clip, np.array([0, 50, 99], np.int64) * ONE + ONE // 3, steps(-0.1))
    assert found[1] == pytest.approx(1.0, abs=1e-2)
    assert 0.2 < found[0] < 1.3
    assert 0.2 < found[2] < 1.0


@given(st.data())
def test_any_division_and_any_company_give_the_same_bytes(data):
    clip = ResampledClip(np.random.default_rng(2).normal(size=LENGTH).astype(np.float32))
    pitches = data.draw(st.lists(SEMITONES, min_size=2, max_size=4))
    bend = np.interp(np.arange(300), np.linspace(0, 300, len(pitches)), pitches)
    moving = steps(bend if data.draw(st.booleans()) else np.full(300, bend[0]))
    places = (2000 << BITS) + np.cumsum(moving // 8)
    whole = read(clip, places, moving)
    cuts = sorted({0, 300, *data.draw(st.lists(st.integers(1, 299), max_size=5))})
    others = [Request(clip, places[:50] + ONE // 3, steps(3.0))] * data.draw(st.integers(0, 3))
    parts = []
    for begin, end in itertools.pairwise(cuts):
        request = Request(clip, places[begin:end], moving[begin:end])
        parts.append(read_all([*others, request])[-1])
    assert np.array_equal(np.concatenate(parts), whole)


@given(SEMITONES, st.integers(1, 100))
def test_a_steady_pitch_is_that_pitch_at_each_sample(semitones, count):
    clip = ResampledClip(np.random.default_rng(2).normal(size=LENGTH).astype(np.float32))
    one, each = steps(semitones), steps(np.full(count, semitones))
    assert np.all(each == one)
    places = (1000 << BITS) + np.arange(count) * one
    assert np.array_equal(read(clip, places, one), read(clip, places, each))


@pytest.mark.parametrize("length", [1, 16, TAPS, 4097])
def test_a_clip_of_any_length_has_its_copies(length):
    clip = ResampledClip(np.ones(length, np.float32))
    clip.prepare()
    step = steps(60.0)
    assert np.isfinite(read(clip, np.zeros(1, np.int64), step)).all()


def test_what_is_not_finite_is_silence():
    clip = ResampledClip(np.array([1.0, np.nan, np.inf, -np.inf, 1.0], np.float32))
    assert clip.samples.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]


@given(st.data())
def test_a_stretch_has_the_bytes_of_its_places_however_it_is_divided_and_whatever_is_read_beside(data):
    clip = ResampledClip(np.random.default_rng(0).normal(size=400).astype(np.float32))
    step = int(steps(data.draw(st.sampled_from([0.0, -12.0, 12.0]) | st.floats(-30, 40, allow_subnormal=False)))[0])
    backwards, count = data.draw(st.booleans()), data.draw(st.integers(1, 300))
    span = step * (count - 1)
    first = data.draw(st.integers(0, max(0, (len(clip.samples) - 1) * ONE - span)))
    first, step = (first + span, -step) if backwards else (first, step)
    places = first + step * np.arange(count)
    if places.max() >= len(clip.samples) * ONE:
        return
    whole = read(clip, places, np.array([abs(step)]))
    begins = sorted({0, *data.draw(st.lists(st.integers(0, count - 1), max_size=3))})
    stretches = [
        Stretch(clip, first + step * begin, step, end - begin)
        for begin, end in zip(begins, [*begins[1:], count], strict=True)
    ]
    others = [Stretch(clip, ONE // 3, int(steps(3.0)[0]), 200)] * data.draw(st.integers(0, 2))
    assert np.array_equal(np.concatenate(read_all([*stretches, *others])[: len(stretches)]), whole)


@given(st.data())
def test_what_is_coming_has_its_share_whether_or_not_the_clips_lie_in_the_same_memory(data):
    noises = np.random.default_rng(3).normal(size=(2, LENGTH)).astype(np.float32)
    clips = [ResampledClip(noise) for noise in noises]
    if data.draw(st.booleans()):
        size = ResampledClip.size(LENGTH)
        rooms = ClipMemory(np.zeros(2 * size, np.float32))
        for number, clip in enumerate(clips):
            clip.put(rooms.flat[number * size : (number + 1) * size])
        clips = [ResampledClip.stored(rooms, number, LENGTH) for number in range(2)]
    pitches = data.draw(st.lists(SEMITONES, min_size=1, max_size=3))
    step = steps(
        pitches[0] if len(pitches) == 1 else np.interp(np.arange(80), np.linspace(0, 80, len(pitches)), pitches)
    )
    first, share = 300 << BITS, np.linspace(0, 1, 80).astype(np.float32)
    places = first + np.concatenate([np.zeros(1, np.int64), np.cumsum(np.broadcast_to(step, 80))[:-1]])
    one, other = (read(clip, places, step) for clip in clips)
    requests = [Stretch(clips[0], ONE // 3, int(steps(3.0)[0]), 100), Request(clips[0], places, step, clips[1], share)]
    if len(step) == 1:
        requests.append(Stretch(clips[0], first, int(step[0]), 80, clips[1], share))
    for found in read_all(requests)[1:]:
        assert np.allclose(found, (1 - share) * one + share * other, atol=1e-6)
