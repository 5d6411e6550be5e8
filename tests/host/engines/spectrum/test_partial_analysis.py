"""Spectra taken apart: against a plain loop over rows, harmonics and bins, and against sinusoids and noise as made.

The code sums powers in single precision, the loop in double. They may differ in that alone: by the rounding of the
powers that a value is summed of, which is large against what is left where one is taken from another. The loop gives
that too.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.spectrum.partial_analysis import FREE, Layout, split_partials

from ....examples import few

FRAME = 2048
BINS = FRAME // 2 + 1
LAYOUTS = [Layout(40, BINS // 4 + 1, 4.0), Layout(200, BINS // 2 + 1, 2.0), Layout(3, BINS, 1.0), Layout(0, 300, 3.7)]


ULP = 2.0**-24  # the rounding of single precision, over the number
SILENT = 1e-18  # power, in which the floors of 1e-20 that keep logarithms finite count a hundredfold
ROUNDINGS = 64  # that a power goes through besides those of its sum: squares, roots, lobes, logarithms


def rounding(power, terms):
    """By how much a sum of powers may be off."""
    return (terms + ROUNDINGS) * ULP * power


def tone_of(power, around):
    """How much of a peak is a partial: nothing at 12 dB above what is around it, all of it at 20 dB."""
    above = 10 * np.log10((power + 1e-20) / (around + 1e-20))
    return min(max((above - 12) / 8, 0.0), 1.0)


def tone_at(frame, b):
    """How much of a peak at bin b is a partial, by the geometric mean of what lies 3 and 4 bins away on either side."""
    sides = [(frame[b + 3 * side] ** 2 + frame[b + 4 * side] ** 2) / 2 + 1e-20 for side in (-1, 1)]
    return tone_of(frame[b] ** 2, (sides[0] * sides[1]) ** 0.5)


def lobes_at(frame, peaks):
    """Place and magnitude, without ``tone``, of the free partials whose highest bins are these."""
    reached = [b + side for b in peaks for side in range(-2, 3)]
    found = []
    for b in peaks:
        below, here, above = frame[b - 1 : b + 2]
        ratio = max(below, above) / here
        away = (2 * ratio - 1) / (ratio + 1) if ratio > 0.5 else 0.0
        energy = sum(frame[near] ** 2 / reached.count(near) for near in range(b - 2, b + 3))
        found.append((b + away if above > below else b - away, (energy / 1.5) ** 0.5))
    return found


def between(place, points, values):
    """Interpolates on straight lines between points that rise; beyond the last, the last one's value holds."""
    if place <= points[0]:
        return values[0]
    for (before, low), (after, high) in itertools.pairwise(zip(points, values, strict=True)):
        if place < after:
            return low + (high - low) * (place - before) / (after - before)
    return values[-1]


def parts_of(first, count, bins):
    """The clearings of a frame, and the harmonics with their skirts, as (first bin, the one after the last)."""
    harmonics, end = [], 0
    for k in range(1, count + 1):
        wide = max(min(3 + 0.5 * (k - 1), max(first / 3, 1.0)), first / 4)
        begin = max(round(k * first - wide), end + 1)
        end = max(round(k * first + wide + 1), begin + 1)
        if begin < bins:
            harmonics.append((begin, min(end, bins)))
    until = harmonics[0][0] if harmonics else bins
    lowest = max(math.ceil((until - 1) / 2), 1)
    clearings = [(2 * n, until if n == lowest - 1 else 2 * n + 2) for n in range(lowest)]
    tops = [begin for begin, _ in harmonics[1:]] + [bins]
    clearings += [(end, top) for (_, end), top in zip(harmonics, tops, strict=True) if end < top]
    return clearings, harmonics


def without_lobes(frame, peaks):
    """The frame without the lobes of these peaks: what is beside them, and what of them is no partial."""
    rest = list(frame)
    for b in peaks:
        tone, floor = tone_at(frame, b), min(frame[b - 4], frame[b + 4])
        for near in range(b - 3, b + 4):
            rest[near] = min(rest[near], max(floor, (1 - tone**2) ** 0.5 * frame[near]))
    return rest


def gap_peaks(frame, first, count):
    """The bins of free partials: the highest of each gap between harmonics, if it is a lobe that stands alone."""
    bins, highest, found, end = len(frame), max(frame), [], 0
    for k in range(1, count + 2):
        wide = min(3 + 0.5 * (k - 1), max(first / 3, 1.0))
        begin, end = end, bins if k > count else min(round(k * first - wide), bins - 1)
        gap = frame[begin : max(end, begin + 1)]
        alone = sum(value**2 for value in gap) < max(gap) ** 2 * (2.1 + len(gap) * 10**-1.2)
        inside = range(max(begin, 4), min(end, bins - 4))  # where a peak has a skirt on both sides
        peak = max(inside, key=lambda b: frame[b], default=0)
        if alone and max(gap) > 5e-3 * highest and inside and frame[peak - 1] < frame[peak] >= frame[peak + 1]:
            found += [peak] if tone_at(frame, peak) > 0 else []
        end = min(round(k * first + wide + 1), bins - 1)
    return found[:FREE]


def with_fundamental(frame, first, layout):
    """Harmonics, free partials as (place, magnitude) and noise of one frame, harmonic by harmonic, bin by bin.

    And by how much the powers of harmonics and of noise may be off.
    """
    bins, count, highest = len(frame), layout.harmonics, max(frame)
    peaks = gap_peaks(frame, first, count)
    free = [
        (place, tone_at(frame, peak) * height)
        for peak, (place, height) in zip(peaks, lobes_at(frame, peaks), strict=True)
    ]
    power = [value**2 for value in without_lobes(frame, peaks)]
    clearings, parts = parts_of(first, count, bins)
    middles = [(begin + end - 1) / 2 for begin, end in clearings]
    levels = [math.log(sum(power[begin:end]) / (end - begin) + 1e-20) for begin, end in clearings]
    harmonics, harmonics_off, left, left_off = [0.0] * count, [0.0] * count, [0.0] * count, [0.0] * count
    for k, (begin, end) in enumerate(parts, start=1):
        beside = math.exp(between(k * first, middles, levels))
        beside_off = rounding(beside, bins)
        wide = min(3 + 0.5 * (k - 1), max(first / 3, 1.0))
        low, high = (min(round(at), bins - 1) for at in (k * first - wide, k * first + wide + 1))
        lobe_bins = power[low : max(high, low + 1)] if k < count or high < bins - 1 else power[low:]
        own = sum(value - beside for value in lobe_bins) / 1.5
        own_off = rounding(sum(value + beside for value in lobe_bins), len(lobe_bins)) + len(lobe_bins) * beside_off
        more = sum(value - beside for value in power[begin:end]) / 1.5
        more_off = rounding(sum(value + beside for value in power[begin:end]), bins) + (end - begin) * beside_off
        quiet = more <= (1e-4 * highest) ** 2
        least, tone, most = (
            0.0 if quiet else tone_of(max(stands, 0.0), max(around, 0.0))
            for stands, around in (
                (own - own_off, beside + beside_off),
                (own, beside),
                (own + own_off, beside - beside_off),
            )
        )
        harmonics[k - 1] = tone * max(more, 0.0) ** 0.5
        harmonics_off[k - 1] = more_off + (most**2 - least**2) * max(more + more_off, 0.0)
        left[k - 1] = (more - harmonics[k - 1] ** 2) * 1.5 / (end - begin)
        left_off[k - 1] = (more_off + harmonics_off[k - 1]) * 1.5 / (end - begin)
    noise, noise_off = [], []
    for n in range(layout.noise):
        place, half = n * layout.noise_width, layout.noise_width / 2
        level = math.exp(between(place, middles, levels))
        value, off = level if level >= 2e-20 else 0.0, rounding(level, bins) + 2e-20
        if parts:
            k = min(max(round(place / first), 1), len(parts)) - 1
            begin, end = parts[k]
            share = max(min(place + half, end - 0.5) - max(place - half, begin - 0.5), 0.0) / layout.noise_width
            value, off = value + share * left[k], off + share * left_off[k]
        noise.append(max(value, 0.0) ** 0.5)
        noise_off.append(off)
    return np.array(harmonics), free, np.array(noise), np.array(harmonics_off), np.array(noise_off)


def without_fundamental(frame, layout):
    """No harmonics, free partials as (place, magnitude), strongest first, and noise of one frame, bin by bin.

    And by how much the powers of harmonics and of noise may be off.
    """
    bins, free = len(frame), []
    tops = [b for b in range(4, bins - 4) if frame[b] > 5e-3 * max(frame) and frame[b - 1] < frame[b] >= frame[b + 1]]
    peaks = [b for b in tops if tone_at(frame, b) > 0]
    for b, (place, height) in zip(peaks, lobes_at(frame, peaks), strict=True):
        free.append((place, tone_at(frame, b) * height))
    rest = without_lobes(frame, peaks)
    noise, noise_off = [], []
    for n in range(layout.noise):
        begin, end = (min(max(round((m - 0.5) * layout.noise_width + 0.5), 0), bins - 1) for m in (n, n + 1))
        end = bins if n == layout.noise - 1 else max(end, begin + 1)
        noise.append((sum(value**2 for value in rest[begin:end]) / (end - begin)) ** 0.5)
        noise_off.append(rounding(sum(value**2 for value in frame[begin:end]) / (end - begin), end - begin) + SILENT)
    free.sort(key=lambda partial: -partial[1])
    none = np.zeros(layout.harmonics)
    return none, free[:FREE], np.array(noise), none, np.array(noise_off)


def plain(frame, first, layout):
    """Harmonics, free partials and noise of one frame, by loops, and by how much the powers may be off."""
    values = [float(value) for value in frame]
    if first > 0 and layout.harmonics:
        return with_fundamental(values, first, layout)
    return without_fundamental(values, layout)


def lobe(distance):
    """A Hann lobe without its side lobes."""
    d = np.abs(distance)
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.where(np.isclose(d, 1), 0.5, np.abs(np.sinc(d) / (1 - d**2)))
    return np.where(d < 2, shape, 0.0)


@st.composite
def wild_frames(draw, lowest=6.0):
    """Frames of any kind, and fundamentals of at least so many bins that fit them, or do not, or are none."""
    frames, fundamentals = [], []
    at = np.arange(BINS)
    for _ in range(draw(st.integers(1, 4))):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        first = draw(st.floats(lowest, 90.0))
        kind = draw(st.sampled_from(["comb", "inharmonic", "noise", "one bin", "bins", "zeros"]))
        frame = np.zeros(BINS)
        if kind in ("comb", "inharmonic"):
            stretched = 0.0 if kind == "comb" else draw(st.floats(1e-4, 1e-2))
            for k in range(1, int(BINS / first) + 1):
                width = rng.uniform(1.0, 2.0)  # lobes of decoders are wider than a window's
                height = rng.uniform(0.0, 1.0) ** 3 / k
                frame += height * lobe((at - k * first * (1 + stretched * k)) / width)
        elif kind == "bins":
            frame[rng.integers(0, BINS, 60)] = rng.exponential(1.0, 60)
        elif kind == "one bin":
            frame[draw(st.integers(4, BINS - 6))] = 1.0  # a lobe there has a skirt on both sides
        if kind == "noise" or (kind in ("comb", "inharmonic") and draw(st.booleans())):
            frame += 10 ** draw(st.floats(-5.0, 0.0, allow_subnormal=False)) * rng.rayleigh(1.0, BINS)
        frames.append(frame * 10 ** draw(st.floats(-3.0, 3.0, allow_subnormal=False)))
        fundamentals.append(draw(st.sampled_from([first, first, float("nan"), 30.0])))
    return np.array(frames, np.float32), np.array(fundamentals)


@few
@given(wild_frames(0.7), st.sampled_from(LAYOUTS))
def test_partials_and_noise_are_those_of_a_plain_loop(wild, layout):
    frames, fundamentals = wild
    given_frames = frames.copy()
    rows = split_partials(frames, fundamentals, layout)
    assert np.array_equal(frames, given_frames)
    assert rows.shape == (len(frames), layout.width)
    places, strengths = layout.free(rows)
    for row, (frame, first) in enumerate(zip(frames, fundamentals, strict=True)):
        harmonics, free, noise, harmonics_off, noise_off = plain(frame, first, layout)
        assert np.all(np.abs(np.square(layout.harmonic(rows)[row]) - harmonics**2) <= harmonics_off)
        assert np.all(np.abs(np.square(layout.residue(rows)[row]) - noise**2) <= noise_off)
        assert np.count_nonzero(strengths[row]) == len(free)
        assert np.all(places[row, len(free) :] == 0)
        barely = ROUNDINGS * ULP * float(frame.max()) + SILENT**0.5  # the share of one that just stands out is near 0
        assert strengths[row, : len(free)] == pytest.approx([strength for _, strength in free], rel=1e-5, abs=barely)
        assert places[row, : len(free)] == pytest.approx([place for place, _ in free], abs=1e-3)


def hann_transform(sound):
    """Magnitudes of one frame under a Hann window."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    return np.abs(np.fft.rfft(window * sound)).astype(np.float32)


def sinusoids(bins, magnitudes, seed):
    """A frame of sinusoids at fractional bins, whose lobes have these heights, with phases of their own."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(bins))
    turn = 2 * np.pi * np.outer(bins, np.arange(FRAME)) / FRAME + phases[:, np.newaxis]
    return 4 / FRAME * magnitudes @ np.cos(turn)


@given(st.floats(12.0, 60.0), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-5]))
def test_harmonics_of_a_sound_come_back_with_their_magnitudes(first, seed, hiss):
    layout = LAYOUTS[0]
    rng = np.random.default_rng(seed)
    count = min(layout.harmonics, int((BINS - 10) / first))
    magnitudes = rng.uniform(0.1, 1.0, count)
    sound = sinusoids(first * np.arange(1, count + 1), magnitudes, seed) + hiss * rng.standard_normal(FRAME)
    rows = split_partials(hann_transform(sound)[np.newaxis], np.array([first]), layout)
    found = layout.harmonic(rows)[0]
    assert 20 * np.log10(found[:count] / magnitudes) == pytest.approx(np.zeros(count), abs=0.1)
    assert found[count:].max(initial=0) < 2e-3  # of the noise, some bins stand out
    assert layout.free(rows)[1].max() < 2e-3


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-5]))
def test_partials_without_a_fundamental_come_back_with_their_places_and_magnitudes(seed, hiss):
    layout = LAYOUTS[0]
    rng = np.random.default_rng(seed)
    bins = np.cumsum(rng.uniform(12.0, 60.0, 20)) + 8
    magnitudes = rng.uniform(0.3, 1.0, 20)
    sound = sinusoids(bins, magnitudes, seed) + hiss * rng.standard_normal(FRAME)
    rows = split_partials(hann_transform(sound)[np.newaxis], np.array([np.nan]), layout)
    places, strengths = (part[0] for part in layout.free(rows))
    assert strengths[20:].max() < 2e-3  # of the noise, some bins stand out
    order = np.argsort(places[:20])
    assert places[order] == pytest.approx(bins, abs=0.02)
    assert 20 * np.log10(strengths[order] / magnitudes) == pytest.approx(np.zeros(20), abs=0.1)
    assert np.all(np.diff(strengths[:20]) <= 0)
    assert not layout.harmonic(rows).any()


@pytest.mark.parametrize("apart", [3.2, 4.0, 5.5])
def test_two_partials_beside_each_other_are_not_taken_for_noise(apart):
    frame = lobe(np.arange(BINS) - 60.3) + lobe(np.arange(BINS) - 60.3 - apart)
    rows = split_partials(frame[np.newaxis].astype(np.float32), np.array([np.nan]), LAYOUTS[0])
    places, magnitudes = (part[0] for part in LAYOUTS[0].free(rows))
    assert np.sort(places[magnitudes > 0.5]) == pytest.approx([60.3, 60.3 + apart], abs=0.15)


def test_of_more_free_partials_than_there_is_room_for_the_strongest_are_kept():
    magnitudes = np.linspace(1.0, 0.5, 80)
    bins = 12.0 * np.arange(1, 81)
    frame = np.sum(magnitudes[:, np.newaxis] * lobe(np.arange(BINS) - bins[:, np.newaxis]), axis=0)
    places, _ = LAYOUTS[0].free(split_partials(frame[np.newaxis].astype(np.float32), np.array([np.nan]), LAYOUTS[0]))
    assert places[0] == pytest.approx(bins[:FREE])


@pytest.mark.parametrize("first", [12.1, 47.3, float("nan")])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_flat_noise_has_its_level_and_no_partials(first, layout):
    rows = split_partials(np.full((1, BINS), 0.3, np.float32), np.array([first]), layout)
    assert layout.residue(rows)[0] == pytest.approx(np.full(layout.noise, 0.3), rel=1e-5)
    assert not layout.harmonic(rows).any()
    assert not layout.free(rows)[1].any()


@pytest.mark.parametrize("first", [12.1, 47.3, float("nan")])
def test_white_noise_keeps_its_level(first):
    layout = LAYOUTS[0]
    rng = np.random.default_rng(6)
    frames = np.array([hann_transform(rng.standard_normal(FRAME)) for _ in range(200)])
    rows = split_partials(frames, np.full(200, first), layout)
    level = np.sqrt(np.mean(np.square(layout.residue(rows)[:, 1:-1]), axis=0))
    assert 10 * np.log10(np.mean(level**2) / (FRAME * 3 / 8)) == pytest.approx(0, abs=0.5)
    assert 20 * np.log10(level / level.mean()) == pytest.approx(np.zeros(len(level)), abs=1.5)


@pytest.mark.parametrize("first", [12.1, float("nan")])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_silence_is_taken_apart_into_nothing(first, layout):
    assert not split_partials(np.zeros((3, BINS), np.float32), np.full(3, first), layout).any()


def energy_db(frames, fundamentals):
    """Energy of partials and noise together, over that of the frames, [rows] in dB."""
    layout = Layout(150, BINS, 1.0)
    rows = split_partials(frames, fundamentals, layout).astype(np.float64)
    partials = np.square(layout.harmonic(rows)).sum(1) + np.square(layout.free(rows)[1]).sum(1)
    energy = 1.5 * partials + np.square(layout.residue(rows)).sum(1)  # the squares of a Hann lobe add up to 1.5
    return 10 * np.log10((energy + 1e-30) / (np.square(frames.astype(np.float64)).sum(1) + 1e-30))


@given(wild_frames())
def test_whatever_the_frame_it_loses_4_db_of_its_energy_at_most_and_gains_1(wild):
    change = energy_db(*wild)
    assert change.min() > -4
    assert change.max() < 1


@pytest.mark.parametrize("first", [24.3, 47.3])
@pytest.mark.parametrize("decay", [0.0, 3.0], ids=["steady", "dying"])
def test_noise_between_harmonics_is_not_the_skirts_of_lobes(first, decay):
    layout, rng = Layout(80, BINS, 1.0), np.random.default_rng(7)
    order = np.arange(1, int((BINS - 40) / first) + 1)
    tone = sinusoids(first * order, 1.0 / order, 7) * np.exp(-decay * np.arange(FRAME) / FRAME)
    hiss = 10 ** (-65 / 20) / (FRAME * 3 / 8) ** 0.5  # 65 dB under the highest lobe
    sounds = [tone + hiss * rng.standard_normal(FRAME) for _ in range(100)]
    rows = split_partials(np.array([hann_transform(sound) for sound in sounds]), np.full(100, first), layout)
    level = 10 * np.log10(np.square(layout.residue(rows)).mean(0) / 10 ** (-65 / 10))
    between = np.abs((np.arange(BINS) / first + 0.5) % 1 - 0.5) * first > 5
    assert np.abs(level[between]).mean() < 1.5
    assert np.abs(level[between & (np.arange(BINS) < first)]).mean() < 1.5
    assert np.abs(level[between]).max() < 6


@given(st.floats(10.0, 90.0), st.floats(-5.0, 0.0, allow_subnormal=False), st.integers(0, 2**32 - 1))
def test_a_sound_with_a_fundamental_in_noise_keeps_its_energy(first, noise, seed):
    rng = np.random.default_rng(seed)
    order = np.arange(1, int((BINS - 10) / first) + 1)
    sound = sinusoids(first * order, rng.uniform(0.3, 1.0, len(order)) / order, seed)
    frame = hann_transform(sound + 10**noise / FRAME**0.5 * rng.standard_normal(FRAME))
    assert energy_db(frame[np.newaxis], np.array([first])) == pytest.approx([0.0], abs=0.5)
