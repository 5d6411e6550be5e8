"""Kinds of installed packages: found by name alone, run after consent, with a preset table and frames of their own."""

import io
import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from timbrel.export.samples.dataset import Batch, dataset_job, render_labelled
from timbrel.export.samples.drawing import DatasetSettings
from timbrel.host import extensions
from timbrel.host.engines.engine import codec_of
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOn
from timbrel.host.kinds.table import CLASSES, KINDS, is_known, known_kinds
from timbrel.host.model.card import read_card
from timbrel.host.model.map_layout import map_of, timbre, timbre_of
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.plugin_consent import ask_for
from timbrel.host.preset.preset import Preset, preset_class

from ..packages import install, only_for_now
from ..patience import PATIENCE_SECONDS

KIND = """
from typing import Annotated
import numpy as np
from pydantic import Field
from timbrel.host.kinds.kind import Kind
from timbrel.host.settings import Knob, SettingsSection, controls_of

class Settings(SettingsSection):
    height: Annotated[float, Field(ge=0, le=1), Knob("of full scale")] = 0.25

class Sections(SettingsSection):
    toy: Settings | None = None

class ToyKind(Kind):
    name, engines, settings = "toy", "toy_package", Sections
    controls = controls_of(Settings, "toy")
"""
ENGINE = """
import numpy as np
from timbrel.host.engines.engine import Engine, VoiceSound
from timbrel.host.ramps import Ramp

class Steps(Engine):
    '''A voice is as high as the parameter that moves.'''

    def __init__(self, height):
        self.targets = {"toy.height": Ramp(height, 1)}

    def start_stream(self, pitch, time, key, velocity=127):
        return VoiceSound(key=pitch, on=time)

    def render(self, streams, motion, start, count):
        height = self.targets["toy.height"].value(start + count - 1)
        return [np.full((1, count), height, np.float32) for _ in streams]

def make_engine(model, request):
    settings = request.kind_settings
    return Steps(0.25 if settings is None else settings.height)
"""
ENTRIES = {extensions.KINDS: {"toy": "toy_package.kind:ToyKind"}}
MODULES = {"toy_package/__init__.py": "", "toy_package/kind.py": KIND, "toy_package/engine.py": ENGINE}
TUNE = bytes.fromhex("4d546864000000060000000100604d54726b0000000c00903c4060803c4000ff2f00")
DOMAIN = {"name": "toy_levels", "width": 513, "meaning": "levels of nothing, from low to high"}
UNNAMED = "kind 'toy' is code of package toy-package 1.0, which has not run here before"


@pytest.fixture(autouse=True)
def settings(tmp_path_factory, monkeypatch):
    """Settings in which nothing is approved."""
    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with one installed package."""
    with only_for_now(monkeypatch, tmp_path / "site") as folder:
        install(folder, "toy-package", ENTRIES, MODULES)
        yield folder


@pytest.fixture
def model(tmp_path, analytic):
    """A model of the package's kind."""
    return save(analytic, tmp_path / "toy.onnx", DOMAIN)


def save(analytic, path, domain):
    return analytic(chroma=False).save(path, analytic(chroma=False).proved() | {"kind": "toy", "domain": domain})


@pytest.fixture
def preset(model):
    path = model.with_suffix(".toml")
    path.write_text(f'format = 1\nmodel = "{model.name}"\n[toy]\nheight = 0.5\n[play]\ngain_db = -40\n')
    return path


# ---- names


def test_a_name_is_found_among_entry_points_and_nothing_is_imported(site):
    assert extensions.names(extensions.KINDS) == ["toy"]
    assert extensions.find(extensions.KINDS, "toy").name == "toy-package"
    assert is_known("toy")
    assert extensions.find(extensions.FAMILIES, "toy") is None
    assert not [name for name in sys.modules if name.startswith("toy_package")]


@pytest.mark.parametrize("name", ["toy_package", "toy_package.kind:ToyKind", "toy.export", "os", "", "Toy", "a" * 99])
def test_a_file_s_name_is_no_module_package_or_part(site, name, analytic):
    unfit = dict.fromkeys(("toy.export", "Toy", "a" * 99), "toy_package.kind:ToyKind")
    entries = {extensions.KINDS: ENTRIES[extensions.KINDS] | unfit}
    install(site, "toy-package", entries, MODULES)
    assert extensions.names(extensions.KINDS) == ["toy"]
    with pytest.raises(UserError, match="its card is not valid: kind:") as raised:
        read_card(json.dumps(analytic(chroma=False).card(kind=name)), "a.onnx")
    assert "install it" not in str(raised.value)
    assert "pip" not in str(raised.value)
    assert not [module for module in sys.modules if module.startswith("toy_package")]


def test_timbrel_s_own_kind_wins_over_a_package_s(site):
    install(site, "sly-package", {extensions.KINDS: {"clip": "toy_package.kind:ToyKind"}}, {})
    KINDS.pop("clip", None)
    assert type(KINDS["clip"]).__module__ == "timbrel.host.kinds.clip"
    ask_for(["gm-drums"], trust=False)


def test_two_packages_with_one_name_are_refused_by_both_names_in_one_line(site, model, timbrel):
    install(site, "another-package", {extensions.KINDS: {"toy.export": "another:KIND"}}, {})
    ended = timbrel("info", model, "--trust")
    assert ended.status == 2
    [line] = ended.err.splitlines()
    assert "kind 'toy' is of two installed packages, another-package and toy-package; uninstall one of them" in line


def test_of_two_copies_of_a_package_the_first_on_the_path_counts(site, tmp_path, monkeypatch):
    install(tmp_path / "other", "toy-package", ENTRIES, {}, version="2.0")
    monkeypatch.syspath_prepend(tmp_path / "other")
    assert extensions.find(extensions.KINDS, "toy").version == "2.0"


# ---- consent


def test_a_kind_s_code_is_asked_about_once(site, model, timbrel, settings):
    for command in (["info", model], ["verify", model], ["render", model, "absent.mid", "-o", "a.wav"]):
        refused = timbrel(*command)
        assert refused.status == 2
        [line] = refused.err.splitlines()
        assert f"{model}: {UNNAMED}; if you know where the file is from, run 'timbrel info FILE'" in line
    assert not [name for name in sys.modules if name.startswith("toy_package")]
    assert not list(settings.iterdir())
    assert timbrel("info", model, "--trust").status == 0
    assert list(json.loads((settings / "timbrel" / "plugins.json").read_text())) == ["package toy-package"]
    assert "levels of nothing, from low to high" in timbrel("info", model).out


def test_another_version_and_other_files_of_a_package_are_asked_about_again(site, model):
    ask_for([str(model)], trust=True)
    ask_for([str(model)], trust=False)
    install(site, "toy-package", ENTRIES, MODULES, version="1.1")
    with pytest.raises(UserError, match=re.escape("package toy-package 1.1, which has not run here")):
        ask_for([str(model)], trust=False)
    ask_for([str(model)], trust=True)
    install(site, "toy-package", ENTRIES, MODULES | {"toy_package/kind.py": KIND + "\n"}, version="1.1")
    with pytest.raises(UserError, match="has not run here"):
        ask_for([str(model)], trust=False)


def test_a_package_without_a_record_is_asked_about_again_when_its_metadata_change(site, model):
    (facts,) = site.glob("*.dist-info")
    (facts / "RECORD").unlink()
    ask_for([str(model)], trust=True)
    ask_for([str(model)], trust=False)
    (facts / "METADATA").write_text((facts / "METADATA").read_text() + "Summary: other\n")
    with pytest.raises(UserError, match="has not run here"):
        ask_for([str(model)], trust=False)


def test_approvals_of_others_stay_and_a_file_of_none_is_empty(site, model, settings):
    file = settings / "timbrel" / "plugins.json"
    file.parent.mkdir()
    file.write_text("[1]")
    ask_for([str(model)], trust=True)
    file.write_text(json.dumps({"/a.vst3": "digest"} | json.loads(file.read_text())))
    install(site, "toy-package", ENTRIES, MODULES, version="1.1")
    ask_for([str(model)], trust=True)
    assert [*json.loads(file.read_text())] == ["/a.vst3", "package toy-package"]


def test_the_model_of_a_preset_in_another_folder_is_asked_about(site, model, tmp_path, monkeypatch):
    preset = tmp_path / "plain.toml"
    preset.write_text(f'format = 1\nmodel = "{model.name}"\n')
    monkeypatch.chdir("/")
    with pytest.raises(UserError, match=UNNAMED):
        ask_for([str(preset)], trust=False)


def test_a_question_has_no_controls_of_the_terminal(site, model, monkeypatch, capsys):
    named = model.rename(model.with_name("a\x1b[2Jb.onnx"))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    ask_for([str(named)], trust=False)
    asked = capsys.readouterr().err
    assert "Allow it?" in asked
    assert "\x1b" not in asked


def test_a_preset_s_own_table_is_asked_about_too(site, preset, tmp_path):
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text('format = 1\nmodel = "gm-chroma-8"\n[toy]\nheight = 0.5\n')
    for file in (preset, elsewhere):
        with pytest.raises(UserError, match=UNNAMED):
            ask_for([str(file)], trust=False)
    with pytest.raises(UserError, match=UNNAMED):
        open_patch(str(elsewhere))


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_a_terminal_asks(site, model, settings, answer, status):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "timbrel", "info", str(model)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command, stdin=theirs, stdout=-1, stderr=-1, text=True, env=environment) as run:
        os.write(ours, answer.encode())
        _, err = run.communicate(timeout=PATIENCE_SECONDS)
    os.close(theirs)
    os.close(ours)
    assert run.returncode == status, err
    assert f"{model} is of kind 'toy': package toy-package 1.0 runs with your permissions. Allow it? [y/N]" in err
    assert (settings / "timbrel" / "plugins.json").exists() == (status == 0)


def test_a_model_opened_from_python_is_refused_without_consent(site, model):
    with pytest.raises(UserError, match=re.escape(f"{model}: {UNNAMED}")):
        open_patch(str(model))
    extensions.allow(["toy-package"])
    assert open_patch(str(model)).model.card.kind == "toy"


def test_a_pack_is_asked_about_before_its_model_is_proved(site, preset, timbrel, tmp_path, settings, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    extensions.allow(["toy-package"])
    assert timbrel("pack", preset, "-o", tmp_path / "toy.timbrel").status == 0
    extensions._allowed.clear()
    KINDS.pop("toy")
    refused = timbrel("get", tmp_path / "toy.timbrel")
    assert refused.status == 2
    assert UNNAMED in refused.err
    fetched = timbrel("get", tmp_path / "toy.timbrel", "--trust")
    assert fetched.status == 0, fetched.err
    assert timbrel("info", "toy").status == 0


# ---- a package that does not fit


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise RuntimeError('two\\nlines')", "cannot be loaded: RuntimeError: two lines; install another version"),
        ("import absent_module", "cannot be loaded: ModuleNotFoundError: No module named 'absent_module'"),
        ("", "cannot be loaded: AttributeError"),
        ("import sys; sys.exit('bye')", "cannot be loaded: SystemExit: bye; install another version"),
        (KIND + "    def __init__(self): raise RuntimeError('no')", "cannot be loaded: RuntimeError: no"),
        ("ToyKind = 5", "is no class of Kind of this name"),
        (KIND.replace('name, engines, settings = "toy"', 'name, engines, settings = "other"'), "is no class of Kind"),
        (KIND.replace('"toy", "toy_package", Sections', '"toy", "", Sections'), "names no package of its engine"),
        (KIND.replace("toy: Settings", "clip: Settings"), r"has a preset table beside \[toy\]"),
    ],
)
def test_a_package_that_does_not_fit_is_refused_in_a_line(site, model, timbrel, module, words):
    install(site, "toy-package", ENTRIES, MODULES | {"toy_package/kind.py": module})
    ended = timbrel("info", model, "--trust")
    assert ended.status == 2
    [line] = ended.err.splitlines()
    assert re.search(words, line), line


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("import absent_module", "cannot be loaded: ModuleNotFoundError: No module named 'absent_module'; install"),
        ("import sys; sys.exit(0)", "cannot be loaded: SystemExit: 0"),
        ("def (", "cannot be loaded: SyntaxError"),
        ("", "cannot be loaded: AttributeError: module 'toy_package.engine' has no attribute 'make_engine'"),
    ],
)
def test_an_engine_that_cannot_be_loaded_is_one_line(site, preset, timbrel, tmp_path, engine, words):
    install(site, "toy-package", ENTRIES, MODULES | {"toy_package/engine.py": engine})
    (tmp_path / "tune.mid").write_bytes(TUNE)
    ended = timbrel("render", preset, tmp_path / "tune.mid", "-o", tmp_path / "tune.wav", "--trust")
    assert ended.status == 2
    [line] = ended.err.splitlines()
    assert words in line
    assert not (tmp_path / "tune.wav").exists()


def test_a_kind_whose_engine_s_package_is_absent_sends_no_sound_through_in_one_line(site, model):
    """No advice to install a package of timbrel's."""
    kind = KIND.replace('"toy", "toy_package", Sections', '"toy", "absent_package", Sections')
    install(site, "toy-package", ENTRIES, MODULES | {"toy_package/kind.py": kind})
    extensions.allow(["toy-package"])
    with pytest.raises(UserError, match="cannot be loaded: ModuleNotFoundError: No module named 'absent_package'"):
        codec_of(open_patch(str(model)).model.card, "own")


# ---- frames and playing


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("loud", "domain: give 'samples' or"),
        (DOMAIN | {"name": "magnitude"}, "'magnitude' is a domain of timbrel's own; give the name alone"),
        (DOMAIN | {"name": "Loud one"}, "domain.declared.name"),
        (DOMAIN | {"width": 0}, "domain.declared.width"),
        (DOMAIN | {"width": (1 << 22) + 1}, "domain.declared.width"),
        (DOMAIN | {"meaning": ""}, "domain.declared.meaning"),
    ],
)
def test_a_domain_is_one_of_timbrel_s_or_has_a_width_and_a_meaning(site, analytic, domain, words):
    extensions.allow(["toy-package"])
    fields = analytic(chroma=False).card(kind="toy")
    card = read_card(json.dumps(fields | {"domain": DOMAIN}), "a.onnx")
    assert card.frame_width == 513
    assert card.model_copy(update={"envelope_points": 4}).frame_width == 517
    with pytest.raises(UserError, match=re.escape(words)):
        read_card(json.dumps(fields | {"domain": domain}), "a.onnx")


def test_a_width_that_is_not_the_graph_s_is_refused(site, model, analytic):
    extensions.allow(["toy-package"])
    save(analytic, model, DOMAIN | {"width": 512})
    with pytest.raises(UserError, match="peaks must hold 512 rows"):
        open_patch(str(model))


def test_timbrel_s_kinds_take_no_declared_domain(analytic):
    with pytest.raises(UserError, match="domain 'toy_levels' does not go with kind 'spectrum'"):
        read_card(json.dumps(analytic(chroma=False).card(domain=DOMAIN)), "a.onnx")


def test_a_preset_has_the_kind_s_table_and_a_controller_moves_it(site, preset):
    extensions.allow(["toy-package"])
    preset.write_text(preset.read_text() + '[[cc]]\nnumber = 20\ntarget = "toy.height"\n')
    patch = open_patch(str(preset))
    assert patch.preset.toy.height == 0.5
    assert [*known_kinds()] == [*CLASSES, "toy"]
    rack = Rack({0: patch}, patch.model.card.sample_rate)
    held = rack.process([NoteOn(0, 0, 60, 127)], 8192)[0][0]
    moved = rack.process([ControlChange(8192, 0, 20, 127)], 8192)[0][0]
    assert np.isclose(moved[-1] / held[-1], 2.0, rtol=1e-3)


def test_a_wrong_key_of_the_table_names_the_right_one(site, preset):
    extensions.allow(["toy-package"])
    preset.write_text(preset.read_text().replace("height =", "heigth ="))
    with pytest.raises(UserError, match=r"line 4: unknown key 'toy.heigth'; did you mean 'height'\?"):
        open_patch(str(preset))


def test_the_table_is_refused_for_a_model_of_another_kind(site, preset, tmp_path, analytic):
    extensions.allow(["toy-package"])
    analytic().save(tmp_path / "toy.onnx")
    with pytest.raises(UserError, match=r"\[toy\] is for models of kind 'toy'"):
        open_patch(str(preset))


def test_frames_without_spectra_have_no_timbre_and_a_map_of_codes_alone(site, model):
    extensions.allow(["toy-package"])
    opened = open_patch(str(model)).model
    assert timbre(opened, np.full((1, 2), 0.5, np.float32), np.zeros(1, np.intp)) is None
    assert len(map_of(opened).codes) == 1


def test_frames_with_spectra_have_the_timbre_that_their_kind_measures(site, model):
    measures = "    def power_spectra(self, card, frames):\n        return frames ** 2\n"
    install(site, "toy-package", ENTRIES, MODULES | {"toy_package/kind.py": KIND + measures})
    extensions.allow(["toy-package"])
    opened, codes, no_keys = open_patch(str(model)).model, np.eye(2, dtype=np.float32), np.zeros(2, np.intp)
    fields = opened.card.model_dump() | {"kind": "spectrum", "domain": "magnitude"}
    magnitudes = read_card(json.dumps(fields), "a.onnx")
    expected = timbre_of(magnitudes, opened.decode(codes, no_keys), no_keys)
    for quantity, measured in zip(expected, timbre(opened, codes, no_keys), strict=True):
        assert np.array_equal(quantity, measured)


def test_versions_are_compared_by_name(site):
    extensions.check_versions(extensions.KINDS, ["toy"], {"toy-package": "1.0"})
    with pytest.raises(UserError, match=r"package toy-package is 1\.0 here and 2\.0 at the start; install the same"):
        extensions.check_versions(extensions.KINDS, ["toy"], {"toy-package": "2.0"})
    with pytest.raises(UserError, match="package gone is not installed here and 1 at the start"):
        extensions.check_versions(extensions.KINDS, ["gone"], {"gone": "1"})


def test_a_worker_trusts_the_job_s_packages_and_refuses_another_version(site, preset):
    """Not approved there, as on another machine."""
    extensions.allow(["toy-package"])
    job = dataset_job([str(preset)], DatasetSettings(seconds=0.5, sample_rate=16000), 2, print)
    assert job.packages == (("toy-package", "1.0"),)
    extensions._allowed.clear()
    KINDS.pop("toy")
    assert [note.number for note in render_labelled(job, Batch(0))] == [0, 1]
    other = job._replace(packages=(("toy-package", "0.9"),))
    with pytest.raises(UserError, match=r"package toy-package is 1\.0 here and 0\.9 at the start"):
        render_labelled(other, Batch(0))


def test_the_versions_of_packages_are_printed(site, timbrel):
    printed = json.loads(timbrel("version", "--json").out)
    assert printed["packages"]["toy-package"] == "1.0"


def test_both_packages_of_one_kind_are_printed(site, timbrel):
    install(site, "other-toys", ENTRIES, {})
    packages = json.loads(timbrel("version", "--json").out)["packages"]
    assert (packages["toy-package"], packages["other-toys"]) == ("1.0", "1.0")


def test_a_preset_searches_the_packages_once_for_all_its_tables(monkeypatch):
    """A search takes milliseconds, and a file of another kind may have thousands of tables."""
    searches, entries = [], extensions._entries
    monkeypatch.setattr(extensions, "_entries", lambda group: searches.append(group) or entries(group))
    assert preset_class([f"table{number}" for number in range(50)]) is Preset
    assert searches == [extensions.KINDS]
    assert preset_class(["play", "effects"]) is Preset
    assert len(searches) == 1


def test_opening_timbrel_s_kinds_looks_for_no_package(tmp_path):
    program = "import importlib.metadata\nimportlib.metadata.entry_points = None\n"
    program += "from timbrel.host.preset.library import open_patch\nopen_patch('gm-oboe')\n"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
