"""A learned path takes the steps of its file, by seed and number alone: live and rendered to the bit."""

import pickle

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOff, NoteOn, ParameterTouch
from timbrel.host.model.learned_path import LARGEST_BYTES, LearnedPath, path_file
from timbrel.host.model.model import Model
from timbrel.host.play.motions import Latents
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import MODELS

from ..learned_paths import STEP_LENGTH, expected_codes, path_bytes, with_learned_path
from .motions import path_of

SETTINGS = {"learned": {"seed": 7}}


@pytest.fixture(scope="module")
def model(tiny_path, tmp_path_factory):
    return Model(with_learned_path(tiny_path(), tmp_path_factory.mktemp("learned") / "tiny.onnx"))


@pytest.fixture(scope="module")
def make(model):
    def latents(start=(0.5, 0.5), **settings):
        preset = Preset.model_validate({"format": 1, "model": "any", "motion": [{"learned": settings}]})
        return Latents(list(start), model.card, preset.motion, path=LearnedPath(model))

    return latents


def spans(model):
    return np.array(model.card.spans, np.float32).T


@pytest.mark.parametrize(("speed", "seed"), [(1.0, 0), (0.25, 7), (4.0, 9999)])
def test_steps_are_those_of_the_graph_with_noise_of_seed_and_number(make, model, speed, seed):
    """Codes at the steps, and half-way between, against the formula in numpy."""
    latents, samples = make(speed=speed, seed=seed), STEP_LENGTH / speed
    steps = np.concatenate([[[0.5, 0.5]], expected_codes([0.5, 0.5], seed, 40, *spans(model))])
    whole = path_of(latents, [round(number * samples) for number in range(40)])
    between = path_of(latents, [round((number + 0.5) * samples) for number in range(40)])
    tolerance = 2.0 / samples  # times are whole samples
    np.testing.assert_allclose(whole, steps[:40], atol=tolerance)
    np.testing.assert_allclose(between, (steps[:40] + steps[1:41]) / 2, atol=tolerance)


def test_another_seed_is_another_path(make):
    times = range(0, 20_000, 441)
    assert not np.array_equal(path_of(make(seed=1), times), path_of(make(seed=2), times))


def test_a_path_does_not_depend_on_the_times_that_are_asked_for(make):
    whole = path_of(make(seed=3), range(0, 60_000, 1))
    for stride in (1000, 17, 4410):
        latents = make(seed=3)
        for time in range(0, 60_000, stride):
            np.testing.assert_array_equal(latents.row(time), whole[time])
            latents.forget(time)


def test_forgetting_leaves_no_steps_behind_and_computes_those_of_silence(make):
    latents = make()
    latents.forget(100 * STEP_LENGTH)
    ((mover, _),) = latents._movers
    assert sorted(mover._steps) == [100, 101]


PRESET = """format = 1
model = "{model}"

[play]
voices = 4

[grain]
density = 90.0
seed = 5

[envelope]
release_seconds = 0.3

[[motion]]
learned = {{ speed = 2.0, seed = 3 }}
"""


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textures")
    with_learned_path(MODELS / "lakeside-10.onnx", folder / "sea.onnx")
    (folder / "sea.toml").write_text(PRESET.format(model="sea.onnx"))
    return open_patch(str(folder / "sea.toml"))


def played(patch, blocks, rate=44_100, touch=True):
    """A second of two notes, the second in a touch of a knob; events in whichever block they fall."""
    events = [NoteOn(0, 0, 60, 100), NoteOn(9000, 0, 55, 90), NoteOff(30_000, 0, 60)]
    if touch:
        events += [ParameterTouch(12_345, 0, "latent.2", True), ParameterTouch(25_000, 0, "latent.2", False)]
    rack, start, out = Rack({0: patch}, rate), 0, []
    for count in blocks:
        due = [event for event in sorted(events, key=lambda event: event.time) if start <= event.time < start + count]
        out.append(rack.process(due, count)[0])
        start += count
    return np.concatenate(out, axis=1)


def test_live_is_render_to_the_bit_at_awkward_blocks(patch):
    total = 44_100
    whole = played(patch, [4096] * (total // 4096) + [total % 4096])
    assert np.abs(whole).max() > 1e-3
    rng = np.random.default_rng(0)
    for sizes in ([64], [1, 63, 1024], [441], [997, 3], rng.integers(1, 2048, 500).tolist()):
        blocks, left = [], total
        while left:
            blocks.append(min(left, sizes[len(blocks) % len(sizes)]))
            left -= blocks[-1]
        np.testing.assert_array_equal(played(patch, blocks), whole)


def test_a_touched_latent_pauses_and_the_others_walk_on(patch):
    latents = Latents(
        patch.preset.latent_values(patch.model.card), patch.model.card, patch.preset.motion, path=patch.path
    )
    latents.row(10_000)
    latents.hold(10_000, "latent.2", True)
    held = path_of(latents, range(10_000, 20_000, 500))
    assert np.ptp(held[:, 2]) == 0
    assert (np.ptp(held[:, [0, 1, 3]], axis=0) > 0.1).all()


def test_the_sound_differs_from_that_of_a_code_at_rest(patch):
    moving = played(patch, [2048] * 20, touch=False)
    still = Preset.model_validate(patch.preset.model_dump(exclude_unset=True) | {"motion": []})
    assert not np.array_equal(
        moving, played(type(patch)("still", still, patch.model, patch.folder), [2048] * 20, touch=False)
    )


def test_a_patch_goes_to_other_processes_with_its_path(patch):
    again = pickle.loads(pickle.dumps(patch))
    np.testing.assert_array_equal(played(again, [2048] * 10), played(patch, [2048] * 10))


def test_a_path_is_reloaded_with_its_preset_when_its_file_changes(patch):
    assert path_file(patch.model.path) in patch.files


def test_a_reference_is_proved(model):
    verdict = LearnedPath(model).verify()
    assert verdict.passed
    assert verdict.points == verdict.width == 24


@pytest.mark.parametrize("changed", [0, 11])
def test_a_reference_that_differs_in_any_step_fails(tiny_path, tmp_path, changed):
    codes = expected_codes([0.5, 0.5], 5, 12, 0.0, 1.0)
    codes[changed, 1] += 0.01
    model = Model(with_learned_path(tiny_path(), tmp_path / "tiny.onnx", start=[0.5, 0.5], codes=codes.tolist()))
    assert not LearnedPath(model).verify().passed


def test_verify_proves_the_path_too(timbrel, tiny_path, tmp_path):
    good = with_learned_path(tiny_path(), tmp_path / "good.onnx")
    ended = timbrel("verify", good)
    assert ended.status == 0
    assert "good.onnx: its learned path passes: off by" in ended.out
    bad = with_learned_path(tiny_path(), tmp_path / "bad.onnx", tolerance=-1.0)
    ended = timbrel("verify", bad)
    assert ended.status == 1
    assert "bad.onnx: its learned path FAILS: off by" in ended.out
    path_file(good).unlink()
    ended = timbrel("verify", good)
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "good.path.onnx does not exist, the learned path of" in ended.err


def damage_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


FAULTS = {
    "missing": (lambda path: path.unlink(), r"tiny\.path\.onnx does not exist, the learned path of .*tiny\.onnx; copy"),
    "damaged": (damage_byte, r"is not the learned path that the card of .*tiny\.onnx names .*damaged, or of another"),
    "of another model": (lambda path: path.write_bytes(path_bytes(3)), "is not the learned path that the card"),
    "large": (lambda path: path.write_bytes(bytes(LARGEST_BYTES + 1)), "give a smaller file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory; copy both again"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_are_not_the_model_s_path_are_refused_in_a_line(tiny_path, tmp_path, fault):
    spoil, message = FAULTS[fault]
    path = with_learned_path(tiny_path(), tmp_path / "tiny.onnx")
    spoil(path_file(path))
    (tmp_path / "a.toml").write_text('format = 1\nmodel = "tiny.onnx"\n[[motion]]\nlearned = {}\n')
    with pytest.raises(UserError, match=message) as refused:
        open_patch(str(tmp_path / "a.toml"))
    assert len(refused.value.args) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"card": "{"}, "its card is not JSON"),
        ({"card": "[1]"}, "its card is not valid"),
        ({"card": "{}"}, "its card is not valid: format: Field required"),
        ({"start": [0.5]}, "codes of its reference have not 2 numbers"),
    ],
)
def test_paths_with_wrong_cards_are_refused(tiny_path, tmp_path, changes, message):
    model = Model(with_learned_path(tiny_path(), tmp_path / "tiny.onnx", **changes))
    with pytest.raises(UserError, match=message):
        LearnedPath(model)


def test_a_graph_of_other_shapes_is_refused(tiny_path, tmp_path):
    model = Model(with_learned_path(tiny_path(), tmp_path / "tiny.onnx"))
    model.card.learned_path.state = 3
    with pytest.raises(UserError, match=r"its graph has .*'state': \[2\].* the model's card .*'state': \[3\]"):
        LearnedPath(model)


def test_codes_that_are_not_finite_are_refused(tiny_path, tmp_path):
    from onnx import helper

    nodes = [
        helper.make_node("Log", ["spread"], ["log"]),
        helper.make_node("Sqrt", ["log"], ["nan"]),
        helper.make_node("Add", ["code", "nan"], ["code_next"]),
        helper.make_node("Identity", ["state"], ["state_next"]),
    ]
    learned = LearnedPath(Model(with_learned_path(tiny_path(), tmp_path / "tiny.onnx", nodes=nodes)))
    with pytest.raises(UserError, match=r"tiny\.path\.onnx gives codes that are not finite"):
        next(learned.walk(np.zeros(2, np.float32), 0))


REFUSED = {
    "learned = {}\ntarget = 'latent.0'": "give one of target (a latent), path (a list of codes), walk (its speed and",
    "learned = {}\nrate_hz = 1.0": "a learned path has no rate_hz; leave it out",
    "learned = { speed = 0.001 }": "[[motion]] 1: learned.speed = 0.001 should be greater than or equal to 0.01",
    "learned = { speed = 5.0 }": "[[motion]] 1: learned.speed = 5.0 should be less than or equal to 4",
    "learned = { bound = 1.0 }": "[[motion]] 1: unknown key 'learned.bound'",
    "learned = {}": "a learned path is a file beside its model, and the card of model 'analytic' names none; take",
}


@pytest.mark.parametrize("motion", REFUSED)
def test_settings_that_do_not_fit_are_refused(tiny_path, tmp_path, motion):
    (tmp_path / "a.toml").write_text(f'format = 1\nmodel = "{tiny_path()}"\n[[motion]]\n{motion}\n')
    with pytest.raises(UserError) as refused:
        open_patch(str(tmp_path / "a.toml"))
    assert REFUSED[motion] in "\n".join(refused.value.args)


def test_a_path_and_a_walk_do_not_go_together(tiny_path, tmp_path):
    path = with_learned_path(tiny_path(), tmp_path / "tiny.onnx")
    motions = "[[motion]]\nlearned = {}\n[[motion]]\nwalk = { speed = 1.0, bound = 1.0 }\n"
    (tmp_path / "a.toml").write_text(f'format = 1\nmodel = "{path}"\n{motions}')
    with pytest.raises(UserError, match="two motions have a path or a walk, which moves all latents; keep one"):
        open_patch(str(tmp_path / "a.toml"))


def test_info_tells_of_the_path(timbrel, model):
    assert "path       learned, 50.0 steps a second, in a file beside the model" in timbrel("info", model.path).out
