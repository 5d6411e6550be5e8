"""Knobs of a model's file get names by what they move, or the reason why they have none; of decoders in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.export.knobs.naming import WITH_STATE, WITHOUT_CODES, explained
from timbrel.host.kinds.card_fields import RecurrentState
from timbrel.host.model.card import Card

from ...host.clips import LENGTH, RATE, clip_card

KNOBS = 4


def decode(codes, _):
    """Tones: knob 0 raises them, 1 lets them fade sooner, 2 makes them louder, 3 raises them less than 0 does."""
    time = np.arange(LENGTH) / RATE
    hertz = 600 * 2.0 ** (codes[:, :1] + 0.4 * codes[:, 3:4])
    fades = np.exp(-time / 0.02 * 2.0 ** codes[:, 1:2])
    return (10.0 ** codes[:, 2:3] * fades * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def model(names=None, landmarks=48, **changes):
    rng = np.random.default_rng(0)
    knob = {"low": -1.0, "high": 1.0, "default": 0.0, "mean": 0.0, "std": 0.5}
    latents = [knob | {"name": name} for name in names or [f"latent {number}" for number in range(KNOBS)]]
    codes = rng.uniform(-1, 1, (landmarks, KNOBS)).tolist()
    marks = [{"latent": code, "chroma": None, "label": ""} for code in codes]
    card = Card.model_validate(clip_card(latents=KNOBS) | {"latents": latents, "landmarks": marks})
    return SimpleNamespace(card=card.model_copy(update=changes), decode=decode)


def test_a_knob_is_named_for_what_it_moves_and_the_name_says_where_it_lowers_that():
    found = explained(model())
    assert [latent.name for latent in found] == ["brightness", "less length", "latent 2", "latent 3"]
    assert "correlation 0.9" in found[0].moves
    low, high = (float(end) for end in found[1].moves.partition(" ms")[0].split(" to "))
    assert (low, high) == pytest.approx((20, 5), rel=0.1)  # half of the time constant, which doubles and halves


def test_a_knob_without_a_name_has_the_reason_and_one_with_a_name_has_none():
    found = explained(model())
    assert [bool(latent.unnamed) for latent in found] == [False, False, True, True]
    assert "a name needs" in found[2].unnamed
    assert found[3].unnamed == "another knob is named brightness"
    assert found[3].remark.endswith("; no name: another knob is named brightness")
    assert found[0].remark == found[0].moves


def test_names_that_a_card_has_stay_and_are_not_given_again():
    found = explained(model(["latent 0", "latent 1", "mine", "brightness"]))
    assert [latent.name for latent in found] == ["latent 0", "less length", "mine", "brightness"]
    assert found[0].unnamed == "another knob is named brightness"
    assert (found[2].moves, found[2].unnamed) == ("", "")


def test_a_file_that_was_named_stays_as_it_is():
    found = explained(model())
    assert explained(model(latents=found)) == found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"state": [RecurrentState(name="memory", shape=[4])]}, WITH_STATE), ({"landmarks": 0}, WITHOUT_CODES)],
)
def test_what_cannot_be_measured_says_so(changes, reason):
    found = explained(model(**changes))
    assert [latent.unnamed for latent in found] == [reason] * KNOBS
