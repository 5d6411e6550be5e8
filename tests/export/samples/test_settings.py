"""Settings of data sets, and values that are drawn from them."""

from pathlib import Path

import pytest
from timbrel.export.samples.drawing import Choice, DatasetSettings, read_settings
from timbrel.host.errors import UserError


def test_a_span_is_drawn_with_both_ends_and_evenly() -> None:
    drawn = [Choice("36-39", integers=True).draw(place / 4000) for place in range(4000)]
    assert [drawn.count(value) for value in (36, 37, 38, 39)] == [1000] * 4
    assert Choice("0.5-1.5", integers=False).draw(0.25) == 0.75


def test_a_list_is_drawn_evenly_and_keeps_its_values() -> None:
    choice = Choice("25, 50,127", integers=True)
    assert [choice.draw(place) for place in (0, 0.34, 0.67, 0.999)] == [25, 50, 127, 127]
    assert choice.among([24, 25, 26, 127]) == [25, 127]


def test_options_win_over_the_file_and_knobs_add_up(tmp_path: Path) -> None:
    file = tmp_path / "notes.toml"
    file.write_text('keys = "40-50"\nvelocities = 90\nseconds = 2\n[knobs]\ngain = 0.5\npan = "0-1"\n')
    found = read_settings(file, {"keys": "60", "knobs": {"gain": "0.2-0.3"}})
    assert (found.keys, found.velocities, found.seconds) == ("60", "90", 2.0)
    assert found.knobs == {"gain": "0.2-0.3", "pan": "0-1"}


def test_numbers_of_a_file_may_be_small_or_have_a_point(tmp_path: Path) -> None:
    file = tmp_path / "notes.toml"
    file.write_text("keys = [60.0, 61]\nheld_seconds = 1e-3\n[knobs]\ngain = 1e-7\n")
    found = read_settings(file, {})
    assert (found.keys, found.held_seconds, found.knobs) == ("60,61", "0.001", {"gain": "0.0000001"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keys": "96-36"}, "keys: '96-36' runs backwards; write the lower end first"),
        ({"keys": "C4"}, "keys: 'C4' gives no whole numbers; write LOW-HIGH, or one or several: A,B,C"),
        ({"keys": "36.5"}, "keys: '36.5' gives no whole numbers; write LOW-HIGH, or one or several: A,B,C"),
        ({"keys": "36-128"}, "keys: '36-128' is out of range; give 0 to 127"),
        ({"velocities": "0-127"}, "velocities: '0-127' is out of range; give 1 to 127"),
        ({"held_seconds": "nan"}, "held_seconds: 'nan' gives no numbers; write LOW-HIGH, or one or several: A,B,C"),
        ({"latents": "grid:1"}, "latents: 'grid:1' is unknown; give preset, uniform, landmarks, or grid:STEPS"),
        ({"seconds": 31}, "seconds: input should be less than or equal to 30 (got 31)"),
        ({"keys": True}, "keys: input should be a valid string (got True)"),
        ({"shard_notes": 100}, "shard_notes: input should be a multiple of 64"),
        ({"sample_rate": 8000}, "sample_rate 8000 is unknown; give one of 16000, 22050"),
        ({"onset_seconds": "0-4"}, "onset_seconds 0-4 leaves no room in 4 seconds"),
        ({"knobs": {"gain": "0-2"}}, "knobs.gain: '0-2' is out of range; give 0 to 1"),
        ({"key": "36"}, "unknown setting 'key'; did you mean 'keys'?"),
    ],
)
def test_wrong_settings_are_one_line(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as told:
        read_settings(None, given)
    assert str(told.value).startswith(said)


@pytest.mark.parametrize("text", ["keys = 36-96", "\0", "[knobs\n", 'knobs = "gain"', "knobs = [1]", "seed = 1.5"])
def test_broken_files_are_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "notes.toml"
    file.write_text(text)
    with pytest.raises(UserError) as told:
        read_settings(file, {})
    assert len(told.value.args) == 1
    assert str(file) in str(told.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*: No such file or directory; give a TOML file"):
        read_settings(tmp_path / "none.toml", {})


def test_settings_travel_as_json() -> None:
    settings = DatasetSettings(keys="36-96", knobs={"gain": "0-1"}, seed=7)
    assert DatasetSettings.model_validate_json(settings.model_dump_json()) == settings
