from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import timbrel

RATE = 16_000


def tones(folder: Path) -> Path:
    folder.mkdir()
    times = np.arange(RATE) / RATE
    for key in range(57, 70):
        hz = 440 * 2 ** ((key - 69) / 12)
        tone = sum(np.sin(2 * np.pi * n * hz * times) / n for n in range(1, 6)) * np.exp(-times)
        soundfile.write(folder / f"tone {key}.wav", 0.2 * np.asarray(tone), RATE)
    return folder


def test_make_hands_its_arguments_on_and_opens_the_instrument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timbrel.export import make as making

    asked: dict[str, Any] = {}

    def make(sounds: list[Path], output: Path, **options: Any) -> str:
        asked.update(options, sounds=sounds)
        output.mkdir()
        (output / "preset.toml").write_text('format = 1\nmodel = "gm-drums"\n')
        return "done"

    monkeypatch.setattr(making, "make", make)
    folder = tones(tmp_path / "tones")
    found = timbrel.make(folder, output=tmp_path / "made", minutes=2, family="clips", label="folder")
    del asked["display"]
    assert asked == {"sounds": [folder], "minutes": 2, "more_minutes": None, "family": "clips", "label": "folder"}
    assert (found.name, found.kind) == ("made", "clip")


@pytest.mark.slow
def test_make_makes(tmp_path: Path) -> None:
    found = timbrel.make(str(tones(tmp_path / "tones")), minutes=0.1, output=tmp_path / "made")
    assert found.kind == "partials"
    assert found.render([timbrel.Note(60)]).max() > 0.01
