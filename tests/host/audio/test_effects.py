"""Effects against closed forms, pedalboard's own offline result and other divisions; rates against sines and scipy."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pedalboard
import pytest
import scipy.signal
import soundfile
from timbrel.host.audio.effect_ranges import NOT_IN_BLOCKS, RANGES, SETTINGS
from timbrel.host.audio.effects import QUANTUM, Effect, EffectChain
from timbrel.host.audio.plugins import let_run
from timbrel.host.audio.resampling import Resampler, stretched
from timbrel.host.errors import UserError

RATE = 48000
VST3 = Path("/usr/lib/vst3")
needs_zam = pytest.mark.skipif(
    not (VST3 / "ZaMaximX2.vst3").exists(), reason="needs VST3 plugins: apt-get install zam-plugins"
)
VST3_EFFECTS = [
    pytest.param({"plugin": str(VST3 / f"{name}.vst3"), **settings}, id=name, marks=needs_zam)
    for name, settings in [("ZaMaximX2", {"threshold_db": -12.0}), ("ZamComp", {"threshold_db": -30.0})]
]
AUDIBLE = {  # settings that make each effect change the sound, where its defaults do not
    "Bitcrush": {"bit_depth": 4.0},
    "Compressor": {"threshold_db": -30.0, "ratio": 4.0},
    "Convolution": {"impulse_response_filename": "response.wav"},
    "Delay": {"delay_seconds": 0.01, "feedback": 0.5},
    "HighShelfFilter": {"gain_db": 6.0},
    "LadderFilter": {"mode": "BPF24", "cutoff_hz": 1000.0, "resonance": 0.5},
    "LowShelfFilter": {"gain_db": 6.0},
    "NoiseGate": {"threshold_db": -10.0},
    "PeakFilter": {"gain_db": 6.0},
}


@pytest.fixture(scope="module", autouse=True)
def plugins_may_run():
    """Those that the system has."""
    for effect in VST3_EFFECTS:
        plugin = Path(effect.values[0]["plugin"])
        if plugin.exists():
            let_run(plugin)


HOLD_BACK = {"BrickwallLimiter", "MP3Compressor", "Resample"}


@pytest.fixture
def noise():
    return np.random.default_rng(3).normal(0, 0.2, (2, 20_000)).astype(np.float32)


@pytest.fixture
def chain(tmp_path):
    response = np.random.default_rng(4).normal(0, 1, (2000, 2)) * np.exp(-np.arange(2000) / 300)[:, None]
    soundfile.write(tmp_path / "response.wav", 0.2 * response, RATE)

    def load(*effects, rate=RATE):
        named = [
            {"plugin": effect, **AUDIBLE.get(effect, {})} if isinstance(effect, str) else effect for effect in effects
        ]
        return EffectChain([Effect(**effect) for effect in named], rate, tmp_path)

    return load


def through(chain, audio, sizes=(4096,)):
    """All of ``audio``, in blocks of the given sizes in turn."""
    blocks, start, turn = [], 0, 0
    while start < audio.shape[1]:
        size = sizes[turn % len(sizes)]
        blocks.append(chain.process(audio[:, start : start + size]))
        start, turn = start + size, turn + 1
    return np.concatenate(blocks, axis=1)


def test_importing_effects_does_not_import_pedalboard():
    code = "import sys, timbrel.host.audio.effects; print('pedalboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_tables_name_every_effect_of_pedalboard_and_all_of_its_parameters():
    bases = {"Chain", "ExternalPlugin", "IIRFilter", "Mix", "Pedalboard", "Plugin", "PluginContainer", "VST3Plugin"}
    kinds = {
        name: kind
        for name, kind in vars(pedalboard).items()
        if not name.startswith("_")
        and isinstance(kind, type)
        and issubclass(kind, pedalboard.Plugin)
        and name not in bases
    }
    assert set(kinds) == set(RANGES) | NOT_IN_BLOCKS
    for name in RANGES:
        parameters = {key for key in dir(kinds[name]) if isinstance(getattr(kinds[name], key), property)}
        parameters -= {"is_effect", "is_instrument", "impulse_response"}
        assert parameters == set(RANGES[name]) | set(SETTINGS.get(name, {})), name


@pytest.mark.parametrize("effect", [*RANGES, *VST3_EFFECTS])
def test_blocks_of_any_size_give_the_same_samples_as_one(chain, noise, effect):
    noise, divided = noise[:, :9000], chain(effect)
    whole = chain(effect).process(noise)
    assert np.abs(whole - noise).max() > 0.01  # it does something
    for sizes in [(1,), (64,), (65,), (128,), (8193,), (0, 1, 2, 3, 500)]:
        count = 2500 if sizes == (1,) else 9000
        divided.reset()
        given = through(divided, noise[:, :count], sizes)
        assert given.shape == (2, count)
        assert given.dtype == np.float32
        away = 1e-6 if effect == "Convolution" else 0.0  # transforms of other lengths round otherwise
        np.testing.assert_allclose(given, whole[:, :count], rtol=0, atol=away, err_msg=str(sizes))


@pytest.mark.parametrize("effect", [*RANGES, *VST3_EFFECTS])
def test_a_chain_that_is_reset_sounds_like_a_new_one(chain, noise, effect):
    noise, used = noise[:, :9000], chain(effect)
    through(used, noise[:, ::-1], (333,))
    used.reset()
    np.testing.assert_array_equal(through(used, noise), through(chain(effect), noise))


@pytest.mark.parametrize("name", RANGES)
def test_sound_comes_late_by_the_stated_latency_and_is_otherwise_pedalboards_own(chain, noise, name):
    stage = chain(name)
    assert (stage.latency_samples > 0) == (name in HOLD_BACK)
    late = stage.process(noise)
    assert late.std() > 0.01
    assert np.abs(late - noise).max() > 0.01
    assert not late[:, : stage.latency_samples].any()
    plugin = chain(name)._stages[0].plugins[0]
    plugin.reset()
    silent = 0 if name in HOLD_BACK else QUANTUM  # what the others have heard before
    whole = pedalboard.Chain([plugin]).process(np.pad(noise, ((0, 0), (silent, 0))), RATE, QUANTUM, reset=False)
    whole = whole[:, silent : silent + late.shape[1] - stage.latency_samples]
    np.testing.assert_array_equal(late[:, stage.latency_samples : stage.latency_samples + whole.shape[1]], whole)


def test_gain_distortion_delay_and_invert_have_their_closed_forms(chain, noise):
    np.testing.assert_allclose(
        chain({"plugin": "Gain", "gain_db": -6}).process(noise), noise * 10 ** (-6 / 20), rtol=1e-5
    )
    np.testing.assert_allclose(
        chain({"plugin": "Distortion", "drive_db": 20}).process(noise), np.tanh(noise * 10), atol=1e-6
    )
    delayed = chain({"plugin": "Delay", "delay_seconds": 0.125, "mix": 0.25}).process(noise)
    expected = 0.75 * noise
    expected[:, 6000:] += 0.25 * noise[:, :-6000]
    np.testing.assert_allclose(delayed, expected, atol=1e-6)
    np.testing.assert_array_equal(chain("Invert", "Invert", "Invert").process(noise), -noise)


def test_a_lowpass_is_3_db_down_at_its_cutoff(chain):
    time = np.arange(RATE) / RATE
    tone = np.tile(np.sin(2 * np.pi * 1000 * time), (2, 1)).astype(np.float32)
    filtered = chain({"plugin": "LowpassFilter", "cutoff_frequency_hz": 1000}).process(tone)
    assert 20 * np.log10(filtered[:, 10_000:].std() / tone[:, 10_000:].std()) == pytest.approx(-3.01, abs=0.05)


def test_a_convolution_applies_the_response_of_each_channel_at_its_own_rate(chain, noise, tmp_path):
    response = np.zeros((300, 2))
    response[0, 0], response[100, 1] = 1.0, 0.5
    soundfile.write(tmp_path / "taps.flac", response, RATE)
    wet = chain({"plugin": "Convolution", "impulse_response_filename": "taps.flac"}).process(noise)
    scale = wet[0] @ noise[0] / (noise[0] @ noise[0])  # pedalboard levels every response
    np.testing.assert_allclose(wet[0], scale * noise[0], atol=1e-5)
    np.testing.assert_allclose(wet[1, 100:], 0.5 * scale * noise[1, :-100], atol=1e-5)


def test_effects_sound_in_the_order_of_the_preset(chain, noise):
    gain, clip = {"plugin": "Gain", "gain_db": 20}, {"plugin": "Clipping", "threshold_db": -6}
    loud, soft = chain(gain, clip).process(noise), chain(clip, gain).process(noise)
    assert np.abs(loud).max() == pytest.approx(10 ** (-6 / 20), rel=1e-3)
    assert np.abs(soft).max() > 2


def test_sound_passes_an_effect_by_that_is_not_on_and_what_turns_it_still_does(chain, noise):
    passed = chain({"plugin": "Distortion", "drive_db": 30.0, "on": False}, {"plugin": "Gain", "gain_db": -6.0})
    passed.set("effects.0.drive_db", 10.0)
    passed.set("effects.1.gain_db", -12.0)
    sound = passed.process(noise)
    assert np.array_equal(sound, chain({"plugin": "Gain", "gain_db": -12.0}).process(noise))
    assert passed.values() == {"effects.0.drive_db": 10.0, "effects.1.gain_db": -12.0}


def test_a_chain_of_nothing_returns_what_it_gets(chain, noise):
    empty = chain()
    np.testing.assert_array_equal(empty.process(noise), noise)
    assert (len(empty), empty.latency_samples, empty.targets()) == (0, 0, {})


KNOBS = [(name, key, limits) for name, table in RANGES.items() for key, limits in table.items()]


@pytest.mark.parametrize(("name", "key", "limits"), KNOBS, ids=[f"{name}.{key}" for name, key, _ in KNOBS])
def test_a_parameter_takes_both_ends_of_its_range_and_the_sound_stays_finite(chain, noise, name, key, limits):
    for rate in (8000, RATE):
        for value in limits:
            turned = chain("Invert", name, rate=rate)
            assert turned.targets()[f"effects.1.{key}"] == limits
            turned.set(f"effects.1.{key}", value)
            expected = min(value, 0.49 * rate) if key == "cutoff_frequency_hz" else value
            assert getattr(turned._stages[1].plugins[0], key) == pytest.approx(expected, rel=1e-4, abs=1e-4)
            sound = turned.process(noise)
            assert np.abs(sound).max() < 1000
            preset = {"plugin": name, **AUDIBLE.get(name, {}), key: value}
            assert getattr(chain(preset, rate=rate)._stages[0].plugins[0], key) == pytest.approx(
                expected, rel=1e-4, abs=1e-4
            )


@pytest.mark.parametrize(("name", "table"), SETTINGS.items())
def test_what_a_preset_sets_for_good_is_no_target_and_is_checked(chain, name, table):
    assert not set(table) & {target.split(".")[2] for target in chain(name).targets()}
    for key, limits in table.items():
        for value in limits if isinstance(limits, tuple) else ():
            plugin = chain({"plugin": name, key: value})._stages[0].plugins[0]
            assert getattr(plugin, key) == pytest.approx(value)


def test_modes_and_switches_are_set_by_name(chain):
    ladder = chain({"plugin": "LadderFilter", "mode": "HPF24"})._stages[0].plugins[0]
    assert ladder.mode == pedalboard.LadderFilter.Mode.HPF24
    limiter = chain({"plugin": "BrickwallLimiter", "true_peak": True})._stages[0].plugins[0]
    assert limiter.true_peak is True


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("Revreb", "plugin 'Revreb' does not exist; did you mean 'Reverb'?"),
        ("PitchShift", "PitchShift gives no sound block by block in pedalboard; use another effect"),
    ],
)
def test_an_effect_that_does_not_exist_or_play_is_refused_by_its_place(chain, plugin, message):
    with pytest.raises(UserError) as refusal:
        chain("Reverb", plugin)
    assert str(refusal.value) == f"[[effects]] 2 ({plugin}): {message}"


@pytest.mark.parametrize(
    ("plugin", "settings", "message"),
    [
        ("Reverb", {"roomsize": 1}, "parameter 'roomsize' does not exist; did you mean 'room_size'?"),
        ("Reverb", {"room_size": 3}, "room_size = 3 is out of range [0, 1]"),
        ("Reverb", {"room_size": float("nan")}, "room_size = nan is out of range [0, 1]"),
        ("Reverb", {"room_size": "big"}, "room_size = 'big' must be a number from 0 to 1"),
        ("Reverb", {"room_size": True}, "room_size = True must be a number from 0 to 1"),
        ("BrickwallLimiter", {"true_peak": 1}, "true_peak = 1 must be one of false, true"),
        (
            "LadderFilter",
            {"mode": "LPF13"},
            'mode = \'LPF13\' must be one of "LPF12", "HPF12", "BPF12", "LPF24", "HPF24", "BPF24"',
        ),
        ("Convolution", {}, "impulse_response_filename is missing; name a sound file"),
        (
            "Convolution",
            {"impulse_response_filename": 3},
            "impulse_response_filename = 3 must be the path of a sound file",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_place_and_what_is_allowed(chain, plugin, settings, message):
    with pytest.raises(UserError) as refusal:
        chain({"plugin": plugin, **settings})
    assert str(refusal.value) == f"[[effects]] 1 ({plugin}): {message}"


def test_a_missing_response_or_plugin_file_is_refused_by_its_path(chain, tmp_path):
    with pytest.raises(UserError, match=rf"cannot read {tmp_path}/none\.wav: there is no such file"):
        chain({"plugin": "Convolution", "impulse_response_filename": "none.wav"})
    with pytest.raises(UserError, match=rf"^\[\[effects\]\] 1 \(none\.vst3\): there is no plugin at {tmp_path}/none"):
        chain({"plugin": "none.vst3"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes as files")
def test_a_response_that_is_no_file_or_too_long_is_refused(chain, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match=r"pipe\.wav is no regular file"):
        chain({"plugin": "Convolution", "impulse_response_filename": "pipe.wav"})
    soundfile.write(tmp_path / "long.flac", np.zeros(61 * 1000 + 1), 1000)  # some hundred bytes
    with pytest.raises(UserError, match=r"long\.flac is longer than 60 seconds; give a shorter one"):
        chain({"plugin": "Convolution", "impulse_response_filename": "long.flac"})


def test_a_file_that_is_no_plugin_is_refused_in_one_line(chain, tmp_path):
    (tmp_path / "words.vst3").write_text("words")
    let_run(tmp_path / "words.vst3")
    with pytest.raises(UserError, match=r"^\[\[effects\]\] 1 \(words\.vst3\): cannot load [^\n]*words\.vst3: [^\n]+$"):
        chain({"plugin": "words.vst3"})


def test_a_rate_that_an_effect_does_not_know_is_refused_in_one_line(chain):
    with pytest.raises(UserError, match=r"^\[\[effects\]\] 1 \(MP3Compressor\): MP3 only supports [^\n]*$"):
        chain("MP3Compressor", rate=96_000)


def test_turning_what_does_not_exist_or_too_far_is_refused(chain):
    reverb = chain("Reverb")
    with pytest.raises(
        UserError, match=r"'effects\.0\.roomsize' does not exist; did you mean 'effects\.0\.room_size'\?"
    ):
        reverb.set("effects.0.roomsize", 0.5)
    with pytest.raises(UserError, match=r"effects\.0\.room_size = 1\.5 is out of range \[0, 1\]"):
        reverb.set("effects.0.room_size", 1.5)


@needs_zam
def test_a_stereo_vst3_plays_and_turns_by_the_ranges_it_states(chain, noise):
    maximizer = chain({"plugin": str(VST3 / "ZaMaximX2.vst3"), "release_ms": 50})
    assert maximizer.targets()["effects.0.threshold_db"] == (-30.0, 0.0)
    assert "effects.0.gain_reduction_db" not in maximizer.targets()  # a meter
    before = maximizer.process(noise).std()
    for low_or_high in maximizer.targets()["effects.0.threshold_db"]:
        maximizer.set("effects.0.threshold_db", low_or_high)
        assert maximizer._stages[0].plugins[0].threshold_db == pytest.approx(low_or_high)
    maximizer.set("effects.0.threshold_db", -20.0)
    assert maximizer.process(noise)[:, 5000:].std() > 1.2 * before


@needs_zam
def test_a_mono_vst3_treats_each_channel_on_its_own(chain, noise):
    noise[1] = 0.0
    settings = {"plugin": str(VST3 / "ZamComp.vst3"), "threshold_db": -40.0, "ratio": 10.0}
    left = chain(settings).process(noise)
    assert left[0].std() < 0.7 * noise[0].std()
    assert np.abs(left[1]).max() < 1e-6
    np.testing.assert_array_equal(chain(settings).process(noise[::-1]), left[::-1])


@needs_zam
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"treshold_db": 0.0}, "parameter 'treshold_db' does not exist; did you mean 'threshold_db'?"),
        ({"threshold_db": 1.0}, "threshold_db = 1 is out of range [-80, 0]"),
        ({"threshold_db": "low"}, "threshold_db = 'low' must be a number from -80 to 0"),
        ({"current_program": "One"}, 'current_program = \'One\' must be one of "Zero", "PoppySnare", "VocalLeveller"'),
    ],
)
def test_a_wrong_parameter_of_a_vst3_is_refused(chain, settings, message):
    plugin = str(VST3 / "ZamComp.vst3")
    with pytest.raises(UserError) as refusal:
        chain({"plugin": plugin, **settings})
    assert str(refusal.value) == f"[[effects]] 1 ({plugin}): {message}"


PAIRS = [(44100, 48000), (44100, 96000), (48000, 44100), (22050, 48000), (16000, 44100), (96000, 44100)]


def resampled(rate_in, rate_out, audio, sizes=(4096,)):
    resampler = Resampler(rate_in, rate_out, audio.shape[0])
    return np.concatenate([through(resampler, audio, sizes), resampler.flush()], axis=1)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("part", [0.003, 0.1, 0.4, 0.45])
def test_a_tone_in_the_pass_band_comes_out_80_db_clean_on_time_and_as_loud(rate_in, rate_out, part):
    frequency = part * min(rate_in, rate_out)
    tone = np.sin(2 * np.pi * frequency * np.arange(rate_in) / rate_in)
    got = resampled(rate_in, rate_out, np.stack([tone, -tone]).astype(np.float32))
    middle = slice(1000, got.shape[1] - 1000)
    time = np.arange(got.shape[1])[middle] / rate_out
    basis = np.stack([np.sin(2 * np.pi * frequency * time), np.cos(2 * np.pi * frequency * time)])
    weights = np.linalg.lstsq(basis.T, got[0, middle].astype(float), rcond=None)[0]
    error = got[0, middle] - weights @ basis
    assert 20 * np.log10(np.linalg.norm(weights @ basis) / np.linalg.norm(error)) > 80
    assert 20 * np.log10(np.hypot(*weights)) == pytest.approx(0, abs=0.01)
    assert abs(np.arctan2(weights[1], weights[0]) / (2 * np.pi * frequency) * rate_out) <= 0.5  # samples
    np.testing.assert_array_equal(got[1], -got[0])


def test_noise_comes_out_as_from_scipys_resampler():
    sos = scipy.signal.butter(12, 12_000, fs=44100, output="sos")  # within both pass bands
    noise = scipy.signal.sosfilt(sos, np.random.default_rng(5).normal(0, 0.2, (2, 44100)))
    expected = scipy.signal.resample_poly(noise, 160, 147, axis=1, window=("kaiser", 12.0))
    got = resampled(44100, 48000, noise.astype(np.float32))
    spectra = [np.fft.rfft(sound[0, 2000:40_000] * np.hanning(38_000))[1000:9000] for sound in (expected, got)]
    delay = np.polyfit(np.arange(1000, 9000), np.unwrap(np.angle(spectra[1] / spectra[0])), 1)[0]
    turned = spectra[0] * np.exp(1j * delay * np.arange(1000, 9000))  # a part of a sample apart
    assert abs(delay * 38_000 / (2 * np.pi)) <= 0.5
    assert 20 * np.log10(np.linalg.norm(turned) / np.linalg.norm(spectra[1] - turned)) > 60


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("sizes", [(1,), (2,), (64,), (65,), (128,), (8193,), (0, 1, 2, 3, 500)], ids=str)
def test_a_resampler_gives_the_same_samples_in_blocks_of_any_size(noise, rate_in, rate_out, sizes):
    noise = noise[:, :3001]
    whole = resampled(rate_in, rate_out, noise, (noise.shape[1],))
    np.testing.assert_array_equal(resampled(rate_in, rate_out, noise, sizes), whole)
    assert abs(whole.shape[1] - noise.shape[1] * rate_out / rate_in) <= 0.5


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_a_resampler_keeps_back_no_more_than_its_latency(noise, rate_in, rate_out):
    resampler = Resampler(rate_in, rate_out)
    for start in range(0, noise.shape[1], 100):
        resampler.process(noise[:, start : start + 100])
        due = (start + 100 - resampler.latency) * rate_out / rate_in
        assert resampler._output_count >= due - 1 - rate_out / rate_in


def test_a_resampler_of_nothing_or_of_one_sample_ends_with_the_right_length():
    assert Resampler(44100, 48000).flush().shape == (2, 0)
    assert resampled(16000, 48000, np.ones((1, 1), np.float32)).shape == (1, 3)


def test_what_lies_above_the_lower_nyquist_frequency_does_not_fold_back():
    tone = np.sin(2 * np.pi * 30_000 * np.arange(96_000) / 96_000)[None].astype(np.float32)
    folded = resampled(96_000, 44_100, tone)[0, 1000:-1000]
    assert 20 * np.log10(folded.std() / tone.std()) < -75


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.1, 1.3])
def test_a_stretched_sound_keeps_its_pitch_and_its_clicks_keep_time(factor):
    time = np.arange(4 * 44100) / 44100
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    heard = np.abs(np.fft.rfft(stretched(tone, 44100, factor)[44100:88200] * np.hanning(44100)))
    assert np.argmax(heard) == 440
    clicks = np.zeros(4 * 44100, np.float32)
    for second in np.arange(0.25, 4, 0.25):
        clicks[round(second * 44100) :][:300] = np.exp(-np.arange(300) / 60) * np.cos(np.arange(300))
    found = np.abs(stretched(clicks, 44100, factor))
    assert len(found) == pytest.approx(len(clicks) / factor, abs=2)
    for second in np.arange(0.25, 3.9, 0.25) / factor:
        first = round((second - 0.03) * 44100)
        assert first + np.argmax(found[first : first + 2646]) == pytest.approx(second * 44100, abs=0.004 * 44100)
