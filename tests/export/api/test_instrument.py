import builtins
import json
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import timbrel
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import MIDI
from timbrel.host.resynthesis.codes import follow

from ...pantry import END, NOTE, midi

RATE = 44_100


@pytest.fixture(scope="module")
def oboe() -> timbrel.Instrument:
    return timbrel.open("gm-oboe")


@pytest.fixture(scope="module")
def sound(oboe: timbrel.Instrument) -> timbrel.Sound:
    return oboe.render([timbrel.Note(60, 0, 0.8, 90)])


def cents(sound: np.ndarray, rate: int, key: float) -> float:
    """Return how far the strongest peak near a key lies from it, by parabola through a windowed spectrum."""
    mono = np.asarray(sound).mean(axis=0)[rate // 5 : rate // 5 + rate // 2]
    levels = np.log(np.abs(np.fft.rfft(mono * np.hanning(len(mono)), 8 * len(mono))) + 1e-12)
    hz = 440 * 2 ** ((key - 69) / 12)
    bins = np.arange(len(levels)) * rate / (8 * len(mono))
    near = np.flatnonzero((bins > hz / 1.06) & (bins < hz * 1.06))
    peak = near[levels[near].argmax()]
    before, at, after = levels[peak - 1 : peak + 2]
    found = (peak + (before - after) / (2 * (before - 2 * at + after))) * rate / (8 * len(mono))
    return float(1200 * np.log2(found / hz))


def test_importing_timbrel_loads_neither_numpy_nor_its_own_rooms() -> None:
    script = "import sys, timbrel; print([m for m in sys.modules if m == 'numpy' or m.startswith('timbrel.')])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_all_promised_names_exist_and_shadow_nothing_of_python() -> None:
    assert {*timbrel.__all__, "open"} <= set(dir(timbrel))
    assert all(getattr(timbrel, name) for name in [*timbrel.__all__, "open"])
    assert not set(timbrel.__all__) & set(dir(builtins))
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        timbrel.opne  # noqa: B018


def test_a_midi_file_gives_the_samples_of_the_command(
    oboe: timbrel.Instrument, tmp_path: Path, timbrel: Callable[..., Any]
) -> None:
    tune, file = tmp_path / "tune.mid", tmp_path / "tune.wav"
    chord = b"".join(b"\x60\x90" + bytes([key, velocity]) for key, velocity in ((60, 100), (64, 70), (67, 0x40)))
    tune.write_bytes(midi(chord + b"\x83\x60\x80\x3c\x00\x00\x80\x40\x00\x00\x80\x43\x00" + NOTE + END))
    found = oboe.render(tune, sample_rate=48_000)
    assert timbrel("render", "gm-oboe", tune, "-o", file, "--float", "--rate", "48000").status == 0
    written, rate = soundfile.read(file, dtype="float32")
    assert (rate, found.sample_rate, found.dtype) == (48_000, 48_000, np.float32)
    np.testing.assert_array_equal(found, written.T)


def test_notes_sound_at_their_keys_for_their_time(oboe: timbrel.Instrument) -> None:
    found = oboe.render([timbrel.Note(69, 0.25, 1.0)])
    assert abs(cents(found, RATE, 69)) < 3
    level = np.abs(found).max(axis=0)
    assert level[: RATE // 4].max() == 0
    assert level[RATE // 4 : RATE // 4 + RATE // 20].max() > 0.01
    assert found.seconds < 2.5


def test_knobs_change_the_sound_from_their_moment_on(oboe: timbrel.Instrument) -> None:
    note = [timbrel.Note(60, 0, 1.0)]
    plain, moved = oboe.render(note), oboe.render(note, knobs={"gain": [(0.5, 0.83), (0.52, 0.4)]})
    gain = oboe.knobs["gain"]
    levels = [np.abs(moved[:, round(at * RATE) : round((at + 0.1) * RATE)]).max() for at in (0.3, 0.7)]
    ratio = 20 * np.log10(levels[1] / levels[0])
    before = np.abs(plain[:, round(0.7 * RATE) : round(0.8 * RATE)]).max()
    steady = 20 * np.log10(before / np.abs(plain[:, round(0.3 * RATE) : round(0.4 * RATE)]).max())
    assert ratio - steady == pytest.approx((0.4 - 0.83) * (gain.high - gain.low), abs=0.5)


def test_every_knob_is_listed_with_its_range(oboe: timbrel.Instrument) -> None:
    assert oboe.knobs["brightness"].target == "latent.0"
    assert all(knob.low <= knob.rest <= knob.high for knob in oboe.knobs.values())
    targets = [knob.target for knob in oboe.knobs.values()]
    assert len(set(targets)) == len(targets)
    assert "envelope.release_seconds" in targets


def test_presets_and_models_are_listed_as_the_command_lists_them(timbrel: Callable[..., Any]) -> None:
    import timbrel as package

    words = [line.split(maxsplit=1)[0] for line in timbrel("presets").out.splitlines() if line]
    assert sorted({*package.preset_names(), *package.model_names()}) == sorted({*words} - {"preset", "model"})
    assert package.preset_names()[:2] == ["digits-keys", "drum-kit"]
    assert all(package.open(name).kind for name in package.model_names()[:2])


def test_the_card_is_that_of_the_command_and_its_own_copy(
    oboe: timbrel.Instrument, timbrel: Callable[..., Any]
) -> None:
    card = oboe.card
    told = json.loads(timbrel("info", "gm-partials-8", "--json").out)
    assert card == {name: told[name] for name in told if name not in ("gesture", "map")}
    card["latents"].clear()
    assert len(oboe.card["latents"]) == 8


def test_landmarks_labels_and_the_hop_are_those_of_the_model(oboe: timbrel.Instrument) -> None:
    assert [landmark.label for landmark in oboe.landmarks] == [one["label"] for one in oboe.card["landmarks"]]
    assert oboe.landmarks[3].code == pytest.approx(oboe.card["landmarks"][3]["latent"])
    assert oboe.landmarks[3].code.dtype == np.float32
    assert (oboe.labels, oboe.hop_seconds) == ((), 1024 / 44_100)
    digits = timbrel.open("digits-gan")
    assert (digits.labels, digits.hop_seconds) == (tuple("0123456789"), 8192 / 8000)


def test_channels_take_other_presets_or_are_muted(oboe: timbrel.Instrument) -> None:
    tune = MIDI / "digits-keys.mid"
    plain = oboe.render(tune, tail_seconds=1)
    other = oboe.render(tune, channels={1: "gm-keys"}, tail_seconds=1)
    assert not np.array_equal(plain, other)
    with pytest.warns(UserWarning, match="every channel that has notes is left out"):
        assert not oboe.render(tune, channels={1: None}, tail_seconds=1).any()
    with pytest.raises(timbrel.UserError, match="channel 17 is out of range"):
        oboe.render(tune, channels={17: None})


def test_a_note_on_a_key_that_a_kit_does_not_play_is_told() -> None:
    kit = timbrel.open("stereo-kit")
    line = "the notes: 1 of 2 notes make no sound: preset 'stereo-kit' plays keys 35 to 81, and not key 10"
    with pytest.warns(UserWarning, match=line):
        kit.render([timbrel.Note(10), timbrel.Note(36)], seconds=0.1)


def test_codes_of_a_note_decode_to_its_spectrum(oboe: timbrel.Instrument, sound: timbrel.Sound) -> None:
    codes = oboe.encode(sound)
    assert codes.dtype == np.float32
    assert codes.shape[1] == len(oboe.latents) == 8
    again = oboe.decode(codes, key=60, clamp=True)
    assert again.seconds >= len(codes) * 1024 / RATE
    assert abs(cents(again, RATE, 60)) < 3
    strangers = oboe.decode(np.zeros_like(codes), key=60, clamp=True)

    def bands(heard: np.ndarray) -> np.ndarray:
        part = np.asarray(heard).mean(axis=0)[RATE // 4 : RATE // 2]
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        edges = np.geomspace(20, len(power) - 1, 25).astype(int)
        levels = 10 * np.log10(np.add.reduceat(power, edges)[:-1] + 1e-9)
        return levels - levels.mean()

    assert np.abs(bands(again) - bands(sound)).mean() < 3.5
    assert np.abs(bands(strangers) - bands(sound)).mean() > 7


def test_frames_without_sound_take_the_code_before_them(oboe: timbrel.Instrument, sound: timbrel.Sound) -> None:
    heard = np.asarray(sound)[:, : RATE // 2]
    codes = oboe.encode(np.pad(heard, ((0, 0), (0, RATE))), RATE)
    assert len(codes) == (heard.shape[1] + RATE - 4096) // 1024 + 1
    np.testing.assert_array_equal(codes[-1], codes[-20])


def test_codes_lie_in_the_frames_whose_middles_they_were_measured_at(
    oboe: timbrel.Instrument, sound: timbrel.Sound, tmp_path: Path
) -> None:
    heard = np.pad(np.asarray(sound)[:, : RATE // 2], ((0, 0), (10_000, RATE // 4)))
    timbrel.Sound(heard, RATE).save(tmp_path / "note.wav")
    track = follow(tmp_path / "note.wav", open_patch("gm-oboe").model)
    codes = oboe.encode(tmp_path / "note.wav")
    frames = np.rint((track.seconds * RATE - 4096 / 2) / 1024).astype(int)
    assert frames[0] > 5
    np.testing.assert_array_equal(codes[frames], track.codes)
    np.testing.assert_array_equal(codes[: frames[0]], np.broadcast_to(track.codes[0], (frames[0], 8)))


def test_mono_stereo_files_and_other_rates_encode_alike(
    oboe: timbrel.Instrument, sound: timbrel.Sound, tmp_path: Path
) -> None:
    mono = np.asarray(sound).mean(axis=0)
    sound.save(tmp_path / "note.wav")
    expected = oboe.encode(mono, RATE)
    np.testing.assert_allclose(oboe.encode(sound), expected, atol=1e-4)
    np.testing.assert_allclose(oboe.encode(tmp_path / "note.wav")[:30], expected[:30], atol=1e-3)  # before the tail


def test_recover_and_process_are_the_commands(
    oboe: timbrel.Instrument, sound: timbrel.Sound, tmp_path: Path, timbrel: Callable[..., Any]
) -> None:
    found = oboe.recover(sound, method="network")
    assert found.code.shape == (8,)
    assert found.figures["log_mel_db"] < 12
    assert found.sound.shape[1] > RATE // 4
    bent = oboe.process(sound, to="Violin", amount=0.5)
    assert bent.shape == (1, sound.shape[1])
    sound.save(tmp_path / "in.wav")
    asked = ["--preset", "gm-oboe", "--to", "Violin", "--amount", "0.5", "-o", tmp_path / "out.wav"]
    assert timbrel("process", tmp_path / "in.wav", *asked).status == 0
    by_command, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    np.testing.assert_allclose(bent[0], by_command, atol=1e-3)


def test_instruments_and_what_they_recover_can_be_pickled(oboe: timbrel.Instrument, sound: timbrel.Sound) -> None:
    knobs = oboe.knobs
    copied = pickle.loads(pickle.dumps(oboe))
    assert copied.knobs == knobs
    np.testing.assert_array_equal(copied.render([timbrel.Note(60, 0, 0.8, 90)]), sound)
    found = oboe.recover(sound, method="network")
    assert pickle.loads(pickle.dumps(found)).figures == found.figures


def test_threads_give_the_same_samples(oboe: timbrel.Instrument) -> None:
    notes = [timbrel.Note(60, 0, 0.3), timbrel.Note(67, 0.1, 0.3)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: oboe.render(notes, tail_seconds=0.5), range(6)))
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_clip_has_one_code_and_its_own_length() -> None:
    digits = timbrel.open("digits-gan")
    with pytest.raises(timbrel.UserError, match="a clip of model 'digits-gan' has one"):
        digits.decode(np.zeros((2, 16)))
    three, eight = (digits.decode(np.zeros(16), label=label) for label in "38")
    assert not np.array_equal(three, eight)
    assert digits.encode(three).shape == (1, 16)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("timbrel.open('gm-obo')", "no preset, model or file is named 'gm-obo'; did you mean 'gm-oboe'?"),
        ("oboe.render('no.mid')", "cannot read no.mid: there is no such file"),
        ("oboe.render([], sample_rate=8000)", "a sample rate of 8000 Hz"),
        ("oboe.encode(np.zeros(9000))", "samples have no rate of their own"),
        ("oboe.encode(np.zeros(90000), 44100)", "the recording is silent"),
        ("oboe.encode(np.full(90000, np.nan), 44100)", "samples that are not finite"),
        ("oboe.encode(np.zeros(9000, int), 44100)", "a recording of int64, 2 dimensions: give a sound"),
        ("oboe.encode(np.ones(1000), 44100)", "the recording lasts"),
        ("oboe.decode([1, 2])", "codes of shape (2,)"),
        ("oboe.decode(np.full(8, np.inf))", "takes finite numbers"),
        ("oboe.decode(np.zeros(8), key=300)", "key 300 is out of range"),
        ("oboe.decode(np.zeros(8), label='3')", "has no labels"),
        ("oboe.process('no.wav', amount=.5)", "amount 0.5 of which way"),
        ("oboe.render('no.mid', tail_seconds=float('inf'))", "tail_seconds inf is not finite"),
        ("oboe.render([], channels={'1': None})", "channel '1' is not a whole number"),
        ("oboe.render_many(timbrel.Note(60))", "is one sound's music; give a list, or call render"),
        ("oboe.render_many('tune.mid')", "notes 'tune.mid' is one sound's music"),
        ("oboe.render_many(5)", "notes 5 is no list"),
        ("oboe.encode(None)", "a recording None: give a sound file's path"),
        ("oboe.encode([[1.0], [1.0, 2.0]], 44100)", "a recording [[1.0], [1.0, 2.0]]: give a sound file's path"),
        ("oboe.encode(timbrel.Sound(np.ones((1, 9000)), 44100), 0)", "a sample rate of 0 Hz"),
        (
            "oboe.encode(timbrel.Sound(np.ones((1, 90000)), 44100), 48000)",
            "sample_rate 48000: the recording has 44100 Hz of its own; leave sample_rate out",
        ),
        ("oboe.process(FILE, 48000)", "sample_rate 48000: the recording has 22050 Hz of its own"),
        ("oboe.recover(FILE, '22050')", "sample_rate '22050' is no number"),
        ("oboe.decode(np.full((400, 8), 'a'))", "give [frames, 8]"),
        ("oboe.process('no.wav', to=5)", "to 5 is no path"),
        ("oboe.process('no.wav', amount='x')", "amount 'x' is no number"),
        ("timbrel.open(None)", "name None is no path; give a text or a pathlib.Path"),
        ("timbrel.open(b'gm-oboe')", "name b'gm-oboe' is no path"),
        ("oboe.encode(np.zeros((9000, 2)), 44100)", "a recording of 9000 channels: give [channels, samples]"),
        ("oboe.encode(np.zeros(9000), 1000)", "a sample rate of 1000 Hz"),
        ("oboe.decode([['a'] * 8])", "are no numbers"),
        ("oboe.recover(np.ones(90000), 44100, method='bogus')", "method 'bogus': give one of network"),
        ("timbrel.play(oboe, null=True, rate=1)", "rate (Hz): 1 is out of range; give 8000 to 192000"),
        ("timbrel.play(oboe, null=True, rate=44100.5)", "rate (Hz): 44100.5 is not a whole number"),
        ("timbrel.play(oboe, null=True, block=64.5)", "block 64.5 is not a whole number"),
        ("timbrel.play(oboe, null=True, device=5)", "device 5 is no text"),
        ("timbrel.play(oboe, null=True, midi_ports=5)", "midi_ports 5 is no list"),
        ("timbrel.play(oboe, null=True, midi_ports=[5])", "midi_ports: 5 is no text"),
        ("timbrel.Sound(np.zeros((2, 9)), 44100).save(5)", "path 5 is no path"),
        (
            "timbrel.Sound(np.zeros((900, 2)), 44100).save('nothing')",
            "a sound of shape (900, 2) has not 1 to 8 channels",
        ),
        ("timbrel.Sound(np.zeros((1, 2, 9)), 44100).save('nothing')", "a sound of shape (1, 2, 9) has not 1 to 8"),
        ("timbrel.Sound(np.zeros((2, 9), np.int16), 44100)", "samples of int16 are no floats within ±1; divide them"),
        ("timbrel.Sound([1, -1], 44100)", "samples of int64 are no floats within ±1"),
        ("timbrel.Sound(np.zeros((2, 9)), 44100).astype(np.int16).save('nothing.wav')", "samples of int16 are no"),
        ("timbrel.make(None, 'nothing')", "sounds None is no list"),
        ("timbrel.make('no.wav', None)", "output None is no path"),
        ("timbrel.make('no.wav', 'nothing', minutes='x')", "minutes 'x' is no number"),
        ("timbrel.make('no.wav', 'nothing', family='nope')", "--family 'nope' is unknown; give auto, "),
        ("timbrel.make('no.wav', 'nothing', family=5)", "family 5 is no text; give one in quotes"),
        ("timbrel.make('no.wav', 'nothing', license=5)", "license 5 is no text"),
        (
            "timbrel.Sound(np.ones((2, 9)), 44100) + timbrel.Sound(np.ones((2, 9)), 48000)",
            "sounds of 44100 Hz and 48000",
        ),
        ("timbrel.open('drum-loops').encode(np.ones(90000), 44100)", "have no codes of sounds"),
        ("timbrel.Sound('x', 44100)", "samples 'x' are no numbers; give an array of them"),
        ("timbrel.Sound([[1], [1, 2]], 44100)", "samples [[1], [1, 2]] are no numbers"),
        ("timbrel.Sound(np.zeros(9), 'x')", "sample_rate 'x' is no number; give one"),
        ("timbrel.Sound(np.zeros(9), -1)", "sample_rate -1 is out of range; give at least 0"),
        ("timbrel.Sound(np.zeros(9), 44100.5)", "sample_rate 44100.5 is not a whole number"),
        ("timbrel.open('gm-oboe', trust='no')", "trust 'no' is neither True nor False; give one of them"),
        ("timbrel.play(oboe, null='no')", "null 'no' is neither True nor False"),
        ("oboe.decode(np.zeros(8), clamp='no')", "clamp 'no' is neither True nor False"),
        ("timbrel.Sound(np.zeros((2, 9)), 44100).save('nothing', overwrite=1)", "overwrite 1 is neither True nor"),
        ("timbrel.make('no.wav', 'nothing', recordings='no')", "recordings 'no' is neither True nor False"),
        ("timbrel.open('')", "name '' is no path; give a text or a pathlib.Path"),
        ("timbrel.make([], 'nothing')", "give sounds to make an instrument of"),
    ],
)
def test_errors_are_those_of_the_commands(oboe: timbrel.Instrument, tmp_path: Path, call: str, said: str) -> None:
    soundfile.write(tmp_path / "noise.wav", np.zeros(9), 22050)
    with pytest.raises(timbrel.UserError, match=re.escape(said)) as caught:
        eval(call, {"timbrel": timbrel, "oboe": oboe, "np": np, "FILE": str(tmp_path / "noise.wav")})
    assert "\n" not in str(caught.value)
    assert not Path("nothing").exists()


def test_a_rate_may_be_a_float_or_a_number_of_numpy() -> None:
    given_rates: list[Any] = [44100.0, np.int64(44100), np.float32(44100)]
    rates = [timbrel.Sound(np.zeros(9), rate).sample_rate for rate in given_rates]
    assert rates == [44100] * 3
    assert {type(rate) for rate in rates} == {int}


def test_sounds_are_arrays_that_keep_their_rate(sound: timbrel.Sound, tmp_path: Path) -> None:
    louder = 2 * sound[:, 100:]
    assert isinstance(louder, timbrel.Sound)
    assert louder.sample_rate == RATE
    assert isinstance(sound.max(), np.float32)
    copied = pickle.loads(pickle.dumps(sound))
    assert copied.sample_rate == RATE
    np.testing.assert_array_equal(copied, sound)
    path = sound.save(tmp_path / "sound.flac")
    written, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(written.T, sound, atol=2e-7)
    with pytest.raises(timbrel.UserError, match="exists; give another name, or overwrite=True to replace it"):
        sound.save(path)
    for joined in (np.concatenate([sound, sound], axis=1), np.hstack([sound, sound]), np.pad(sound, ((0, 0), (9, 9)))):
        assert isinstance(joined, timbrel.Sound)
        assert joined.sample_rate == RATE
    assert sound.T._repr_html_() is None
    assert (sound * np.nan)._repr_html_() is None


def test_a_sound_beyond_full_scale_is_clipped_with_a_warning(sound: timbrel.Sound, tmp_path: Path) -> None:
    louder = sound / np.abs(sound).max() * np.float32(1.25)
    with pytest.warns(UserWarning, match=re.escape("loud.wav is clipped: its samples reach 1.25, and 1 is")) as caught:
        path = louder.save(tmp_path / "loud.wav")
    assert caught[0].filename == __file__
    assert soundfile.read(path)[0].max() == pytest.approx(1, abs=1e-6)
    with warnings.catch_warnings(action="error"):
        (louder / louder.max().clip(-louder.min())).save(tmp_path / "full.wav")


def test_notebooks_show_a_player_a_picture_and_the_knobs(oboe: timbrel.Instrument, sound: timbrel.Sound) -> None:
    shown = sound._repr_html_()
    assert shown is not None
    assert "data:audio/flac;base64," in shown
    assert "data:image/png;base64," in shown
    assert "brightness" in oboe._repr_html_()
    assert repr(oboe) == "<timbrel.Instrument 'gm-oboe': partials, 8 latents>"
    assert timbrel.Sound(np.zeros((2, 0)), RATE)._repr_html_() is None
