"""Shipped maps, and what they make of a model."""

import tomllib
from pathlib import Path

import pytest
import timbrel
from timbrel.host.errors import UserError
from timbrel.host.events import RESERVED_CC
from timbrel.host.model.card import Card
from timbrel.host.preset.library import bindings, read_controller, shipped_controllers

ROOT = Path(timbrel.__file__).parent
SHIPPED = ["eight-knobs", "launch-control-xl", "midi-mix", "nanokontrol2"]


@pytest.fixture
def card(analytic):
    """A function that gives the card of a model with as many latents, each with a span of its own."""

    def make(latents: int) -> Card:
        spans = [
            {"name": f"latent {i}", "low": -i - 1.0, "high": i + 2.0, "default": 0.0, "mean": 0.0, "std": 1.0}
            for i in range(latents)
        ]
        return Card.model_validate(analytic(latents=latents).card(latents=spans))

    return make


def test_the_shipped_maps_are_found_and_belong_to_the_package():
    assert list(shipped_controllers()) == SHIPPED
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "timbrel.presets.controllers" in setup["packages"]
    assert setup["package-data"]["timbrel.presets.controllers"] == ["*.toml"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_map_names_its_source_and_no_number_twice(name):
    controller = read_controller(name)
    numbers = [*controller.knobs, *controller.faders]
    assert controller.source.strip()
    assert len(set(numbers)) == len(numbers)
    for number in RESERVED_CC.intersection(numbers):
        assert str(number) in controller.notes


@pytest.mark.parametrize("name", SHIPPED)
def test_knobs_turn_the_latents_in_order_over_their_spans(name, card):
    controller = read_controller(name)
    maps = bindings(controller, card(8))
    assert [entry.number for entry in maps] == controller.knobs[:8]
    assert [entry.target for entry in maps] == [f"latent.{i}" for i in range(8)]
    assert [(entry.low, entry.high) for entry in maps] == [(-i - 1.0, i + 2.0) for i in range(8)]


def test_more_latents_go_on_with_the_faders_and_pass_over_reserved_numbers(card):
    maps = bindings(read_controller("nanokontrol2"), card(20))
    assert [entry.number for entry in maps] == [16, 17, 18, 19, 20, 21, 22, 23, 1, 2, 3, 4, 5, 7]
    assert 32 not in [entry.number for entry in bindings(read_controller("launch-control-xl"), card(32))]


def test_a_model_of_two_latents_takes_two_knobs(card):
    assert [entry.number for entry in bindings(read_controller("midi-mix"), card(2))] == [16, 20]


def test_a_file_of_the_users_own_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsource = "tried"\nknobs = [20, 21]\n', encoding="utf-8")
    assert read_controller(str(path)).knobs == [20, 21]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("nanokontrol", None, "no controller is named 'nanokontrol'; did you mean 'nanokontrol2'?"),
        ("none.toml", None, "cannot be read: No such file"),
        ("broken.toml", "knobs = [", "is not TOML"),
        ("far.toml", 'name = "x"\nsource = "y"\nknobs = [128]', "knobs.0: Input should be less than or equal to 127"),
        ("odd.toml", 'name = "x"\nsource = "y"\nwheels = [1]', "wheels: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, monkeypatch, name, text, reason):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"^[^\n]*$") as refusal:
        read_controller(name)
    assert reason in str(refusal.value)
