"""In nn~ a model sounds as in the host, whatever the blocks, and whatever it is sent."""

import numpy as np
import pytest
from scipy.signal import csd, welch
from timbrel.host.events import NoteOn
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.signal import sounding_note

from .played import SIZES, knobs, of_the_host, play, signals, wandering

WITHIN = 1e-5  # of full scale, as the issue of a file for Max and Pd asks
MODELS = ["gm-chroma-2", "gm-chroma-8", "gm-partials-8", "gm-partials-9", "lakeside-10"]
STEREO = ["strings_in_stereo", "samples_in_stereo", "phases_in_stereo", "noise_in_stereo"]
MADE = ["of_samples", "of_phases", "without_chroma", "of_stiff_strings", *STEREO]
SHARP = {"attack_seconds": 0.0, "decay_seconds": 0.0, "sustain": 1.0, "release_seconds": 0.0}


@pytest.fixture(params=[*MODELS, *MADE])
def model(request, shipped):
    return request.getfixturevalue(request.param) if request.param in MADE else shipped(request.param)


@pytest.fixture(params=["gm-chroma-8", "gm-partials-8"])
def keys(request, shipped):
    return shipped(request.param)


def still(card, count):
    return np.zeros((len(card.latents), count), np.float32)


def apart(sound, expected):
    """The largest difference, of full scale, or of the peak where that is louder."""
    assert sound.shape == expected.shape
    return np.abs(sound - expected).max() / max(1.0, np.abs(expected).max())


def test_one_note_is_the_host_s_in_any_blocks(model, in_nn):
    count, on = 9000, 1500
    offsets = wandering(model.card, count)
    pitch = (57 + 14 * np.sin(np.arange(count) / 4000)).astype(np.float32)
    level = np.where(np.arange(count) < on, 0, 0.7).astype(np.float32)
    (expected,) = of_the_host(model, [on], offsets, pitch) * level
    assert np.abs(expected).max() > 0.01
    for sizes in SIZES:
        sound = play(in_nn(model), signals(offsets, pitch, level), sizes)[0]
        assert apart(sound, expected) < WITHIN
        assert np.all(sound[:, :on] == 0)
        assert np.abs(sound[:, on : on + 200]).max() > 0  # at once, without a delay


@pytest.mark.parametrize("pitch", [0.0, 2.3, 126.8, 127.0])
def test_the_first_and_the_last_keys_are_the_host_s_too(shipped, in_nn, pitch):
    model, count = shipped("gm-partials-8"), 6000
    offsets = wandering(model.card, count)
    (expected,) = of_the_host(model, [0], offsets, pitch)
    assert expected.any()
    assert apart(play(in_nn(model), signals(offsets, pitch, 1.0))[0], expected) < WITHIN


@pytest.mark.parametrize("name", ["samples_in_stereo", "phases_in_stereo"])
def test_grains_that_keep_their_pitch_have_their_sides_too(request, in_nn, name):
    model, count = request.getfixturevalue(name), 6000
    offsets = wandering(model.card, count)
    (expected,) = of_the_host(model, [0], offsets, 60.0)
    assert apart(expected[0], expected[1]) > 0.01
    assert apart(play(in_nn(model), signals(offsets, 60.0, 1.0))[0], expected) < WITHIN


def test_a_preset_of_one_key_renders_to_the_same(keys, in_nn, tmp_path):
    card = keys.card
    play_as = {"phase": "noise"} if card.partials is None else {}
    preset = Preset.model_validate(
        {"format": 1, "model": "x", "play": play_as, "envelope": SHARP, "gesture": {"amount": 0.0}}
    )
    instrument = ChannelInstrument(Patch("x", preset, keys, tmp_path), card.sample_rate)
    on, count = 777, 22050
    expected = instrument.process([NoteOn(on, 0, 64, 127)], count)
    assert instrument.latency_samples == 0
    level = (np.arange(count) >= on).astype(np.float32)
    sound = play(in_nn(keys), signals(still(card, count), 64.0, level))[0, 0]
    risen = on + round(0.001 * card.sample_rate) + 1  # the host's shortest attack
    assert apart(np.sqrt(0.5) * sound[risen:], expected[0, risen:]) < WITHIN  # each side has half of the power


@pytest.mark.parametrize("name", ["gm-chroma-2", "gm-partials-8", "lakeside-10"])
def test_note_after_note_is_the_host_s_voice_after_voice(shipped, in_nn, name):
    model, count = shipped(name), 16000
    onsets, ends = [300, 5000, 5001 + 4096], [4000, 9000, 15000]
    offsets, pitch = wandering(model.card, count, 1), np.linspace(50, 70, count, dtype=np.float32)
    level, expected = np.zeros(count, np.float32), 0
    for on, end, voice in zip(onsets, ends, of_the_host(model, onsets, offsets, pitch), strict=True):
        heard = (np.arange(count) >= on) & (np.arange(count) < end)
        level, expected = level + 0.5 * heard, expected + 0.5 * heard * voice
    for sizes in [(333,), (8192,)]:
        assert apart(play(in_nn(model), signals(offsets, pitch, level), sizes)[0], expected) < WITHIN


@pytest.mark.parametrize("name", ["gm-chroma-2", "gm-partials-8", "lakeside-10"])
def test_rows_are_voices_apart_and_do_not_hear_each_other(shipped, in_nn, name):
    model, count = shipped(name), 6000
    offsets = [wandering(model.card, count, seed) for seed in range(3)]
    sent = np.concatenate([signals(o, 55.0 + 3 * n, np.arange(count) >= 100) for n, o in enumerate(offsets)])
    together = play(in_nn(model), sent, (700,))
    for row, own in enumerate(offsets):
        expected = of_the_host(model, [100] * 3, own, 55.0 + 3 * row)[row] * (np.arange(count) >= 100)
        assert apart(together[row], expected) < WITHIN
    alone = play(in_nn(model), sent * [[[1]], [[0]], [[1]]], (100,))
    assert np.all(alone[1] == 0)
    assert apart(alone[2], together[2]) < 1e-6


def test_another_number_of_rows_begins_anew(keys, in_nn):
    backend, sent = in_nn(keys), signals(still(keys.card, 3000), 60.0, 1.0)
    first = backend.perform(sent)
    assert backend.perform(np.repeat(sent, 2, axis=0)).shape == (2, 1, 3000)
    assert np.array_equal(backend.perform(sent), first)


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_at_another_rate_keys_sound_where_they_should(keys, in_nn, rate):
    backend = in_nn(keys)
    backend.module.set_sample_rate(rate)
    sound = play(backend, signals(still(keys.card, rate), 62.0, 1.0))[0, 0]
    assert sounding_note(sound, rate) == pytest.approx(62, abs=0.2)


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
@pytest.mark.parametrize("name", ["of_samples", "without_chroma"])
def test_at_another_rate_it_has_the_same_colour(request, in_nn, rate, name):
    model = request.getfixturevalue(name)
    own, found = model.card.sample_rate, []
    for played in (own, rate):
        backend = in_nn(model)
        backend.module.set_sample_rate(played)
        sound = play(backend, signals(still(model.card, played), 62.0, 1.0))[0, 0]
        found.append(centroid(sound[played // 4 :], played, 0.4 * min(own, rate)))
    assert found[1] == pytest.approx(found[0], rel=0.05)


@pytest.mark.parametrize("rate", [22050, 44101, 48000, 96000])
def test_at_another_rate_noise_lies_where_it_should_a_rumble_too(of_noise, in_nn, rate):
    backend, count = in_nn(of_noise), 10 * rate
    backend.set("sample_rate", str(rate))
    sound = play(backend, signals(still(of_noise.card, count), 60.0, 1.0), (8192,))[0, 0, rate:].astype(np.float64)
    size = 3 * rate // 4
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[:: size // 4] * np.blackman(size)
    power = np.square(np.abs(np.fft.rfft(frames))).mean(0) / np.square(np.blackman(size)).sum() / rate
    hz = np.arange(len(power)) * rate / size
    ranges = [(22, 38), (50, 60), (70, 82), (200, 350), (2000, 9000)]
    levels = np.array([10 * np.log10(power[(hz >= low) & (hz < high)].mean()) for low, high in ranges])
    assert levels - levels[-1] == pytest.approx([48, 10, 10, 0, 0], abs=3.5)
    assert power[hz > 22800].sum() < 1e-4 * power.sum()  # above what the model knows


def centroid(sound, rate, highest):
    """The middle of the power below a frequency, in Hz."""
    power = np.square(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
    hz = np.fft.rfftfreq(len(sound), 1 / rate)
    return (hz * power)[hz < highest].sum() / power[hz < highest].sum()


def test_grains_are_as_loud_at_another_rate(shipped, in_nn):
    model = shipped("lakeside-10")
    levels = []
    for rate in (22050, 96000):
        backend = in_nn(model)
        backend.set("sample_rate", str(rate))
        sound = play(backend, signals(still(model.card, 4 * rate), 60.0, 1.0), (4096,))
        levels.append(10 * np.log10(np.mean(np.square(sound))))
    assert np.ptp(levels) < 0.7


def test_a_key_sounds_where_it_should_and_a4_moves_it(keys, in_nn):
    for a4, note in (("440", 57), ("440", 64), ("466.163762", 57)):
        backend = in_nn(keys)
        backend.set("a4_hz", a4)
        sound = play(backend, signals(still(keys.card, 44100), note, 1.0))[0, 0]
        assert sounding_note(sound, 44100) == pytest.approx(note + 12 * np.log2(float(a4) / 440), abs=0.2)


def test_a_knob_that_a_message_sets_is_one_that_a_signal_moves(keys, in_nn):
    card, count = keys.card, 8000
    place = 3
    by_message, by_signal, offsets = in_nn(keys), in_nn(keys), still(card, count)
    target = card.latents[place].low * 0.3 + card.latents[place].high * 0.7
    by_message.set(by_message.attributes()[3 + place], f"{target:.6f}")
    offsets[place] = target - card.latents[place].default
    sounds = [
        play(by_message, signals(still(card, count), 60.0, 1.0)),
        play(by_signal, signals(offsets, 60.0, 1.0)),
        play(in_nn(keys), signals(still(card, count), 60.0, 1.0)),
    ]
    assert apart(sounds[0], sounds[1]) < 1e-4
    assert apart(sounds[0], sounds[2]) > 1e-3


def test_knobs_stop_at_their_ends(keys, in_nn):
    card, count = keys.card, 5000
    span = knobs(card, "high") - knobs(card, "default")
    at_end = play(in_nn(keys), signals(np.repeat(span, count, 1), 60.0, 1.0))
    beyond = play(in_nn(keys), signals(np.repeat(span + 1000, count, 1), 60.0, 1.0))
    assert apart(beyond, at_end) < 1e-4


def test_the_level_multiplies_the_sound_and_gain_db_too_without_a_step(keys, in_nn):
    count = 12000
    plain = play(in_nn(keys), signals(still(keys.card, count), 60.0, 1.0))[0, 0]
    backend = in_nn(keys)
    sent = signals(still(keys.card, count), 60.0, np.linspace(0.2, 1.0, count))
    sound = [backend.perform(sent[:, :, :5000])]
    backend.set("gain_db", "-6.020600")
    sound += [backend.perform(sent[:, :, start : start + 100]) for start in range(5000, count, 100)]
    ramp = round(0.02 * 44100)
    gain = np.interp(np.arange(count), [4999, 4999 + ramp], [1.0, 0.5])
    assert apart(np.concatenate(sound, axis=2)[0, 0], plain * gain * sent[0, -1]) < WITHIN


@pytest.mark.parametrize("name", ["gm-chroma-8", "gm-partials-8", "lakeside-10"])
def test_what_is_no_number_is_not_heard_and_ends(shipped, in_nn, name):
    model, count = shipped(name), 6500
    sent = signals(still(model.card, count), 60.0, 1.0)
    backend = in_nn(model)
    wild = sent.copy()
    wild[0, :, 1000:2000] = np.random.default_rng(0).choice(
        [np.nan, np.inf, -np.inf, 1e30, -1e30], wild[0, :, 1000:2000].shape
    )
    sound = play(backend, wild, (512,))
    assert np.all(np.isfinite(sound))
    assert np.abs(sound).max() < 10
    after = play(backend, sent, (512,))
    assert 0.1 < np.abs(after[:, :, 4500:]).max() / np.abs(play(in_nn(model), sent)[:, :, 4500:]).max() < 10


def test_grains_come_as_often_as_density_says(of_samples, in_nn):
    count = 44100
    for density in ("10", "40"):
        backend = in_nn(of_samples)
        backend.set("density", density)
        backend.set("jitter", "0")
        sound = play(backend, signals(still(of_samples.card, count), 60.0, 1.0))[0, 0]
        heard = sound != 0
        begun = np.flatnonzero(heard & ~np.concatenate([[False], heard[:-1]]))
        assert np.diff(begun) == pytest.approx(22050 / float(density), abs=2)


def test_a_density_that_changes_goes_on_with_the_grid(of_samples, in_nn):
    backend = in_nn(of_samples)
    backend.set("density", "10")
    backend.set("jitter", "0")
    sent = signals(still(of_samples.card, 30000), 60.0, 1.0)
    first = play(backend, sent[:, :, :5513])  # two and a half grains
    backend.set("density", "20")
    heard = np.concatenate([first, play(backend, sent[:, :, 5513:])], axis=2)[0, 0] != 0
    begun = np.flatnonzero(heard & ~np.concatenate([[False], heard[:-1]]))
    expected = [0, 2205, 4410, 5512.5 + 551.25]
    assert begun[:4] == pytest.approx(expected, abs=3)
    assert np.diff(begun[3:]) == pytest.approx(1102.5, abs=2)


def band_image(sound, rate):
    """Levels of the left side over the right one in dB, and correlations, of bands an octave wide, [bands, 2]."""
    size = rate // 10
    hz, left = welch(sound[0], rate, nperseg=size)
    right, cross = welch(sound[1], rate, nperseg=size)[1], csd(sound[0], sound[1], rate, nperseg=size)[1].real
    image = []
    for low in (100, 200, 400, 800, 1600, 3200):
        lefts, rights, crosses = (power[(hz >= low) & (hz < 2 * low)].sum() for power in (left, right, cross))
        image.append([10 * np.log10(lefts / rights), crosses / np.sqrt(lefts * rights)])
    return np.array(image)


def test_a_stereo_preset_of_one_key_renders_to_the_same_levels_and_correlations(shipped, in_nn, tmp_path):
    model = shipped("salamander-piano")
    rate, count = model.card.sample_rate, 3 * model.card.sample_rate
    preset = Preset.model_validate({"format": 1, "model": "x", "envelope": SHARP, "gesture": {"amount": 0.0}})
    instrument = ChannelInstrument(Patch("x", preset, model, tmp_path), rate)
    expected = instrument.process([NoteOn(0, 0, 40, 127)], count)[:, 4096:]
    sound = play(in_nn(model), signals(still(model.card, count), 40.0, 1.0))[0, :, 4096:]
    assert apart(np.sqrt(0.5) * sound, expected) < WITHIN
    assert band_image(sound, rate) == pytest.approx(band_image(expected, rate), abs=0.01)
    assert np.ptp(band_image(sound, rate)[:, 0]) > 1


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
@pytest.mark.parametrize("name", ["noise_of_sides", "noise_in_stereo", "samples_in_stereo"])
def test_at_another_rate_the_sides_lie_where_they_should(request, in_nn, rate, name):
    model = request.getfixturevalue(name)
    images = []
    for played in (model.card.sample_rate, rate):
        backend = in_nn(model)
        backend.set("sample_rate", str(played))
        sound = play(backend, signals(still(model.card, 6 * played), 60.0, 1.0), (8192,))[0, :, played:]
        images.append(band_image(sound, played))
    assert np.all(np.ptp(images[0], axis=0) > [6, 0.5])
    assert images[1][:, 0] == pytest.approx(images[0][:, 0], abs=1.5)
    if name != "samples_in_stereo":  # padding to resample a frame changes how far the angles of its bins mix
        assert images[1][:, 1] == pytest.approx(images[0][:, 1], abs=0.15)


def test_spread_takes_grains_to_both_sides(shipped, in_nn):
    model = shipped("lakeside-10")
    sent = signals(still(model.card, 22050), 60.0, 1.0)
    middle = play(in_nn(model), sent)[0]
    assert middle[0] == pytest.approx(middle[1], abs=1e-6)
    backend = in_nn(model)
    backend.set("spread", "1")
    left, right = play(backend, sent)[0]
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.9
