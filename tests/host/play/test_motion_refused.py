"""Motions that are wrong, or do not fit their model, are refused with what is allowed."""

import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset.loading import read_preset

from .motions import MAPS, MOTIONS, TIMED_PATH, WALKING, lfo

HEAD = 'format = 1\nmodel = "m.onnx"\n'
TIMED = HEAD + "[[motion]]\npath = [[0.1], [0.2]]\ntimes = [1.0, 1.5]\n"
WALK = HEAD + "[[motion]]\nwalk = { speed = 0.5, bound = 1.0 }\n"
LFO = HEAD + "[[motion]]\ntarget = 'latent.0'\ndepth = 0.1\nrate_hz = 1\n"
WRONG = {
    LFO.replace("target = 'latent.0'", ""): "[[motion]] 1: give one of target (a latent), path (a list of codes), walk",
    LFO + "path = [[0.1], [0.2]]": "give one of target (a latent), path (a list of codes), walk",
    LFO + "walk = { speed = 1, bound = 1 }": "give one of target (a latent), path (a list of codes), walk",
    LFO + "legs = 'linear'": "a target has no legs; leave it out",
    LFO + "times = [1, 2]": "a target has no times; leave it out",
    LFO.replace("rate_hz = 1", ""): "give one of rate_hz (cycles a second) and beats",
    LFO + "beats = 4": "give one of rate_hz (cycles a second) and beats",
    LFO.replace("depth = 0.1", ""): "give depth, or low and high",
    LFO.replace("depth = 0.1", "low = 0.1"): "give depth, or low and high",
    LFO + "low = 0.1\nhigh = 0.2": "give depth, or low and high",
    LFO + "shape = 'sin'": "[[motion]] 1: shape",
    LFO + "phase = 1.5": "[[motion]] 1: phase",
    LFO + "rate = 1": "[[motion]] 1: unknown key 'rate'; did you mean",
    LFO.replace("rate_hz = 1", "rate_hz = 21"): "[[motion]] 1: rate_hz",
    LFO.replace("rate_hz = 1", "rate_hz = 0"): "[[motion]] 1: rate_hz",
    LFO.replace("rate_hz = 1", "beats = 0.1"): "[[motion]] 1: beats",
    LFO.replace("depth = 0.1", "depth = nan"): "[[motion]] 1: depth",
    HEAD + "[[motion]]\npath = [[0.1]]\nbeats = 4": "[[motion]] 1: path",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]": "and beats (quarter notes a cycle), or times (seconds, one a code)",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\nshape = 'sine'": "a path without times has no shape",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\ndepth = 1": "a path without times has no depth",
    HEAD + "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\nloop = true": "a path without times has no loop",
    HEAD + 2 * "[[motion]]\npath = [[0.1], [0.2]]\nbeats = 4\n": "two motions have a path or a walk",
    TIMED.replace("[0.2]", ""): "[[motion]] 1: path",
    TIMED + "beats = 4": "a path with times has no beats; leave it out",
    TIMED + "phase = 0.5\nrate_hz = 1": "a path with times has no phase and no rate_hz; leave it out",
    TIMED.replace("1.5", "1.5, 2"): "times has 3 numbers, path has 2 codes; give 2, one a code",
    TIMED + "loop = true": "times has 2 numbers, path has 2 codes; give 3, one a code, and one when the loop is back",
    TIMED.replace("1.5", "1.0"): "number 2 of times, 1, does not come after the one before, 1; give seconds that rise",
    TIMED.replace("1.5", "0.5, -1") + "loop = true": "[[motion]] 1: times, number 3 = -1",
    TIMED.replace("1.5", "2, 1.5") + "loop = true": "number 3 of times, 1.5, does not come after the one before, 2",
    TIMED.replace("1.5", "inf"): "[[motion]] 1: times, number 2",
    TIMED.replace("1.5", "1e9"): "[[motion]] 1: times, number 2",
    WALK.replace(", bound = 1.0", ""): "[[motion]] 1: walk: a walk needs a bound",
    WALK.replace("0.5", "0"): "[[motion]] 1: walk.speed",
    WALK.replace("0.5", "-1"): "[[motion]] 1: walk.speed",
    WALK.replace("0.5", "nan"): "[[motion]] 1: walk.speed",
    WALK.replace("speed = 0.5, ", ""): "[[motion]] 1: walk.speed",
    WALK.replace("1.0", "0"): "[[motion]] 1: walk.bound",
    WALK.replace("1.0", "inf"): "[[motion]] 1: walk.bound",
    WALK.replace("1.0", "1.0, sede = 3"): "[[motion]] 1: unknown key 'walk.sede'; did you mean 'seed'?",
    WALK.replace("{ speed = 0.5, bound = 1.0 }", "0.5"): "[[motion]] 1: walk",
    WALK + "rate_hz = 1": "a walk has no rate_hz; leave it out",
    WALK + "legs = 'spherical'\nphase = 0.1": "a walk has no legs and no phase; leave it out",
    WALK + WALK.removeprefix(HEAD): "two motions have a path or a walk",
    WALK + TIMED.removeprefix(HEAD): "two motions have a path or a walk",
    "tempo_bpm = 10\n" + HEAD: "tempo_bpm",
    "tempo_bpm = 401\n" + HEAD: "tempo_bpm",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_motion_is_refused_with_what_is_allowed(tmp_path, text):
    path = tmp_path / "made.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_preset(path)
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("motion", "words"),
    [
        (
            lfo(target="latent.2"),
            "[[motion]] 1: target 'latent.2' is no latent of model 'analytic'; did you mean 'latent.",
        ),
        (lfo(target="gain"), "target 'gain' is no latent of model 'analytic'"),
        (
            {"path": [[0.1, 0.2], [0.3]], "beats": 1.0},
            "code 2 of path has 1 numbers, model 'analytic' has 2 latents; give 2",
        ),
        (
            {"path": [[0.1, 0.2], [0.3]], "times": [0, 1]},
            "code 2 of path has 1 numbers, model 'analytic' has 2 latents; give 2",
        ),
    ],
)
def test_a_motion_that_does_not_fit_the_model_is_refused(make_instrument, motion, words):
    with pytest.raises(UserError) as caught:
        make_instrument(motion=[motion])
    assert words in str(caught.value)


@pytest.mark.parametrize("motions", [MOTIONS, [TIMED_PATH], [lfo(), WALKING]], ids=["cycles", "times", "walk"])
def test_a_preset_with_motion_reads_back_as_it_was_written(make_preset, tmp_path, motions):
    preset = make_preset(motion=motions, cc=MAPS, tempo_bpm=97.5)
    path = tmp_path / "made.toml"
    path.write_text(preset.to_toml("moves"))
    assert read_preset(path) == preset
