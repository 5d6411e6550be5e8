"""Packs sound alike without the files that they were made of, and equal ones are equal files."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import timbrel
from timbrel.export import pack as packing
from timbrel.export.pack import pack
from timbrel.host.errors import UserError
from timbrel.host.model.learned_path import path_file
from timbrel.host.model.model import Model
from timbrel.host.model.pack import MANIFEST, PROVED, read_manifest
from timbrel.host.preset.library import find_model, open_patch
from timbrel.host.preset.shipped import MODELS
from timbrel.host.resynthesis.recover import recover

from ...host.learned_paths import with_learned_path

SCALE = "! equal.scl\nten\n 10\n!\n" + "".join(f" {120.0 * step}\n" for step in range(1, 11))
PRESET = """
format = 1
model = "{model}"
description = "a reed in a room"

[tuning]
scale = "scales/ten.scl"

[morph]
to = "gm-strings"

[[effects]]
plugin = "Convolution"
impulse_response_filename = "{folder}/room.wav"
mix = 0.3

[[snapshot]]
slot = 2
values = {{"effects.0.mix" = 0.5}}
"""


def write_reed(folder: Path) -> Path:
    """Return a preset of a model of the user's, with a scale and an impulse response in other folders."""
    (folder / "mine" / "scales").mkdir(parents=True)
    shutil.copyfile(MODELS / "gm-partials-8.onnx", folder / "reeds.onnx")
    shutil.copyfile(MODELS / "gm-partials-8.encoder.onnx", folder / "reeds.encoder.onnx")
    (folder / "mine" / "scales" / "ten.scl").write_text(SCALE)
    rng = np.random.default_rng(0)
    soundfile.write(folder / "room.wav", 0.1 * rng.normal(size=4410) * np.exp(-np.arange(4410) / 900), 44_100)
    preset = folder / "mine" / "reed.toml"
    preset.write_text(PRESET.format(model="../reeds.onnx", folder=".."))
    return preset


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pack was opened before."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def reed(tmp_path: Path) -> Path:
    return write_reed(tmp_path)


@pytest.fixture(scope="module")
def sent(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The pack of such a preset, for tests of what it holds and of how it is opened; its sources are gone."""

    def make(folder: Path) -> None:
        pack(open_patch(str(write_reed(folder / "sources"))), folder / "sent.timbrel")
        shutil.rmtree(folder / "sources")

    return once("sent-reed", make) / "sent.timbrel"


def data_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_a_pack_sounds_alike_without_the_files_that_it_was_made_of(reed: Path, tmp_path: Path) -> None:
    notes = [timbrel.Note(60, 0, 0.5), timbrel.Note(67, 0.2, 0.5)]
    before = timbrel.open(reed).render(notes)
    summary = pack(open_patch(str(reed)), tmp_path / "sent.timbrel")
    assert hashlib.sha256((tmp_path / "sent.timbrel").read_bytes()).hexdigest() in summary
    for path in (reed, tmp_path / "reeds.onnx", tmp_path / "reeds.encoder.onnx", tmp_path / "room.wav"):
        path.unlink()
    shutil.rmtree(tmp_path / "mine")
    sent = timbrel.open(tmp_path / "sent.timbrel")
    assert (sent.name, sent.description) == ("sent", "a reed in a room")
    (snapshot,) = open_patch(str(tmp_path / "sent.timbrel")).preset.snapshot
    assert (snapshot.slot, snapshot.values) == (2, {"effects.0.mix": 0.5})
    np.testing.assert_array_equal(sent.render(notes), before)
    assert sent.encode(before).shape[1] == 8
    assert "morph" in {knob.target for knob in sent.knobs.values()}


def test_a_pack_carries_the_learned_path_of_its_model(tmp_path: Path) -> None:
    learned_model = with_learned_path(MODELS / "lakeside-10.onnx", tmp_path / "sea.onnx")
    (tmp_path / "sea.toml").write_text('format = 1\nmodel = "sea.onnx"\n[[motion]]\nlearned = { seed = 3 }\n')
    (tmp_path / "still.toml").write_text('format = 1\nmodel = "sea.onnx"\n')
    notes = [timbrel.Note(60, 0, 0.5)]
    before = timbrel.open(tmp_path / "sea.toml").render(notes)
    for name in ("sea", "still"):
        pack(open_patch(str(tmp_path / f"{name}.toml")), tmp_path / f"{name}.timbrel")
        assert "model.path.onnx" in read_manifest(tmp_path / f"{name}.timbrel").files
    for file in (learned_model, path_file(learned_model), tmp_path / "sea.toml"):
        file.unlink()
    np.testing.assert_array_equal(timbrel.open(tmp_path / "sea.timbrel").render(notes), before)


def test_a_pack_whose_learned_path_walks_elsewhere_here_is_removed(tmp_path: Path) -> None:
    with_learned_path(MODELS / "lakeside-10.onnx", tmp_path / "sea.onnx", tolerance=-1.0)
    (tmp_path / "sea.toml").write_text('format = 1\nmodel = "sea.onnx"\n[[motion]]\nlearned = {}\n')
    pack(open_patch(str(tmp_path / "sea.toml")), tmp_path / "sea.timbrel")
    with pytest.raises(UserError, match=r"the pack 'sea' cannot be used: its model gives other outputs here"):
        open_patch(str(tmp_path / "sea.timbrel"))


def test_a_pack_tells_of_itself_and_can_be_heard_and_seen(sent: Path, tmp_path: Path) -> None:
    manifest = read_manifest(sent)
    assert (manifest.name, manifest.metadata["kind"], manifest.metadata["licence"]) == ("sent", "partials", "MIT")
    assert set(manifest.files) == {
        "preset.toml", "model.onnx", "model.encoder.onnx", "licence.txt", "preview.flac", "preview.png", "ten.scl",
        "room.wav", "gm-strings",
    }  # fmt: skip
    with zipfile.ZipFile(sent) as archive:
        archive.extract("preview.flac", tmp_path)
        assert "FluidR3" in archive.read("licence.txt").decode()
    sound, rate = soundfile.read(tmp_path / "preview.flac")
    assert rate == 44_100
    assert 0.01 < np.abs(sound).max() <= 1
    assert len(sound) > 2 * rate


def test_files_of_any_names_are_kept_apart_from_the_packs_own(reed: Path, tmp_path: Path) -> None:
    for name in ("a/Preview.flac", "b/preset.toml", "c/hall?.wav", "d/.room.wav", "e/Room.wav"):
        (tmp_path / name).parent.mkdir()
        if not name.endswith(".toml"):
            shutil.copyfile(tmp_path / "room.wav", tmp_path / name)
    (tmp_path / "b" / "preset.toml").write_text('format = 1\nmodel = "gm-partials-8"\n')
    text = PRESET.format(model="../reeds.onnx", folder="../a").replace("room.wav", "Preview.flac")
    for name in ("c/hall?.wav", "d/.room.wav", "e/Room.wav"):
        text += f'\n[[effects]]\nplugin = "Convolution"\nimpulse_response_filename = "../{name}"\nmix = 0.1\n'
    reed.write_text(text.replace('to = "gm-strings"', 'to = "../b/preset.toml"'))
    notes = [timbrel.Note(60, 0, 0.3)]
    before = timbrel.open(reed).render(notes)
    pack(open_patch(str(reed)), tmp_path / "sent.timbrel")
    np.testing.assert_array_equal(timbrel.open(tmp_path / "sent.timbrel").render(notes), before)


@pytest.mark.parametrize("name", ["a:b", "reed ", ".reed", "x" * 201])
def test_packs_have_names_that_every_system_allows(reed: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name for a pack on every system"):
        pack(open_patch(str(reed)), tmp_path / f"{name}.timbrel")
    assert not list(tmp_path.glob("*.timbrel"))


def test_a_recovered_preset_names_the_pack_of_its_model(sent: Path, tmp_path: Path) -> None:
    model = Model(find_model(str(sent)))
    sound = timbrel.open("gm-oboe").render(timbrel.Note(60)).save(tmp_path / "note.wav")
    recover(sound, model, tmp_path / "note.toml")
    assert 'model = "pack:' in (tmp_path / "note.toml").read_text()
    assert open_patch(str(tmp_path / "note.toml")).model.sha256 == model.sha256


def test_equal_instruments_are_equal_files(reed: Path, tmp_path: Path, sent: Path) -> None:
    pack(open_patch(str(reed)), tmp_path / "sent.timbrel")
    assert (tmp_path / "sent.timbrel").read_bytes() == sent.read_bytes()


def test_its_proof_runs_once(sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify, ran = Model.verify, []
    monkeypatch.setattr(Model, "verify", lambda self: ran.append(1) or verify(self))
    open_patch(str(sent))
    open_patch(str(sent))
    assert find_model(str(sent)).name == "model.onnx"
    assert len(ran) == 1
    assert [path.suffix for path in data_files(tmp_path)].count(PROVED) == 1


def rewritten(path: Path, other: Path, changed: dict[str, bytes]) -> Path:
    """Write a pack with other files, and a manifest that agrees."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()} | changed
    told = json.loads(files.pop(MANIFEST))
    told["files"] = {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in files.items()}
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(MANIFEST, json.dumps(told))
        for name, data in files.items():
            archive.writestr(name, data)
    return other


PLAIN = 'format = 1\nmodel = "model.onnx"\n'


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        (PLAIN + '[[effects]]\nplugin = "/lib/evil.vst3"\n', "runs a plugin by its path"),
        (PLAIN + '[[effects]]\nplugin = "evil.vst3"\n', "runs a plugin by its path"),
        (PLAIN + '[tuning]\nscale = "/etc/passwd"\n', "names '/etc/passwd', which it does not hold"),
        (PLAIN + '[tuning]\nscale = "../../x.scl"\n', "which it does not hold"),
        ('format = 1\nmodel = "/etc/passwd"\n', "which it does not hold"),
        (PLAIN + '[morph]\nto = "../secret.toml"\n', "which it does not hold"),
        (PLAIN + '[process]\nto = "../secret.toml"\n', "which it does not hold"),
        (PLAIN + "colour = 3\n", "unknown key"),
        ("format = 1\n", "model is missing"),
        ('format = 1\nmodel = "none.onnx"\n', "does not exist"),
    ],
)
def test_a_pack_that_reaches_outside_or_runs_is_refused_and_removed(
    sent: Path, tmp_path: Path, preset: str, said: str
) -> None:
    bad = rewritten(sent, tmp_path / "other.timbrel", {"preset.toml": preset.encode()})
    for use in (open_patch, find_model):
        with pytest.raises(UserError) as caught:
            use(str(bad))
        assert said in str(caught.value)
        assert data_files(tmp_path) == []


def test_a_model_that_gives_other_outputs_is_refused(sent: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(MODELS / "gm-partials-8.onnx")
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and values.ndim == 2:
            values = values * values.dtype.type(1.5)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    bad = rewritten(sent, tmp_path / "other.timbrel", {"model.onnx": model.SerializeToString()})
    with pytest.raises(UserError, match="gives other outputs here"):
        open_patch(str(bad))
    assert data_files(tmp_path) == []


def test_presets_that_cannot_be_packed_say_so(reed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be a pack's name, such as reed\.timbrel"):
        pack(open_patch(str(reed)), tmp_path / "reed.zip")
    (tmp_path / "reed.timbrel").write_text("another")
    with pytest.raises(UserError, match="exists"):
        pack(open_patch(str(reed)), tmp_path / "reed.timbrel")
    assert (tmp_path / "reed.timbrel").read_text() == "another"
    patch = open_patch(str(reed))
    (tmp_path / "room.wav").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        pack(patch, tmp_path / "other.timbrel")
    assert not (tmp_path / "other.timbrel").exists()


def test_a_pack_with_its_run_carries_the_trial_and_the_corpus_but_no_previews_and_no_hidden_files(
    reed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_preview", lambda patch: {})  # nobody listens to it
    names = ("run/best.npz", "run/kept/1.npz", "run/previews/1.wav", "trial/best.npz", "trial/previews/1.wav")
    names += ("run/.lock", "corpus/index.json", "corpus/sound/0.npy", "corpus/.cache/0.npy", "report/page.html")
    for name in names:
        (reed.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (reed.parent / name).write_text(name)
    pack(open_patch(str(reed)), tmp_path / "plain.timbrel")
    pack(open_patch(str(reed)), tmp_path / "sent.timbrel", with_run=True)
    plain, sent = (set(read_manifest(tmp_path / f"{name}.timbrel").files) for name in ("plain", "sent"))
    assert sent - plain == {"run/best.npz", "trial/best.npz", "corpus/index.json", "corpus/sound/0.npy"}
    with zipfile.ZipFile(tmp_path / "sent.timbrel") as archive:
        assert archive.read("trial/best.npz").decode() == "trial/best.npz"
    (reed.parent / "corpus").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="has no run and corpus"):
        pack(open_patch(str(reed)), tmp_path / "again.timbrel", with_run=True)
