"""The example of docs/extension: a wheel beside timbrel's in an empty home, trained, exported, played and shared."""

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest
import soundfile

from ..export.clusters import cluster
from ..installed import build, copy_checkout, make_environment
from ..test_wheel import BUILDERS, ROOT

EXAMPLE = ROOT / "docs" / "extension"
RATE = 44100
STEPS = "training.steps=24"
ASKED = "kind 'mel' is code of package timbrel-mel-vae 0.1, which has not run here before"
REGISTERED = {  # by CONTRIBUTING.md's recipes: the file, the line that a new entry follows, and the entry
    "train/families/__init__.py": ("FOLDERS = {", '    "mel-vae": ("mel", "Mel"),'),
    "host/kinds/table.py": ("CLASSES = {", '    "mel": ("mel", "MelKind"),'),
}

pytestmark = pytest.mark.skipif(max(BUILDERS, default=0) < 77, reason="needs setuptools 77, which builds wheels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("outside")


@pytest.fixture(scope="module")
def tree(folder):
    return copy_checkout(folder / "checkout")


@pytest.fixture(scope="module")
def python(folder, tree):
    """The Python of an environment with both wheels."""
    example = shutil.copytree(EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("__pycache__", "build"))
    return make_environment(folder / "env", build(tree, folder), build(example, folder))


def runner(command, place, home):
    """A function that runs the command line in a folder and an empty home: its status and words."""
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    environment |= {"HOME": str(home), "OMP_NUM_THREADS": "1"}

    def run(*words):
        return subprocess.run(
            [*command, *map(str, words)], cwd=place, env=environment, capture_output=True, text=True, check=False
        )

    return run


def done(ended):
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def write_sounds(folder):
    """Notes of one second, brighter from key to key, and a tune."""
    (folder / "sounds").mkdir(parents=True)
    times, numbers = np.arange(RATE) / RATE, np.arange(1, 12)[:, None]
    for index, key in enumerate(range(50, 66, 2)):
        phases = 2 * np.pi * 440 * 2 ** ((key - 69) / 12) * numbers * times
        tone = ((0.3 + 0.06 * index) ** numbers * np.sin(phases)).sum(0) * np.exp(-times)
        soundfile.write(folder / "sounds" / f"tone-{key}.wav", 0.3 * tone, RATE)
    file = mido.MidiFile()
    notes = [mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=480)]
    file.tracks.append(mido.MidiTrack(notes))
    file.save(folder / "tune.mid")


@pytest.fixture(scope="module")
def outside(python, folder):
    """A folder with a corpus, a trained run, its model and a preset, made by commands; how to run more of them."""
    place = folder / "place"
    write_sounds(place)
    timbrel = runner([python, "-m", "timbrel"], place, folder / "home")
    done(timbrel("corpus", "build", "sounds", "-o", "corpus", "--workers", 1))
    done(timbrel("train", "mel-vae", "--corpus", "corpus", "-o", "run", "--accelerator", "cpu", "--set", STEPS))
    done(timbrel("export", "run", "-o", "mel.onnx"))
    (place / "mel.toml").write_text('format = 1\nmodel = "mel.onnx"\n[mel]\ntilt_db = -3.0\n')
    done(timbrel("info", "mel.onnx", "--trust"))
    return SimpleNamespace(timbrel=timbrel, place=place)


def test_the_package_s_own_tests_pass_without_the_checkout(python, folder):
    test = shutil.copy(EXAMPLE / "test_mel_vae.py", folder / "test_mel_vae.py")
    run = runner([python], folder, folder / "home of tests")
    where = done(run("-c", "import timbrel, timbrel_mel_vae as other; print(timbrel.__file__, other.__file__)"))
    assert all(Path(file).is_relative_to(folder / "env") for file in where.split())
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", test)
    assert re.search(r"^\d\d passed in", done(ended), re.MULTILINE), ended.stdout


def test_commands_know_the_family_and_state_its_version(outside):
    assert "mel-vae" in done(outside.timbrel("recipes"))
    assert json.loads(done(outside.timbrel("version", "--json")))["packages"]["timbrel-mel-vae"] == "0.1"
    info = json.loads((outside.place / "run" / "run.json").read_text())
    assert info["versions"]["timbrel-mel-vae"] == "0.1"
    done(outside.timbrel("evaluate", "run"))
    assert (outside.place / "run" / "report" / "index.html").exists()


def test_a_file_is_refused_until_its_kind_is_approved_and_then_rendered_and_played(outside, python, folder):
    timbrel = runner([python, "-m", "timbrel"], outside.place, folder / "home of a player")
    tune = ("tune.mid", "-o")
    notes = ("dataset", "mel.toml", "-o", "no", "--notes", 1)
    for words in (["verify", "mel.onnx"], ["render", "mel.toml", *tune, "no.wav"], notes):
        refused = timbrel(*words)
        assert refused.returncode == 2
        [line] = refused.stderr.splitlines()
        assert ASKED in line
    assert not (outside.place / "no.wav").exists()
    done(timbrel("render", "mel.toml", *tune, "trusted.wav", "--trust"))
    assert "all 64 outputs" in done(timbrel("verify", "mel.onnx"))
    done(timbrel("render", "mel.toml", *tune, "again.wav"))
    sound, _ = soundfile.read(outside.place / "again.wav")
    assert np.abs(sound).max() > 1e-3
    assert np.array_equal(sound, soundfile.read(outside.place / "trusted.wav")[0])


LIVE = """
import time, timbrel
if __name__ == "__main__":
    with timbrel.play("mel.toml", null=True) as player:
        player.note_on(60)
        while player.playing and player.status.peaks_db[0] < -60:
            time.sleep(0.01)
        print(player.playing, player.status.voices)
"""


def test_it_is_played_live_in_the_process_that_sounds(outside, python, folder):
    (outside.place / "live.py").write_text(LIVE)
    run = runner([python], outside.place, folder / "home of live playing")
    refused = run("live.py")
    assert ASKED in refused.stderr
    (outside.place / "live.py").write_text(
        LIVE.replace('timbrel.play("mel.toml"', 'timbrel.play(timbrel.open("mel.toml", trust=True)')
    )
    assert done(run("live.py")) == "True 1\n"


def test_a_pack_of_it_is_asked_about_in_another_home(outside, python, folder):
    done(outside.timbrel("pack", "mel.toml", "-o", "mel.timbrel"))
    other = runner([python, "-m", "timbrel"], outside.place, folder / "other home")
    refused = other("get", "mel.timbrel")
    assert refused.returncode == 2
    assert ASKED in refused.stderr
    done(other("get", "mel.timbrel", "--trust"))
    done(other("render", "mel", "tune.mid", "-o", "packed.wav"))


def notes_in(folder):
    """The files of a data set's notes, by name."""
    members = {}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            members |= {member.name: archive.extractfile(member).read() for member in archive}
    return members


def make_notes(outside, name, *options):
    words = ("mel.toml", "-o", name, "--notes", 130, "--seconds", 0.5, *options)
    done(outside.timbrel("dataset", *words))
    return notes_in(outside.place / name)


def test_workers_render_the_same_notes_and_another_version_does_not_go_on(outside):
    alone = make_notes(outside, "alone", "--workers", 1)
    assert len(alone) == 2 * 130
    assert make_notes(outside, "shared", "--workers", 2) == alone
    index = outside.place / "alone" / "index.json"
    fields = json.loads(index.read_text())
    assert fields["made_by"]["packages"] == {"timbrel-mel-vae": "0.1"}
    index.write_text(index.read_text().replace('"timbrel-mel-vae": "0.1"', '"timbrel-mel-vae": "0.0"'))
    refused = outside.timbrel("dataset", "mel.toml", "-o", "alone", "--notes", 130, "--seconds", 0.5, "--workers", 1)
    assert refused.returncode == 2
    assert "timbrel-mel-vae" in refused.stderr


def test_two_processes_train_it(outside):
    words = ("mel-vae", "--corpus", "corpus", "-o", "two", "--accelerator", "cpu", "--devices", 2, "--set", STEPS)
    done(outside.timbrel("train", *words))
    assert (outside.place / "two" / "last.ckpt").exists()


@pytest.mark.slow
def test_two_ray_workers_render_the_same_notes_and_train_a_sweep(outside, python):
    pytest.importorskip("ray")
    alone = make_notes(outside, "before the cluster", "--workers", 1)
    with cluster([str(python), "-m", "ray.scripts.scripts"]) as (address, _):
        assert make_notes(outside, "on the cluster", "--ray", address) == alone
        words = ("mel-vae", "--corpus", "corpus", "-o", "sweep", "--set", STEPS, "--set", "training.seed=1,2")
        done(outside.timbrel("sweep", *words, "--ray", address, "--accelerator", "cpu"))
    assert len((outside.place / "sweep" / "sweep.csv").read_text().splitlines()) == 3


# ---- CONTRIBUTING.md's recipes


def recipe_of(heading):
    """A paragraph of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.search(rf"^\*\*{re.escape(heading)}\*\*.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL).group()


def test_the_recipes_of_contributing_lead_to_a_family_and_a_kind_that_are_timbrel_s_own(tree, folder):
    """The example's files, at the places that the recipes name, in a copy of the checkout."""
    family, kind = recipe_of("A family."), recipe_of("A kind")
    checkout = shutil.copytree(tree, folder / "contributed" / "timbrel")
    source = EXAMPLE / "timbrel_mel_vae"
    places = {  # file, its place, and the words of the recipe that lead there
        "recipe.py": ("train/families/mel/recipe.py", "`recipe.py`", family),
        "mel-vae.toml": ("train/families/mel/mel-vae.toml", "TOML files", family),
        "training.py": ("train/families/mel/data.py", "`data.py`", family),
        "export.py": ("export/families/mel.py", "`export/families/NAME.py`", family),
        "kind.py": ("host/kinds/mel.py", "`host/kinds/NAME.py`", kind),
        "engine.py": ("host/engines/mel/engine.py", "`host/engines/NAME/engine.py`", kind),
    }
    assert "`train/families/NAME/`" in family
    assert "`make_engine(model, request)`" in kind
    modules = {"kind": "timbrel.host.kinds.mel", "recipe": "timbrel.train.families.mel.recipe"}
    modules |= {"training": "timbrel.train.families.mel.data"}
    for file, (place, words, recipe) in places.items():
        assert words in recipe
        text = (source / file).read_text(encoding="utf-8")
        for name, module in modules.items():
            text = text.replace(f"from .{name} import", f"from {module} import")
        text = text.replace('name, engines = "mel", "timbrel_mel_vae"', 'name = "mel"')
        (checkout / place).parent.mkdir(exist_ok=True)
        (checkout / place).write_text(text, encoding="utf-8")
        (checkout / place).with_name("__init__.py").touch()
    for file, (after, line) in REGISTERED.items():
        name = after.partition(" ")[0]
        assert f"`{name}`" in family + kind
        text = (checkout / file).read_text(encoding="utf-8")
        at = text.index("\n", text.index(after)) + 1
        (checkout / file).write_text(f"{text[:at]}{line}\n{text[at:]}", encoding="utf-8")
    sections = checkout / "host/kinds/sections.py"
    assert "`Sections`" in kind
    text = sections.read_text(encoding="utf-8").replace("class Sections(", "class Sections(MelSections, ")
    sections.write_text(text.replace("from .stream", "from .mel import MelSections\nfrom .stream"), encoding="utf-8")
    demos = checkout / "export/kinds/mel.py"
    assert "`export/kinds/NAME.py`" in kind
    demos.write_text(
        "from ...host.preset.library import default_knobs\n"
        "from .kind import RATE, ExportKind, held_key, preset_of\n"
        'KIND = ExportKind("mel", lambda model: preset_of(model, cc=default_knobs(model.card)),\n'
        "                  lambda patch, velocity: (held_key(RATE, velocity), RATE))\n"
    )
    command = ["env", f"PYTHONPATH={checkout.parent}", os.sys.executable, "-m", "timbrel"]
    place = folder / "contributed" / "place"
    write_sounds(place)
    timbrel = runner(command, place, folder / "contributed" / "home")
    done(timbrel("corpus", "build", "sounds", "-o", "corpus", "--workers", 1))
    done(timbrel("train", "mel-vae", "--corpus", "corpus", "-o", "run", "--accelerator", "cpu", "--set", STEPS))
    done(timbrel("evaluate", "run"))
    done(timbrel("export", "run", "-o", "mel.onnx"))
    (place / "mel.toml").write_text('format = 1\nmodel = "mel.onnx"\n[mel]\ntilt_db = -3.0\n')
    done(timbrel("verify", "mel.onnx"))
    done(timbrel("render", "mel.toml", "tune.mid", "-o", "own.wav"))
    assert np.abs(soundfile.read(place / "own.wav")[0]).max() > 1e-3
