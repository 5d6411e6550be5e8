"""A rendered file lasts until its sound has died away, and no longer."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from timbrel.host.events import ControlChange
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import FADE_SECONDS

from .performances import RATE, SHORT, note, performance

ZAM = Path("/usr/lib/vst3/ZamDelay.vst3")


def test_the_tail_lasts_until_silence_and_no_longer(rendered, make_patch):
    tune = performance(note(60, 0, 10_000), 0.5)
    short, _ = rendered({0: make_patch(envelope=SHORT)}, tune)
    assert 0.5 * RATE <= short.shape[1] <= 0.5 * RATE + 16_384
    ringing = {"envelope": {"release_seconds": 3.0}}
    long, _ = rendered({0: make_patch(**ringing)}, tune, "long.wav")
    ended = 10_000 + 3 * RATE
    assert ended <= long.shape[1] <= ended + 2 * 16_384
    assert np.abs(long[:, ended - 40_000 : ended]).max() > 0


def test_a_reverb_rings_out_after_the_voices_have_ended(rendered, make_patch):
    tune = performance(note(60, 0, 10_000), 0.5)
    effects = [{"plugin": "Reverb", "room_size": 0.6}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, tune)
    assert audio.shape[1] > 2 * RATE
    assert 0 < np.abs(audio[:, -16_384:]).max() < 1e-3


def test_an_echo_after_a_silence_is_waited_for(rendered, make_patch):
    tune = performance(note(60, 0, 4000), 0.1)
    effects = [{"plugin": "Delay", "delay_seconds": 1.9, "feedback": 0.3}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, tune)
    assert np.abs(audio[:, round(5.7 * RATE) : round(5.8 * RATE)]).max() > 1e-3  # the third echo


ECHO = {"plugin": "Delay", "delay_seconds": 3.0, "feedback": 0.0, "mix": 0.5}


@pytest.mark.parametrize(
    ("effects", "seconds"),
    [([ECHO], 3), ([ECHO | {"delay_seconds": 7.0}], 7), ([ECHO, ECHO | {"delay_seconds": 4.5}], 7.5)],
    ids=["3 s", "7 s", "one after another"],
)
def test_an_echo_of_a_short_note_is_in_the_file_however_late_it_comes(rendered, make_patch, effects, seconds):
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, performance(note(60, 0, 4000), 0.1))
    echo = audio[:, round(seconds * RATE) : round((seconds + 0.1) * RATE)]
    assert np.abs(echo).max() > 0.01
    assert audio.shape[1] < (seconds + 1.0) * RATE  # and what comes after it is left out


def test_an_echo_later_than_the_tail_is_left_out(rendered, make_patch):
    tune = performance(note(60, 0, 4000), 0.1)
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=[ECHO])}, tune, tail_seconds=2.5)
    assert audio.shape[1] < 2.6 * RATE


def test_what_a_convolution_repeats_after_a_gap_is_waited_for(rendered, make_patch, tmp_path):
    response = np.zeros(round(2.6 * RATE))
    response[[0, -1]] = 1.0
    soundfile.write(tmp_path / "far.wav", response, RATE)
    effects = [{"plugin": "Convolution", "impulse_response_filename": str(tmp_path / "far.wav"), "mix": 1.0}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, performance(note(60, 0, 4000), 0.1))
    assert np.abs(audio[:, round(2.6 * RATE) : round(2.7 * RATE)]).max() > 0.01


def test_a_delay_that_a_knob_made_shorter_is_waited_for_as_long_as_it_was(make_patch):
    knob = {"number": 20, "target": "effects.0.delay_seconds", "low": 0.1, "high": 8.0}
    rack = Rack({0: make_patch(effects=[ECHO], cc=[knob]), 1: make_patch(effects=[{"plugin": "Chorus"}])}, RATE)
    assert rack.pause_seconds == 3.0
    for value, at in ((127, 100), (0, 3000)):
        rack.process([ControlChange(at, 0, 20, value)], 20_000)
    assert rack.pause_seconds == pytest.approx(8.0)


@pytest.mark.skipif(not ZAM.exists(), reason="needs VST3 plugins: apt-get install zam-plugins")
def test_a_plugin_that_cannot_be_asked_is_waited_for_to_the_end_of_the_tail(rendered, make_patch, monkeypatch):
    monkeypatch.setattr("timbrel.host.audio.effects.may_run", lambda path: True)
    effects = [{"plugin": str(ZAM), "time_ms": 8000.0}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, performance(note(60, 0, 4000), 0.1))
    assert np.abs(audio[:, round(7.9 * RATE) : round(8.2 * RATE)]).max() > 1e-3


def test_a_voice_is_waited_for_however_soft_it_is(rendered, make_patch):
    tune = performance(note(60, 0, 10_000, velocity=1), 0.5)
    audio, _ = rendered({0: make_patch(envelope={"release_seconds": 5.0}, play={"gain_db": -6.0})}, tune)
    assert np.abs(audio).max() < 10 ** (-90 / 20)
    assert audio.shape[1] > 10_000 + 5 * RATE - 16_384


@pytest.mark.parametrize("tail", [0.0, 0.1, 1.0])
def test_the_tail_is_never_longer_than_asked_for(rendered, make_patch, tail):
    endless = {"effects": [{"plugin": "Reverb", "room_size": 1.0}], "envelope": {"release_seconds": 30.0}}
    tune = performance(note(60, 0, 10_000), 0.5)
    audio, _ = rendered({0: make_patch(**endless)}, tune, tail_seconds=tail)
    assert audio.shape[1] == round((0.5 + tail) * RATE)
    assert np.abs(audio[:, -100:]).max() > 0


def test_a_tail_that_is_cut_fades_out_and_the_end_of_a_file_without_one_does_not(rendered, make_patch):
    """A sustained note of an endless release would end in a click."""
    endless, tune = {"envelope": {"release_seconds": 30.0}}, performance(note(60, 0, 24_000), 0.5)
    patches = {0: make_patch(**endless)}
    cut, longer, none = (
        rendered(patches, tune, f"{tail}.wav", tail_seconds=tail, as_float=True)[0] for tail in (1.0, 2.0, 0.0)
    )
    fade, length = round(FADE_SECONDS * RATE), cut.shape[1]
    assert np.array_equal(cut[:, : length - fade], longer[:, : length - fade])
    line = np.arange(fade - 1, -1, -1) / fade
    assert np.allclose(cut[:, length - fade :], longer[:, length - fade : length] * line, atol=1e-7)
    assert np.array_equal(none, longer[:, : none.shape[1]])
    assert np.abs(longer[:, length - 1]).max() > 0
