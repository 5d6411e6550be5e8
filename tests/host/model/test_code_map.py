"""Maps that are made: through all of the codes, without jumps, always the same, and small enough for a file."""

from dataclasses import replace

import numpy as np
import pytest
from timbrel.host.model.map import NO_NOTE, read_map
from timbrel.host.model.map_layout import BYTES, LARGEST_STEP, PIXELS, dot_places, eased, make_code_map, map_of, text_of
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models

from .planes import code_at


def scroll(count, latents, rng):
    """Codes in 0 to 1 on a sheet that is rolled up in three latents; the others hardly vary."""
    along, across = rng.random((2, count))
    angle = 1.5 * np.pi * (0.3 + along)
    rolled = np.stack([angle * np.cos(angle), 6 * across, angle * np.sin(angle)], 1)
    codes = np.full((count, latents), 0.5)
    codes[:, :3] = 0.5 + (rolled - rolled.mean(0)) / 16
    return codes.astype(np.float32)


def reach(plane, codes):
    """Return the median distance of codes from the plane, in deviations."""
    found = code_at(plane, *plane.place_of(codes).T)
    return float(np.median(np.sqrt(np.square((found - codes) * plane.scale).sum(1))))


def flat_reach(codes):
    """Return the median distance of codes from the flat plane of their two widest directions."""
    apart = codes - codes.mean(0)
    return float(np.median(np.abs(apart @ np.linalg.eigh(apart.T @ apart)[1][:, 0])))


def largest_step(plane):
    """Between neighbouring pixels of a picture of a plane, in standard deviations."""
    at = (np.arange(PIXELS) + 0.5) / PIXELS
    picture = code_at(plane, *np.meshgrid(at, at)) * plane.scale
    return max(np.sqrt(np.square(np.diff(picture, axis=axis)).sum(-1)).max() for axis in (0, 1))


def test_a_map_lies_near_codes_that_it_was_not_made_of_and_makes_no_jumps(tiny):
    model, rng = tiny(latents=3), np.random.default_rng(0)
    codes = scroll(3000, 3, rng)
    plane = make_code_map(model, codes[:1500], ["a"] * 1500, np.full(1500, NO_NOTE))
    assert largest_step(plane) <= LARGEST_STEP * 1.01
    assert reach(plane, codes[1500:]) < flat_reach(codes * plane.scale) / 3


def test_the_same_codes_give_the_same_map(tiny):
    codes = scroll(300, 3, np.random.default_rng(0))
    first, then = (make_code_map(tiny(latents=3), codes, ["a"] * 300, np.full(300, NO_NOTE)).text() for _ in range(2))
    assert first == then


def test_two_latents_are_the_plane_and_the_second_rises_upward(tiny):
    model = tiny()
    (low, high), (bottom, top) = ((latent.low, latent.high) for latent in model.card.latents)
    codes = np.array([[low, bottom], [high, bottom], [low, top]], np.float32)
    plane = make_code_map(model, codes, ["a", "b", "a"], np.zeros(3, np.intp))
    np.testing.assert_allclose(plane.places, [[0, 1], [1, 1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(code_at(plane, 0.25, 0.5), [0.75 * low + 0.25 * high, (bottom + top) / 2], atol=1e-6)
    assert [plane.labels[index] for index in plane.label] == ["a", "b", "a"]


def test_one_latent_runs_from_left_to_right(tiny):
    model = tiny(latents=1)
    latent = model.card.latents[0]
    codes = np.array([[latent.low], [latent.high]], np.float32)
    plane = make_code_map(model, codes, ["", ""], np.zeros(2, np.intp))
    np.testing.assert_allclose(plane.places[:, 0], [0, 1], atol=1e-6)
    found = code_at(plane, [0.0, 0.5], [0.2, 0.9])[:, 0]
    np.testing.assert_allclose(found, [latent.low, (latent.low + latent.high) / 2])


def test_codes_of_brighter_sounds_are_brighter(tiny):
    model = tiny(latents=1)
    latent = model.card.latents[0]
    codes = np.linspace(latent.low, latent.high, 21, dtype=np.float32)[:, None]
    frames = model.decode(codes, np.zeros(21, np.intp))
    centre = (frames * np.arange(frames.shape[1])).sum(1) / frames.sum(1)
    found = make_code_map(model, codes, [""] * 21, np.zeros(21, np.intp)).brightness
    assert np.corrcoef(found, centre)[0, 1] > 0.9
    assert found.min() == 0.0
    assert found.max() == 1.0


def test_codes_of_louder_sounds_are_louder(tiny):
    model = tiny(latents=1)
    latent = model.card.latents[0]
    codes = np.linspace(latent.low, latent.high, 21, dtype=np.float32)[:, None]
    power = np.square(model.decode(codes, np.zeros(21, np.intp))).sum(1)
    made = make_code_map(model, codes, [""] * 21, np.zeros(21, np.intp))
    assert np.corrcoef(made.loudness, np.log(power))[0, 1] > 0.9
    assert (made.loudness.min(), made.loudness.max()) == (0.0, 1.0)
    model.map = read_map(made.text(), model.card, "a.onnx")  # without loudness
    np.testing.assert_allclose(map_of(model).loudness, made.loudness, atol=0.02)


NODE_RADIUS = np.sqrt(0.01 / np.pi)  # of the distance of nodes: one dot in a hundred is as near to a node by chance
RIM = 0.0015  # of the map: as near to its rim


@pytest.mark.parametrize("name", ["gm-chroma-8", "digits-spoken", "lakeside-10"])
def test_dots_stand_neither_on_nodes_nor_on_the_rim_and_keep_their_neighbours(name):
    from sklearn.manifold import trustworthiness  # lazy: a second in each of pytest's processes

    plane = map_of(Model(shipped_models()[name]))
    codes, nodes = plane.codes * plane.scale, plane.places * (len(plane.surface) - 1)
    assert np.mean(np.hypot(*(nodes - np.round(nodes)).T) <= NODE_RADIUS) <= 0.02
    assert np.mean(np.minimum(plane.places, 1 - plane.places).min(1) <= RIM) <= 0.1
    exact = plane.place_of(plane.codes).astype(np.float64)
    exact += np.random.default_rng(0).uniform(-1e-6, 1e-6, exact.shape)  # dots on one place have no order
    for high, low, before in ((codes, plane.places, (codes, exact)), (plane.places, codes, (exact, codes))):
        assert trustworthiness(high, low, n_neighbors=12) > trustworthiness(*before, n_neighbors=12) - 0.003


def test_dots_of_one_code_part_and_more_dots_than_are_settled_have_places(tiny):
    codes = np.full((5, 3), 0.5, np.float32)
    plane = make_code_map(tiny(latents=3), codes, ["a"] * 5, np.full(5, NO_NOTE))
    apart = np.sqrt(np.square(plane.places[:, None] - plane.places).sum(-1))[~np.eye(5, dtype=bool)]
    assert apart.min() > 0.01
    many = dot_places(replace(plane, codes=np.full((6000, 3), 0.5, np.float32)))
    assert many.shape == (6000, 2)
    np.testing.assert_array_equal(many, many[:1].repeat(6000, 0))  # too many to part
    assert ((many >= 0) & (many <= 1)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_few_codes_have_a_map_too(tiny, count):
    codes = scroll(count, 3, np.random.default_rng(3))
    plane = make_code_map(tiny(latents=3), codes, ["a"] * count, np.zeros(count, np.intp))
    assert np.isfinite(plane.surface).all()
    assert reach(plane, codes) < 0.3


@pytest.mark.parametrize("latents", [1, 3, 40])
def test_a_file_keeps_the_map_of_many_codes_in_few_bytes(tiny, latents):
    model, rng = tiny(latents=latents), np.random.default_rng(0)
    codes = rng.random((6000, latents), np.float32)
    text = text_of(model, codes, [f"a sound of the name {i}" for i in range(6000)], rng.integers(12, size=6000))
    assert len(text.encode()) <= BYTES
    read = read_map(text, model.card, "a.onnx")
    assert len(read.codes) >= min(3000, BYTES // (4 * latents + 80))
    ends = np.array([[latent.low, latent.high] for latent in model.card.latents])
    given = np.clip(codes, *ends.T)
    assert max(np.abs(given - code).max(1).min() for code in read.codes[::50]) < 1e-3


def test_thousands_of_dots_find_their_places(tiny):
    codes = scroll(7000, 3, np.random.default_rng(5))
    plane = make_code_map(tiny(latents=3), codes, ["a"] * 7000, np.zeros(7000, np.intp))
    assert len(plane.places) == 7000
    assert reach(plane, codes) < 0.2
    assert len(plane.message()) == 16 + 4 * (plane.surface.size + 7000 * (2 + 3 + 1 + 1 + 1 + 1) + 3)


@pytest.mark.parametrize("name", ["gm-chroma-2", "lakeside-10", "gm-drums"])  # two latents, ten, and words
def test_models_of_an_older_timbrel_have_the_map_of_their_landmarks(name):
    model = Model(shipped_models()[name])
    model.map = None
    plane = map_of(model)
    assert plane is not None
    assert sorted(set(plane.labels)) == sorted({mark.label for mark in model.card.landmarks})
    inside = np.array([mark.latent for mark in model.card.landmarks], np.float32)
    np.testing.assert_allclose(plane.codes, inside, atol=0.02)
    assert largest_step(plane) <= LARGEST_STEP * 1.01


def test_a_model_without_landmarks_has_no_map(tiny_path):
    model = Model(tiny_path())
    model.card = model.card.model_copy(update={"landmarks": []})
    assert map_of(model) is None


def test_neighbours_too_far_apart_draw_near_and_others_stay():
    plane = np.zeros((6, 6, 2), np.float32)
    plane[..., 0], plane[..., 1] = np.meshgrid(np.arange(6), np.arange(6))
    pulled = plane.copy()
    pulled[2, 3] += (0.0, 4.0)
    found = eased(pulled, 2.0)
    steps = [np.sqrt(np.square(np.diff(found, axis=axis)).sum(-1)).max() for axis in (0, 1)]
    assert max(steps) <= 2.0
    np.testing.assert_array_equal(found[5], plane[5])
    np.testing.assert_array_equal(eased(plane, 2.0), plane)
