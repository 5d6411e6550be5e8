"""The example of docs/scale.md runs as it is printed."""

import re
from pathlib import Path

import pytest
from timbrel.export.dataset.dataset import make_dataset
from timbrel.export.dataset.settings import DatasetSettings

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
[EXAMPLE] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_pitch_classes_are_learnt_from_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DatasetSettings(seconds=0.5, sample_rate=16000, keys="48-71", shard_notes=128)
    make_dataset(["gm-oboe", "gm-strings"], tmp_path / "notes", settings, 256)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(EXAMPLE, found)
    assert len(EXAMPLE.splitlines()) <= 24
    assert found["score"] > 0.8
