"""Faults, failures and missing files end in one line, with the documented exit status."""

import sys

import pytest
from timbrel.host.errors import Failure, UserError
from timbrel.host.preset.shipped import MIDI as TUNES

DEMO = TUNES / "demo.mid"


def one_line(ended, status):
    """The single line on stderr of a command that failed."""
    assert ended.status == status, ended
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("timbrel: ")
    assert "Traceback" not in ended.out
    return lines[0].removeprefix("timbrel: ")


# ---- wrong words


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--loud"], "--loud"),
        (["sing"], "sing"),
        (["corpus"], "Missing command"),
        (["corpus", "sing"], "sing"),
        (["render", "--loud"], "--loud"),
        (["train"], "recipe"),
        (["train", "tuned-8"], "--corpus"),
        (["train", "tuned-8", "--corpus", "c"], "--output"),
        (["train", "tuned-8", "--corpus"], "--corpus"),
        (["train", "tuned-8", "--corpus", "c", "-o", "r", "--devices", "two"], "--devices"),
        (["train", "tuned-8", "--corpus", "c", "-o", "r", "--devices", "0"], "--devices"),
        (["train", "tuned-8", "--corpus", "c", "-o", "r", "--minutes", "soon"], "--minutes"),
        (["export", "r", "-o", "m.onnx", "--weights", "float8"], "--weights"),
        (["evaluate", "r", "--checkpoint", "worst"], "--checkpoint"),
        (["make", "s", "-o", "d", "--family", "choir"], "--family"),
        (["make", "-o", "d"], "sounds"),
        (["render", "p", "m.mid", "-o", "o.wav", "--tail", "-1"], "--tail"),
        (["render", "p", "m.mid", "-o", "o.wav", "--tail", "601"], "--tail"),
        (["render", "p", "m.mid", "-o", "o.wav", "--rate", "high"], "--rate"),
        (["render", "p", "m.mid", "-o", "o.wav", "--rate", "15999"], "--rate 15999"),
        (["render", "gm-keys", "m.mid", "more", "-o", "o.wav"], "m.mid"),
        (["play"], "preset"),
        (["play", "p", "--voices", "0"], "--voices"),
        (["play", "p", "--voices", "65"], "--voices"),
        (["play", "p", "--block", "small"], "--block"),
        (["play", "p", "--blocks", "64"], "--blocks"),
        (["play", "p", "more"], "more"),
        (["learn"], "preset"),
        (["learn", "p", "latent.0"], "latent.0"),
        (["devices", "all"], "all"),
        (["demo", "gm-keys", "loud"], "loud"),
        (["demo", "gm-kees"], "did you mean 'gm-keys'?"),
        (["info"], "model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_wrong_word_is_one_line_and_status_2(timbrel, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert named in one_line(timbrel(*arguments), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([""], "timbrel"),
        (["make", "", "-o", "y"], "make"),
        (["render", "gm-keys", DEMO, "-o", ""], "-o"),
        (["render", "gm-keys", DEMO, "-o", "x.wav", "--set", ""], "--set"),
        (["train", "tuned-8", "--corpus", "", "-o", "r"], "--corpus"),
        (["process", "", "--preset", "gm-keys", "-o", "z.wav"], "process"),
    ],
)
def test_an_empty_word_is_not_the_working_folder(timbrel, tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    line = one_line(timbrel(*arguments), 2)
    assert line == f"the word after {word!r} is empty; give a path or a value"
    assert list(tmp_path.iterdir()) == []


# ---- failures


def failing(monkeypatch, error):
    """Make `timbrel recipes` fail in the given way."""

    def broken():
        raise error

    monkeypatch.setattr("timbrel.train.families.recipes.shipped_recipes", broken)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("your file is wrong"), 2, "your file is wrong"),
        (Failure("the disk is full"), 1, "the disk is full"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 1, "memory is used up"),
        (OSError(28, "No space left on device"), 1, "No space left on device; check"),
        (PermissionError(13, "Permission denied", "/a/b"), 1, "cannot use /a/b: Permission denied; check"),
        (ValueError("of\ntwo lines"), 1, "internal error: ValueError: of two lines; run again with --debug"),
        (ModuleNotFoundError("no", name="torch"), 2, "torch is not installed; install it with: pip install 'timbrel["),
        (UserError("two\nlines   and  a\ttab"), 2, "two lines and a tab"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_failure_has_its_status_and_one_line(timbrel, monkeypatch, error, status, text):
    failing(monkeypatch, error)
    assert text in one_line(timbrel("recipes"), status)


@pytest.mark.parametrize("error", [UserError("your file is wrong"), ValueError("a fault")])
def test_debug_shows_a_traceback_and_the_same_last_line(timbrel, monkeypatch, error):
    failing(monkeypatch, error)
    plain = timbrel("recipes")
    ended = timbrel("--debug", "recipes")
    assert "Traceback (most recent call last)" in ended.err
    assert "in broken" in ended.err
    assert ended.err.splitlines()[-1] == plain.err.splitlines()[-1]
    assert ended.status == plain.status


def test_a_missing_extra_is_named_before_any_work(timbrel, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in [name for name in sys.modules if name.startswith(("timbrel.train.loop", "timbrel.train.launch"))]:
        monkeypatch.delitem(sys.modules, module)
    text = one_line(timbrel("train", "tuned-8", "--corpus", "c", "-o", "r"), 2)
    assert text == "torch is not installed; install it with: pip install 'timbrel[train]'"


def test_two_budgets_on_one_line_are_refused(timbrel, tmp_path, tone_corpus):
    ended = timbrel(
        *("train", "tuned-8", "--corpus", tone_corpus, "-o", tmp_path / "run"),
        *("--minutes", "2", "--set", "training.epochs=3"),
    )
    assert one_line(ended, 2) == "--minutes 2 and --set training.epochs=3 are two budgets; give one of them"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("mistakes", "lines"), [(20, 20), (21, 20), (300, 20)])
def test_of_many_mistakes_the_first_are_told(timbrel, tmp_path, mistakes, lines):
    maps = "".join(f"[[cc]]\nnumber = 70\nchannel = 1\ntarget = 'latent.{99 + i}'\n" for i in range(mistakes))
    preset = tmp_path / "wrong.toml"
    preset.write_text('format = 1\nmodel = "gm-chroma-8"\n' + maps)
    said = timbrel("render", preset, DEMO, "-o", tmp_path / "new.wav").err.splitlines()
    assert len(said) == lines
    assert (said[-1] == f"timbrel: {mistakes - 19} more errors; fix these first") == (mistakes > 20)


def test_a_choice_that_there_is_not_is_refused_with_those_there_are(timbrel, tmp_path):
    refused = timbrel("make", tmp_path, "-o", tmp_path / "out", "--family", "nosuch")
    assert refused.status == 2
    assert refused.err.startswith("timbrel: --family 'nosuch' is unknown; give auto, chroma, partials, grain, clip, ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["render gm-keys {} -o o.wav", "info {}", "play {}", "train {} --corpus c -o r"])
def test_an_address_in_place_of_a_file_is_shown_without_its_keys(timbrel, command):
    line = one_line(timbrel(*command.format("https://me:hunter2@host/a?token=hunter2").split()), 2)
    assert "host/a" in line
    assert "hunter2" not in line
