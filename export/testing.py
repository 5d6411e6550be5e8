"""Tests that a package's network family inherits, from training to live playing; needs timbrel[testing].

A test module of the package has a class for each recipe, and pytest runs it:

    from timbrel.export.testing import FamilySuite

    class TestMine(FamilySuite):
        recipe = "mine"
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch

from ..host import extensions
from ..host.arrays import Array
from ..host.audio.sound_files import flac_bytes
from ..host.commands.options import opened_model
from ..host.events import ControlChange, Event, NoteOff, NoteOn, PitchBend
from ..host.kinds.table import CLASSES
from ..host.play.player import Player
from ..host.play.rack import Rack
from ..host.preset.library import open_patch
from ..host.units import midi_to_hz
from ..train import checkpoint, loop
from ..train.api import build_corpus, train_recipe
from ..train.families import FAMILIES, FOLDERS, RECIPES, package_versions
from ..train.families.recipes import load_recipe
from ..train.loop import Outcome
from .api.runs import evaluate_run, export_model

RATE = 44100
STOPPING_STEP = 3  # of the training that is resumed
AUDIBLE = 1e-3  # -60 dBFS, of a peak
BLOCK_SIZES = (1, 64, 65, 1024)  # around a usual size, and neither
TUNE: list[Event] = [
    NoteOn(100, 0, 60, 100),
    ControlChange(900, 0, 70, 127),
    NoteOn(3000, 0, 64, 80),
    PitchBend(3500, 0, 4096),
    ControlChange(4000, 0, 70, 10),
    NoteOff(9000, 0, 60),
    NoteOff(12000, 0, 64),
]
TUNE_SAMPLES = 16384
_folders: dict[type, Path] = {}  # by class


class FamilySuite:
    """Inherit and set ``recipe``; pytest collects the class if its name begins with ``Test``.

    Attributes:
        recipe: name of a recipe in the package, or path of a TOML file.
        changes: of the recipe, so that training takes seconds.
    """

    recipe: ClassVar[str] = ""
    changes: ClassVar[Sequence[str]] = ("training.steps=24",)

    def write_sounds(self, folder: Path) -> None:
        """Write the corpus's sound files: twelve tones of one second here, brighter from key to key."""
        times = np.arange(RATE) / RATE
        for index, key in enumerate(range(48, 72, 2)):
            numbers = np.arange(1, 20)[:, None]
            tone = ((0.3 + 0.05 * index) ** numbers * np.sin(2 * np.pi * midi_to_hz(key) * numbers * times)).sum(0)
            samples = (0.3 * tone * np.exp(-times))[None].astype(np.float32)
            (folder / f"tone-{key}.flac").write_bytes(flac_bytes(samples, RATE))

    @pytest.fixture
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder that the tests of the class share."""
        if type(self) not in _folders:
            _folders[type(self)] = tmp_path_factory.mktemp("family")
        return _folders[type(self)]

    @pytest.fixture(autouse=True)
    def _home(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Empty settings of the user, and one thread: sums of several have other roundings."""
        thread_count = torch.get_num_threads()
        torch.set_num_threads(1)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        yield
        torch.set_num_threads(thread_count)

    @pytest.fixture
    def corpus(self, folder: Path) -> Path:
        if not (folder / "corpus").exists():
            (folder / "sounds").mkdir()
            self.write_sounds(folder / "sounds")
            build_corpus(folder / "sounds", folder / "corpus", workers=1)
        return folder / "corpus"

    @pytest.fixture
    def run(self, folder: Path, corpus: Path) -> Path:
        """A trained run."""
        if not (folder / "run").exists():
            self.train(corpus, folder / "run")
        return folder / "run"

    @pytest.fixture
    def model(self, folder: Path, run: Path) -> Path:
        """A run's model, whose package is approved."""
        if not FAMILIES[self.family].exported:
            pytest.skip("networks of this family make no sound")
        if not (folder / "model.onnx").exists():
            export_model(run, folder / "model.onnx")
            package = extensions.find(extensions.KINDS, opened_model(str(folder / "model.onnx")).card.kind)
            if package is not None:
                extensions.let_run(package)
        return folder / "model.onnx"

    @property
    def family(self) -> str:
        return load_recipe(self.recipe, self.changes).family

    def train(self, corpus: Path, folder: Path, resume: bool = False) -> Outcome:
        outcome = train_recipe(self.recipe, corpus, folder, changes=self.changes, accelerator="cpu", resume=resume)
        assert outcome is not None
        return outcome

    # ---- the package

    def test_a_recipe_imports_no_torch_and_training_no_export(self) -> None:
        modules = _imported(
            "from timbrel.train.families import FAMILIES",
            "from timbrel.train.families.recipes import load_recipe",
            f"recipe = load_recipe({self.recipe!r}, {list(self.changes)!r})",
            "assert 'torch' not in sys.modules, 'the recipe imports torch'",
            "FAMILIES[recipe.family]",
        )
        assert not [name for name in modules if name.startswith("timbrel.export")]

    def test_a_kind_and_its_engine_import_no_torch(self, model: Path) -> None:
        modules = _imported(
            "from timbrel.host.play.rack import Rack",
            "from timbrel.host.preset.library import open_patch",
            f"Rack({{0: open_patch({str(model)!r})}}, {RATE}).process([], 64)",
        )
        assert not modules & {"torch", "lightning_fabric", "onnx", "matplotlib"}

    # ---- training

    def test_training_learns_and_stays_finite(self, run: Path) -> None:
        totals = [json.loads(line)["total"] for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert totals
        assert np.isfinite(totals).all()

    def test_a_resumed_run_is_to_the_bit_one_that_never_stopped(
        self, run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original_step = loop._Loop._step

        def stop_once(training: Any, *arguments: Any) -> Any:
            if training.progress.step == STOPPING_STEP:
                monkeypatch.setattr(loop._Loop, "_step", original_step)
                signal.raise_signal(signal.SIGINT)
            return original_step(training, *arguments)

        monkeypatch.setattr(loop._Loop, "_step", stop_once)
        assert self.train(corpus, tmp_path / "run").interrupted
        assert not self.train(corpus, tmp_path / "run", resume=True).interrupted
        whole_weights, resumed_weights = (
            checkpoint.load(folder / "last.ckpt")["model"] for folder in (run, tmp_path / "run")
        )
        assert whole_weights.keys() == resumed_weights.keys()
        assert all(torch.equal(weight, resumed_weights[name]) for name, weight in whole_weights.items())

    def test_a_run_and_its_model_state_the_package_s_version(self, run: Path, model: Path) -> None:
        expected = package_versions(self.family).items()
        assert expected or self.family in FOLDERS
        assert expected <= json.loads((run / "run.json").read_text(encoding="utf-8"))["versions"].items()
        assert expected <= opened_model(str(model)).card.training.versions.items()

    def test_a_report_has_figures_and_a_page(self, run: Path) -> None:
        figures = evaluate_run(run)
        assert json.loads((run / "report" / "report.json").read_text(encoding="utf-8")) == figures
        assert (run / "report" / "index.html").read_text(encoding="utf-8").startswith("<!doctype html>")

    def test_unknown_settings_are_refused(self) -> None:
        recipe_class = RECIPES[self.family]
        fields = load_recipe(self.recipe, self.changes).model_dump(exclude_none=True)
        with pytest.raises(ValueError, match="unheard_of"):
            recipe_class.model_validate(fields | {"unheard_of": 1})

    # ---- the model

    def test_a_model_gives_its_own_reference_and_notices_another(self, model: Path) -> None:
        opened = opened_model(str(model))
        verdict = opened.verify()
        assert verdict.passed
        assert verdict.points == verdict.width
        reference = opened.card.reference
        moved_rows = [[value + 1.0 for value in row] for row in reference.frame]
        opened.card.reference = reference.model_copy(update={"frame": moved_rows})
        assert not opened.verify().passed

    def test_a_kind_refuses_a_card_without_its_frames(self, model: Path) -> None:
        card = opened_model(str(model)).card
        other_domain = "samples" if str(card.domain) != "samples" else "real_imag"
        if card.kind in CLASSES:
            pytest.skip("this kind is timbrel's own")
        with pytest.raises(ValueError, match="domain"):
            type(card).model_validate(card.model_dump() | {"domain": other_domain})

    # ---- playing

    def test_a_held_note_sounds_and_a_released_one_ends(self, model: Path) -> None:
        rack = Rack({0: open_patch(str(model))}, RATE)
        sound = rack.process([NoteOn(0, 0, 60, 127), NoteOff(RATE // 2, 0, 60)], RATE)[0]
        assert np.isfinite(sound).all()
        assert np.abs(sound[:, : RATE // 2]).max() > AUDIBLE
        end = rack.process([], 8 * RATE)[0][:, -RATE // 4 :]
        assert np.abs(end).max() < AUDIBLE

    def test_blocks_of_any_size_live_and_offline_have_the_same_samples(self, model: Path) -> None:
        patch = open_patch(str(model))
        whole_sound = Rack({0: patch}, RATE).process(TUNE, TUNE_SAMPLES)[0]
        assert np.abs(whole_sound).max() > AUDIBLE
        for block_samples in BLOCK_SIZES:
            live, offline = Player(Rack({0: patch}, RATE, omni=True, live=True), RATE), Rack({0: patch}, RATE)
            for event in TUNE:
                live.schedule(event)
            starts = range(0, TUNE_SAMPLES - block_samples + 1, block_samples)
            live_sound = np.concatenate([live.block(block_samples)[0] for _ in starts], axis=1)
            offline_sound = np.concatenate([_block(offline, start, block_samples) for start in starts], axis=1)
            assert np.array_equal(live_sound, whole_sound[:, : live_sound.shape[1]]), f"live, blocks of {block_samples}"
            assert np.array_equal(offline_sound, live_sound), f"offline, blocks of {block_samples}"

    def test_two_processes_share_the_voices_without_a_difference(self, model: Path) -> None:
        patch = open_patch(str(model))
        shared = Rack({0: patch}, RATE, processes=2)
        try:
            sound = shared.process(TUNE, TUNE_SAMPLES)[0]
        finally:
            shared.close()
        assert np.array_equal(sound, Rack({0: patch}, RATE).process(TUNE, TUNE_SAMPLES)[0])

    def test_the_command_renders_a_file(self, model: Path, tmp_path: Path) -> None:
        import mido

        file = mido.MidiFile()
        notes = [mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=480)]
        file.tracks.append(mido.MidiTrack(notes))
        file.save(tmp_path / "one.mid")
        command = [sys.executable, "-m", "timbrel", "render", model, tmp_path / "one.mid", "-o", tmp_path / "one.flac"]
        ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert np.abs(soundfile.read(tmp_path / "one.flac")[0]).max() > AUDIBLE


def _block(rack: Rack, start: int, count: int) -> Array:
    """Return the tune's block from sample ``start`` on, [2, count]."""
    return rack.process([event for event in TUNE if start <= event.time < start + count], count)[0]


def _imported(*lines: str) -> set[str]:
    """Return the modules that a fresh process has imported after some lines of Python."""
    program = "\n".join(["import sys", *lines, "print(*sys.modules)"])
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())
