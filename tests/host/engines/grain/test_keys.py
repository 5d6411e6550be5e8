"""Keys, pedals, fingers and presets of textures; and what a model of grains cannot do."""

import json

import numpy as np
import pytest
from scipy.signal import welch
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch

from .grains import LENGTH, RATE, grain_instrument, level_db, slope


@pytest.fixture(scope="module")
def sine(grain_model):
    return grain_model(np.sin(2 * np.pi * 1000.0 * np.arange(8192) / RATE), frame_length=8192, hop_length=2048)


def highest(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 17))
    return np.argmax(spectrum) * RATE / (1 << 17)


@pytest.mark.parametrize(("keys", "moved"), [("transpose", 12), ("trigger", 0), ("hold", 0)])
def test_keys_move_the_pitch_only_where_they_transpose_and_bends_always(sine, tmp_path, play, keys, moved):
    for bend, semitones in ((0, moved), (8191, moved + 2)):
        instrument = grain_instrument(sine, tmp_path, {"density": 0.1, "keys": keys})
        heard = play(instrument, [PitchBend(0, 0, bend), NoteOn(2000, 0, 72, 100)], 16_000)[0]
        assert highest(heard[2000:]) == pytest.approx(1000 * 2 ** (semitones / 12), rel=1e-3)


def test_a_held_key_goes_on_until_it_is_pressed_again(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    heard = play(
        instrument,
        [NoteOn(0, 0, 60, 100), NoteOff(500, 0, 60), NoteOn(20_000, 0, 60, 100), NoteOff(20_100, 0, 60)],
        24_000,
        [512],
    )
    assert level_db(heard[:, 15_000:19_000]) > -50
    assert np.all(heard[:, 20_100:] == 0)


@pytest.mark.parametrize("controller", [120, 123])
def test_all_notes_off_ends_what_is_held_and_the_key_begins_anew(noise, tmp_path, play, controller):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    events = [NoteOn(0, 0, 60, 100), NoteOff(500, 0, 60), ControlChange(5000, 0, controller, 0)]
    heard = play(instrument, [*events, NoteOn(10_000, 0, 60, 100), NoteOff(10_500, 0, 60)], 14_000, [512])
    assert np.all(heard[:, 6000:10_000] == 0)
    assert level_db(heard[:, 11_000:]) > -50


def test_a_pedal_holds_what_a_held_key_lets_go(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    events = [NoteOn(0, 0, 60, 100), NoteOff(100, 0, 60), ControlChange(200, 0, 64, 127), NoteOn(300, 0, 60, 9)]
    heard = play(instrument, [*events, NoteOff(400, 0, 60), ControlChange(8000, 0, 64, 0)], 12_000, [512])
    assert level_db(heard[:, 2000:7900]) > -50
    assert np.all(heard[:, 8100:] == 0)


def test_a_key_that_only_the_pedal_holds_begins_anew(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"})
    presses = [NoteOn(time, 0, 60, 100) for time in (0, 300, 600)]  # on, off into the pedal, on again
    events = [presses[0], ControlChange(200, 0, 64, 127), *presses[1:], ControlChange(3000, 0, 64, 0)]
    assert level_db(play(instrument, events, 12_000, [512])[:, 5000:]) > -50


def test_a_voice_that_gave_way_is_begun_anew_by_its_key(noise, tmp_path, play):
    instrument = grain_instrument(noise, tmp_path, {"keys": "hold"}, play={"voices": 1})
    events = [NoteOn(0, 0, 60, 100), NoteOn(1000, 0, 62, 100), NoteOn(5000, 0, 60, 100)]
    play(instrument, events, 8000, [512])
    assert instrument.sounding == 1


def test_two_keys_sound_as_two_voices_with_grains_of_their_own(noise, tmp_path, play):
    one, two = (
        play(grain_instrument(noise, tmp_path), [NoteOn(0, 0, 60 + n, 100) for n in range(keys)], 60_000, [2048])
        for keys in (1, 2)
    )
    assert level_db(two) - level_db(one) == pytest.approx(3.0, abs=0.5)


def test_pressing_a_finger_harder_moves_the_latent_of_its_note(noise, tmp_path, play):
    from timbrel.host.events import ChannelPressure

    def dark(pressure):
        keys = {"mpe": {"enabled": True, "pressure": "latent.0"}}
        events = [ChannelPressure(0, 1, pressure), NoteOn(1000, 1, 60, 100)]
        heard = play(grain_instrument(noise, tmp_path, **keys), events, 30_000, [2048])[0]
        hz, power = welch(heard, RATE)
        return power[hz < 2000].sum() / power[hz > 6000].sum()

    assert dark(127) > 1.3 * dark(0)


def test_a_knob_learns_a_grains_density_over_its_whole_range(grain_path, tmp_path):
    from timbrel.host.preset.learn import learn

    path = grain_path(np.ones(LENGTH))
    (tmp_path / "p.toml").write_text(f'format = 1\nmodel = "{path}"\n', encoding="utf-8")
    moves = [(0.1 * n, ControlChange(0, 0, 30, 10 * n)) for n in range(10)] + [(5.0, None)]
    learn(str(tmp_path / "p.toml"), "grain.density", moves, lambda line: None)
    assert open_patch(str(tmp_path / "p.toml")).preset.cc[0].low == 0.1


def test_a_bare_model_of_grains_plays(grain_path):
    patch = open_patch(str(grain_path(slope(), domain="magnitude")))
    sound, _ = Rack({0: patch}, 48000).process([NoteOn(0, 0, 60, 100)], 4800)
    assert level_db(sound) > -70


def test_a_chain_of_blocks_longer_than_any_grain_is_silent_after_the_note(noise, tmp_path, play):
    heard = play(grain_instrument(noise, tmp_path), [NoteOn(0, 0, 60, 100), NoteOff(3000, 0, 60)], 40_000, [700])
    assert level_db(heard[:, :3000]) > -50
    assert np.all(heard[:, 3100:] == 0)


@pytest.mark.parametrize(
    ("grain", "words"),
    [
        ({"density": 0}, "= 0 should be greater than or equal to 0.1"),
        ({"density": 100_000}, "less than or equal to 2000"),
        ({"density": 10, "overlap": 0.5}, "give one of them"),
        ({"overlap": 1.0}, "0.99"),
        ({"length": 0}, "0.002"),
        ({"keys": "latch"}, "'transpose', 'trigger' or 'hold'"),
        ({"denisty": 5}, "did you mean 'density'"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_grain_section_is_refused_with_what_is_allowed(tmp_path, grain, words):
    from timbrel.host.preset.loading import read_preset

    lines = [f"{key} = {json.dumps(value)}" for key, value in grain.items()]
    (tmp_path / "p.toml").write_text("\n".join(['format = 1\nmodel = "x"\n[grain]', *lines]), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_preset(tmp_path / "p.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"play": {"unison": 2}}, "play.unison is for models of kind 'spectrum'"),
        ({"play": {"phase": "noise"}}, "play.phase"),
        ({"play": {"mode": "chord"}}, "needs a model whose keys choose the note"),
        ({"play": {"mode": "mono"}, "grain": {"keys": "hold"}}, "grain.keys 'hold' is for play.mode 'poly'"),
        ({"grain": {"lowpass_hz": 12_000}}, "grain.lowpass_hz 12000 is above 11025"),
        ({"cc": [{"number": 1, "target": "grain.overlap", "low": 0, "high": 1}]}, "'grain.overlap' does not exist"),
        ({"cc": [{"number": 1, "target": "grain.density", "low": 0, "high": 10}]}, "out of range [0.1, 2000]"),
        ({"cc": [{"number": 1, "target": "grain.lowpass_hz", "low": 20, "high": 12_000}]}, "range [20, 11025]"),
    ],
)
def test_what_a_model_of_grains_cannot_do_is_refused(noise, tmp_path, keys, words):
    with pytest.raises(UserError) as caught:
        grain_instrument(noise, tmp_path, **keys)
    assert words in str(caught.value)


def test_a_chord_of_grains_is_refused_with_its_line(noise, tmp_path):
    preset = tmp_path / "p.toml"
    preset.write_text(f'format = 1\nmodel = "{noise.path}"\n[play]\nmode = "chord"\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"^preset .*p\.toml, line 4: play\.mode 'chord' needs a model whose keys"):
        open_patch(str(preset))


def test_grains_of_a_model_of_spectra_are_refused(make_instrument):
    with pytest.raises(UserError, match=r"\[grain\] is for models of kind 'grain', 'analytic' is of kind 'spectrum'"):
        make_instrument(grain={"density": 10})
    with pytest.raises(UserError, match=r"target 'grain.density' does not exist"):
        make_instrument(cc=[{"number": 1, "target": "grain.density", "low": 1, "high": 10}])
