from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    found = timbrel.make(folder, output=tmp_path / "made", minutes=2, family="clip", label="folder")
    del asked["display"]
    options = {
        "minutes": 2,
        "more_minutes": None,
        "family": "clip",
        "label": "folder",
        "recordings": True,
        "license": None,
        "credits": None,
    }
    assert asked == {"sounds": [folder]} | options
    assert (found.name, found.kind) == ("made", "clip")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("make", lambda folder: timbrel.make(folder / "tones", output=folder / "made")),
        ("train_recipe", lambda folder: timbrel.train_recipe("tuned-8", folder / "corpus", folder / "made")),
    ],
)
def test_training_in_another_thread_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, call: Callable[[Path], object]
) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(timbrel.UserError, match=f"^{name} needs the main thread"):
        pool.submit(call, tmp_path).result()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_make_makes(tmp_path: Path) -> None:
    found = timbrel.make(str(tones(tmp_path / "tones")), minutes=0.1, output=tmp_path / "made")
    assert found.kind == "partials"
    assert found.render([timbrel.Note(60)]).max() > 0.01


def test_a_pack_with_its_run_is_trained_further_in_a_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbrel.export import make as making
    from timbrel.export import pack as packing
    from timbrel.export.pack import pack
    from timbrel.host.preset.library import open_patch

    monkeypatch.setattr(packing, "_preview", lambda patch: {})  # nobody listens to it
    made = tmp_path / "made"
    for name in ("run/last.ckpt", "run/run.json", "run/kept/old.ckpt", "trial/last.ckpt", "corpus/audio-00000.f32"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    (made / "preset.toml").write_text('format = 1\nmodel = "gm-drums"\n')
    pack(open_patch(str(made)), tmp_path / "sent.timbrel", with_run=True)
    pack(open_patch(str(made)), tmp_path / "bare.timbrel")
    asked: list[object] = []

    def make(sounds: list[Path], output: Path, **options: Any) -> str:
        asked.extend([sounds, options["more_minutes"]])
        return "done"

    monkeypatch.setattr(making, "make", make)
    found = timbrel.make(tmp_path / "sent.timbrel", tmp_path / "further", more_minutes=2)
    assert asked == [[], 2]
    assert found.kind == "clip"
    kept = {path.relative_to(tmp_path / "further").as_posix() for path in (tmp_path / "further").rglob("*.*")}
    assert {"run/last.ckpt", "run/run.json", "trial/last.ckpt", "corpus/audio-00000.f32", "preset.toml"} <= kept
    assert "run/kept/old.ckpt" not in kept
    with pytest.raises(timbrel.UserError, match="holds no run to go on from"):
        timbrel.make(tmp_path / "bare.timbrel", tmp_path / "none", more_minutes=2)
    assert not (tmp_path / "none").exists()
    with pytest.raises(timbrel.UserError, match="has no run and corpus"):
        pack(open_patch("gm-keys"), tmp_path / "keys.timbrel", with_run=True)
