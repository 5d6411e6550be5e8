"""Folders of good and bad files, one name each, and the line with which a command refuses one."""

import functools
import json
import multiprocessing
import os
import shutil

import numpy as np
import onnx
import soundfile

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x40\x64\x83\x60\x80\x40\x00"  # E4 for half a second at 120 BPM


def midi(track=NOTE + END, tracks=1, kind=0, division=480):
    head = b"MThd" + (6).to_bytes(4) + kind.to_bytes(2) + tracks.to_bytes(2) + division.to_bytes(2)
    return head + tracks * (b"MTrk" + len(track).to_bytes(4) + track)


def preset(**keys):
    """A preset's text for the pantry's model, with these keys (TOML text) in place of its own."""
    lines = {"format": "1", "model": '"model.onnx"', **keys}
    return "".join(f"{key} = {value}\n" for key, value in lines.items() if value)


def stock_sounds(folder):
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "notes.txt").write_text("no sound", encoding="utf-8")
    (folder / "text.wav").write_text("this is no sound", encoding="utf-8")
    (folder / "zero.wav").write_bytes(b"")
    (folder / "text.tar").write_text("this is no tar file", encoding="utf-8")
    (folder / "bad-row.csv").write_text("key\n60\nmiddle\n", encoding="utf-8")
    noise = 0.1 * np.random.default_rng(0).standard_normal(44100)
    soundfile.write(folder / "frameless.wav", noise[:0], 44100)
    soundfile.write(folder / "three.wav", noise[:3], 44100)
    soundfile.write(folder / "nan.wav", noise * np.nan, 44100, subtype="FLOAT")
    soundfile.write(folder / "silent.wav", noise * 0, 44100)
    soundfile.write(folder / "good.wav", noise, 44100)
    soundfile.write(folder / "other.wav", noise[::-1], 44100)


def stock_training(folder, corpus, run):
    import torch  # lazy: the process that only distributes tests needs none

    shutil.copytree(corpus, folder / "corpus")
    shutil.copytree(corpus, folder / "corpus-of-tomorrow")
    manifest = folder / "corpus-of-tomorrow" / "corpus.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 6}), encoding="utf-8")
    shutil.copytree(corpus, folder / "corpus-cut-off")
    os.truncate(folder / "corpus-cut-off" / "audio-00000.f32", 1000)
    for name in ("run", "run-untrained", "run-of-tomorrow", "run-damaged", "run-foreign", "run-mixed-up"):
        shutil.copytree(run, folder / name)
        info = json.loads((folder / name / "run.json").read_text())
        (folder / name / "run.json").write_text(json.dumps({**info, "corpus": "../corpus"}), encoding="utf-8")
    for name in ("best.ckpt", "last.ckpt"):
        (folder / "run-untrained" / name).unlink()
        (folder / "run-damaged" / name).write_bytes((folder / "run" / name).read_bytes()[:1000])
        torch.save({"state_dict": {}}, folder / "run-foreign" / name)
        content = torch.load(folder / "run" / name, weights_only=True)
        content["model"]["output.bias"] = torch.zeros(7)
        torch.save(content, folder / "run-mixed-up" / name)
    info = json.loads((folder / "run" / "run.json").read_text())
    (folder / "run-of-tomorrow" / "run.json").write_text(json.dumps({**info, "format": 2}), encoding="utf-8")
    (folder / "wrong.toml").write_text('base = "chroma-8"\nnetwork.latnts = 3\n', encoding="utf-8")


def card_of(model):
    return json.loads(onnx.load(model).metadata_props[0].value)


def stock_models(folder, model):
    shutil.copy(model, folder / "model.onnx")
    (folder / "text.onnx").write_text("this is no model", encoding="utf-8")
    (folder / "zero.onnx").write_bytes(b"")
    (folder / "cut-off.onnx").write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    shutil.copy(model.with_name("small.encoder.onnx"), folder / "foreign.onnx")
    for name, change in (
        ("of-tomorrow.onnx", {"format": 2}),
        (
            "of-another-graph.onnx",
            {
                "kind": "stream",
                "domain": "samples",
                "chroma": None,
                "state": [{"name": "previous", "shape": [4]}],
                "reference": card_of(model)["reference"] | {"peaks": None},
                "stream": {"step_length": card_of(model)["frame_length"], "levels_db": [-60.0, 0.0]},
            },
        ),
        ("of-another-kind.onnx", {"kind": "stream"}),
        ("without-license.onnx", {"license": ...}),
    ):
        changed = onnx.load(folder / "model.onnx")
        card = json.loads(changed.metadata_props[0].value)
        card = {key: value for key, value in {**card, **change}.items() if value is not ...}
        changed.metadata_props[0].value = json.dumps(card)
        onnx.save(changed, folder / name)


def stock_music(folder):
    (folder / "good.mid").write_bytes(midi())
    (folder / "zero.mid").write_bytes(b"")
    (folder / "text.mid").write_text("this is no music", encoding="utf-8")
    (folder / "cut-off.mid").write_bytes(midi()[:-6])
    (folder / "good.toml").write_text(preset(), encoding="utf-8")
    for name, keys in {
        "wrong-key": {"modle": '"x"'},
        "wrong-part": {"play": "{ vioces = 8 }"},
        "wrong-length": {"latent": "{ values = [0.1, 0.2] }"},
        "wrong-cc": {"cc": '[{ number = 200, target = "latent.0", low = 0, high = 1 }]'},
        "wrong-target": {"cc": '[{ number = 74, target = "latent.9", low = 0, high = 1 }]'},
        "wrong-effect": {"effects": '[{ plugin = "Reverbb" }]'},
        "wrong-type": {"play": '{ voices = "many" }'},
        "missing-model": {"model": '"gone.onnx"'},
        "modelless": {"model": ""},
        "of-tomorrow": {"format": "2"},
    }.items():
        (folder / f"{name}.toml").write_text(preset(**keys), encoding="utf-8")
    (folder / "text.toml").write_text("this is no preset", encoding="utf-8")
    (folder / "old.wav").write_bytes(b"an old recording")
    (folder / "old.onnx").write_bytes(b"an old model")


def begin_quickly(monkeypatch):
    """Fork the audio process, with its modules loaded, instead of starting Python again."""
    from timbrel.host import child_process
    from timbrel.host.live import audio_process  # noqa: F401 - the fork runs it
    from timbrel.host.play.voice_worker import START

    monkeypatch.setattr(child_process, "FreshContext", lambda: multiprocessing.get_context(START))


def contents(folder):
    """Every file in a folder and what it holds."""
    return {path: held(path, written(path)) if path.is_file() else None for path in sorted(folder.rglob("*"))}


def written(path):
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@functools.cache
def held(path, when):
    """The content of a file since it was written; reading all of them around each test takes long."""
    return path.read_bytes()


def one_line(ended, status=2):
    assert ended.status == status, ended
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("timbrel: ")
    assert "internal error" not in lines[0]
    return lines[0]


RENDER = "render model.onnx good.mid -o new.wav"
