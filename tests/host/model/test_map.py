"""Maps in a model's file: read as they were written, told by info, bilinear, and refused in a line where broken."""

import base64
import json
import zlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper
from timbrel.host.errors import UserError
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.model.map import MAP_KEY, CodeMap
from timbrel.host.model.model import Model, describe

from .planes import code_at


def some_map(side=5, dots=40, latents=2, seed=0):
    """A map whose every code lies in 0 to 1, with two labels."""
    rng = np.random.default_rng(seed)
    return CodeMap(
        surface=rng.random((side, side, latents), np.float32),
        places=rng.random((dots, 2), np.float32),
        codes=rng.random((dots, latents), np.float32),
        notes=rng.integers(-1, 12, dots),
        brightness=rng.random(dots, np.float32),
        label=np.arange(dots) % 2,
        labels=("Flöte", "kit/snare"),
        loudness=np.full(dots, 0.5, np.float32),
        scale=np.ones(latents, np.float32),
    )


def bent(side=30):
    """A map of a dome over the plane in three latents, as high as 0.3, with no dots of its own."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    surface = np.stack([x, y, 0.3 * np.sin(np.pi * x) * np.sin(np.pi * y)], -1).astype(np.float32)
    return replace(some_map(latents=3), surface=surface)


def with_map(path, target, text):
    """Write a model's file again with the text of a map, and open it."""
    made = onnx.load(path)
    known = {entry.key: entry.value for entry in made.metadata_props}
    helper.set_model_props(made, {METADATA_KEY: known[METADATA_KEY], MAP_KEY: text})
    onnx.save(made, target)
    return Model(target)


def test_a_map_is_read_as_it_was_written_up_to_its_rounding(tiny_path, tmp_path):
    written = some_map()
    model = with_map(tiny_path(), tmp_path / "a.onnx", written.text())
    read = model.map
    np.testing.assert_allclose(read.surface, written.surface, atol=2**-11)
    np.testing.assert_allclose(read.codes, written.codes, atol=2**-11)
    np.testing.assert_allclose(read.places, written.places, atol=2**-16)
    np.testing.assert_allclose(read.brightness, written.brightness, atol=2**-8)
    np.testing.assert_array_equal(read.notes, written.notes)
    assert [read.labels[i] for i in read.label] == [written.labels[i] for i in written.label]
    assert "40 training codes of 2 labels on the latents themselves" in describe(model.card, 1, None, read)
    assert read.text() == written.text()


def test_codes_that_rounding_moves_beyond_a_knob_are_led_back(tiny_path, tmp_path):
    latent = Model(tiny_path()).card.latents[0]
    beyond = replace(some_map(), codes=np.full((40, 2), latent.high + 0.4, np.float32))
    read = with_map(tiny_path(), tmp_path / "a.onnx", beyond.text()).map
    assert read.codes.max() == np.float32(latent.high)


def test_a_file_without_a_map_has_none_and_info_says_where_one_comes_from(tiny_path):
    model = Model(tiny_path())
    assert model.map is None
    assert "made of the landmarks" in describe(model.card, 1)


def test_codes_between_nodes_are_those_of_the_four_around_by_hand():
    plane = some_map(side=4)
    place = np.array([1.25, 2.5])
    (a, b), (c, d) = plane.surface[2:4, 1:3]
    expected = 0.5 * (0.75 * a + 0.25 * b) + 0.5 * (0.75 * c + 0.25 * d)
    np.testing.assert_allclose(code_at(plane, *(place / 3)), expected, rtol=1e-5)
    for row, column in np.ndindex(4, 4):
        np.testing.assert_allclose(code_at(plane, column / 3, row / 3), plane.surface[row, column], atol=1e-6)
    np.testing.assert_array_equal(code_at(plane, 2.0, -1.0), plane.surface[0, -1])


def test_no_place_comes_nearer_to_a_code_than_the_one_that_is_found():
    plane = bent()
    codes = np.random.default_rng(1).random((50, 3), np.float32)
    found = code_at(plane, *plane.place_of(codes).T)
    fine = code_at(plane, *np.meshgrid(np.linspace(0, 1, 233), np.linspace(0, 1, 233))).reshape(-1, 3)
    best = np.array([np.sqrt(np.square(fine - code).sum(1).min()) for code in codes])
    assert np.all(np.sqrt(np.square(found - codes).sum(1)) < best + 1e-3)


def test_a_code_of_the_plane_is_found_where_it_lies_and_its_place_moves_with_it():
    plane = bent()
    places = np.random.default_rng(2).random((500, 2), np.float32)
    np.testing.assert_allclose(plane.place_of(code_at(plane, *places.T)), places, atol=2e-3)
    way = np.linspace(0.13, 0.87, 400, dtype=np.float32)
    along = plane.place_of(code_at(plane, way, way[::-1]) + np.float32([0, 0, 0.05]))
    assert np.abs(np.diff(along, axis=0)).max() < 3 * (way[1] - way[0])


def test_a_latent_that_never_varies_does_not_count():
    plane = replace(bent(), scale=np.array([1, 1, 0], np.float32))
    np.testing.assert_allclose(plane.place_of(np.array([0.3, 0.6, 99.0], np.float32)), [0.3, 0.6], atol=1e-3)


def test_the_message_holds_what_its_header_says():
    plane = some_map(side=3, dots=4)
    data = plane.message()
    assert np.frombuffer(data, "<u4", 4).tolist() == [3, 2, 4, 0]
    numbers = np.frombuffer(data, "<f4", 3 * 3 * 2 + 4 * (2 + 2 + 1 + 1), 16)
    np.testing.assert_array_equal(numbers[:18].reshape(3, 3, 2), plane.surface)
    np.testing.assert_array_equal(numbers[18:26].reshape(4, 2), plane.places)
    np.testing.assert_array_equal(numbers[26:34].reshape(4, 2), plane.codes)
    np.testing.assert_array_equal(numbers[34:38], plane.notes)
    np.testing.assert_array_equal(numbers[38:], plane.brightness)
    np.testing.assert_array_equal(np.frombuffer(data, "<i4", 4, 16 + numbers.nbytes), plane.label)
    last = np.frombuffer(data, "<f4", -1, 16 + numbers.nbytes + 16)
    np.testing.assert_array_equal(last, [*plane.loudness, *plane.scale])


def changed(**changes):
    return json.dumps(json.loads(some_map().text()) | changes)


def packed(data):
    return base64.b64encode(zlib.compress(data)).decode()


BROKEN = {
    "no JSON": ("{", "is not JSON"),
    "a list": ("[]", "is not valid"),
    "newer": (changed(format=2), "format 2, newer than this timbrel reads"),
    "one node": (changed(side=1), "side"),
    "no dots": (changed(dots=0), "dots"),
    "no labels": (changed(labels=[]), "labels"),
    "no base64": (changed(arrays="!"), "not base64 of zlib"),
    "no zlib": (changed(arrays="AAAA"), "not base64 of zlib"),
    "too short": (changed(arrays=packed(b"\0" * 99)), "must be those of 5 x 5 nodes and 40 dots of 2 latents"),
    "without end": (changed(arrays=packed(bytes(1 << 24))), "must be those of"),
    "of other latents": (some_map(latents=3).text(), "40 dots of 2 latents"),
    "no number": (replace(some_map(), codes=np.full((40, 2), np.nan)).text(), "finite"),
    "a thirteenth note": (replace(some_map(), notes=np.full(40, 12)).text(), "0 to 11"),
    "a label that is not there": (changed(labels=["Flöte"]), "below 1"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_map_is_refused_in_a_line(tiny_path, tmp_path, text, words):
    with pytest.raises(UserError) as caught:
        with_map(tiny_path(), tmp_path / "a.onnx", text)
    message = str(caught.value)
    assert words in message
    assert MAP_KEY in message
    assert "\n" not in message
    assert len(message) - len(str(tmp_path)) < 500
