"""What is opened by a name, and when it is read again."""

import hashlib

import pytest
from timbrel.host.preset import library
from timbrel.host.preset.library import open_patch

PRESET = 'format = 1\nmodel = "m.onnx"\n'


@pytest.fixture
def preset(tmp_path, analytic):
    """A preset with its model beside it, ``m.onnx``."""
    analytic().save(tmp_path / "m.onnx")
    path = tmp_path / "made.toml"
    path.write_text(PRESET, encoding="utf-8")
    return path


@pytest.mark.parametrize("way", ["replaced", "written over"])
def test_a_model_that_took_anothers_place_is_read_again_and_its_digest_is_that_of_the_file(preset, analytic, way):
    before = open_patch(str(preset)).model
    assert open_patch(str(preset)).model is before  # opening takes its time, and presets share models
    made, model = analytic(), preset.with_name("m.onnx")
    other = made.save(preset.with_name("other.onnx"), made.card(name="retrained"))
    if way == "replaced":
        other.replace(model)
    else:
        model.write_bytes(other.read_bytes())
    mine = hashlib.sha256(model.read_bytes()).hexdigest()
    preset.write_text(f'{PRESET}model_sha256 = "{mine}"\n', encoding="utf-8")
    patch = open_patch(str(preset))
    assert (patch.model.card.name, patch.warnings) == ("retrained", ())


def test_models_that_were_opened_long_ago_are_let_go(analytic, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "_models", {})
    monkeypatch.setattr(library, "KEPT_MODELS", 3)
    paths = [analytic().save(tmp_path / f"m{number}.onnx") for number in range(4)]
    for path in (*paths[:3], paths[0], paths[3]):
        open_patch(str(path))
    assert [path.name for path in library._models] == ["m2.onnx", "m0.onnx", "m3.onnx"]
