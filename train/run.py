"""A run on disk: recipe, checkpoints and log, and the networks trained in it.

RUN/recipe.toml      the effective recipe
RUN/run.json         corpus, versions, hardware, and runs that it builds on
RUN/last.ckpt        the newest checkpoint
RUN/best.ckpt        the best on the validation split
RUN/kept/            the last checkpoints, training.keep of them
RUN/log.jsonl        one line a validation
RUN/preview/         decoded frames as sound
RUN/report/          output of `timbrel evaluate`
"""

import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..host.errors import Failure, UserError
from ..host.files import building_folder, replacing
from ..host.preset.shipped import shipped_models, shipped_presets
from . import checkpoint
from .corpus.store import Corpus
from .families import FAMILIES
from .families.recipes import load_recipe
from .network import Network
from .recipe import Recipe

FORMAT = 1
NO_VALIDATION = ("step", "seconds", "training")  # keys of a line of the log that are no terms of its validation

SAME_SECONDS = 1e-3  # of a corpus: sums are rounded


class RunInfo(BaseModel):
    format: int
    corpus: str
    corpus_name: str
    clips: int
    seconds: float
    tonal: bool
    versions: dict[str, str]
    hardware: str
    others: dict[str, str] = {}  # runs that this one's network builds on, by name; relative paths, as the corpus's
    trial: str | None = None  # the run without held-out sounds that this one follows with all clips
    clips_digest: str | None = None  # as `Corpus.clips_digest`; earlier runs have none


class Run:
    def __init__(self, folder: Path, recipe: Recipe, info: RunInfo, is_trial: bool = False) -> None:
        self.folder, self.recipe, self.info, self.is_trial = folder, recipe, info, is_trial
        self.last, self.best, self.kept_checkpoints = folder / "last.ckpt", folder / "best.ckpt", folder / "kept"

    @staticmethod
    def create(folder: Path, recipe: Recipe, info: RunInfo) -> "Run":
        """Make the folder of a new run.

        Raises:
            UserError: it is not empty or not writable.
            Failure: the disk is full.
        """
        with building_folder(folder) as new_folder:
            (new_folder / "run.json").write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
            (new_folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        return Run(folder, recipe, info)

    @staticmethod
    def open(folder: Path) -> "Run":
        """Open a run.

        Raises:
            UserError: it is missing, not a run, of another format, or damaged.
        """
        if folder.is_file():
            raise UserError(f"{folder} is a file, no run; give the folder that 'timbrel train' wrote")
        if not folder.is_dir():
            if str(folder) in {*shipped_presets(), *shipped_models()}:
                raise UserError(f"{folder} ships with timbrel, exported already: give the folder of a run of your own")
            raise UserError(
                f"run {folder} does not exist; "
                f"make one with: timbrel train RECIPE --corpus CORPUS -o {shlex.quote(str(folder))}"
            )
        info_path = folder / "run.json"
        if not info_path.exists():
            raise UserError(f"{folder} is not a run (no run.json in it); give the folder that 'timbrel train' wrote")
        try:
            info_fields = json.loads(info_path.read_text(encoding="utf-8"))
            if isinstance(info_fields, dict) and info_fields.get("format") != FORMAT:
                raise UserError(
                    f"run {folder} has format {info_fields.get('format')}, this timbrel reads {FORMAT}; train again"
                )
            info = RunInfo.model_validate(info_fields)
        except (ValidationError, ValueError) as error:
            raise UserError(f"{info_path} is damaged ({str(error).splitlines()[0]}); train again") from None
        recipe_path = folder / "recipe.toml"
        if not recipe_path.exists():
            raise UserError(f"run {folder} lacks its recipe.toml; put it back, or train again")
        return Run(folder, load_recipe(str(recipe_path)), info)

    def with_recipe(self, recipe: Recipe) -> "Run":
        """Replace the recipe, also on disk."""
        with replacing(self.folder / "recipe.toml", overwrite=True) as recipe_path:
            recipe_path.write_text(recipe.to_toml(), encoding="utf-8")
        return Run(self.folder, recipe, self.info)

    def check_corpus(self, folder: Path) -> None:
        """Raise `UserError` unless the run is trained on the corpus in ``folder``."""
        if (self.folder / self.info.corpus).resolve() != folder.resolve():
            raise UserError(
                f"run {self.folder} was trained on corpus {self.info.corpus_name}, not on {folder}; "
                "give that corpus, or another -o"
            )

    def corpus(self) -> Corpus:
        """Return the run's corpus as it was at its start; after a trial, with all clips under train.

        Raises:
            UserError: it has changed.
        """
        corpus = Corpus.open((self.folder / self.info.corpus).resolve()).beginning(self.info.clips)
        if self.info.trial is not None:
            corpus = corpus.all_for_training()
        if (
            len(corpus.clips()) != self.info.clips
            or abs(corpus.seconds() - self.info.seconds) > SAME_SECONDS
            or self.info.clips_digest not in (None, corpus.clips_digest())
        ):
            raise UserError(
                f"corpus {corpus.folder} has other clips than the {self.info.clips} that run {self.folder} was begun "
                "with, or other splits or labels; put the corpus back, or train into a new folder"
            )
        return corpus

    def trial(self) -> "Run | None":
        """Return the run without held-out sounds; raises as `open`."""
        if self.info.trial is None:
            return None
        trial_run = self._source_run(self.info.trial, "trial")
        return Run(trial_run.folder, trial_run.recipe, trial_run.info, is_trial=True)

    def source_runs(self) -> dict[str, "Run"]:
        """Return the runs that the network builds on, by name; raises as `open`."""
        return {name: self._source_run(path, name) for name, path in self.info.others.items()}

    def _source_run(self, path: str, name: str) -> "Run":
        """Open a run by its path relative to this one; ``name`` is for the message."""
        source_folder = (self.folder / path).resolve()
        if not source_folder.is_dir():
            raise UserError(
                f"run {self.folder} has its {name} from run {source_folder}, which is gone; put it back there"
            )
        return Run.open(source_folder)

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to ``log.jsonl``.

        Raises:
            Failure: the file cannot be written.
        """
        log_path = self.folder / "log.jsonl"
        try:
            with log_path.open("a", encoding="utf-8") as log_file:
                log_file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise Failure(f"cannot write {log_path}: {error.strerror or error}; go on with --resume") from error

    def logged(self) -> list[dict[str, Any]]:
        """Return the entries of ``log.jsonl`` without damaged lines."""
        log_path = self.folder / "log.jsonl"
        entries = []
        for line in log_path.read_text(encoding="utf-8").splitlines() if log_path.exists() else []:
            with contextlib.suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return entries


def relative_to(target: Path, folder: Path) -> str:
    """Return a relative path, so that run and corpus can move together."""
    return os.path.relpath(target.resolve(), folder.resolve())


def trained_sources(run: Run) -> dict[str, Network]:
    """Return the best networks that a run is built on, in evaluation mode, without gradients.

    Raises:
        UserError: a run or its checkpoint is missing.
    """
    return {
        name: trained(source_run, "best")[0].requires_grad_(False) for name, source_run in run.source_runs().items()
    }


def trained(run: Run, checkpoint_name: Literal["best", "last"]) -> tuple[Network, str, int]:
    """Return a run's network in evaluation mode, its checkpoint's name and its step.

    Raises:
        UserError: no checkpoint, or as `trained_sources`.
    """
    checkpoint_path = run.best if checkpoint_name == "best" and run.best.exists() else run.last
    network = FAMILIES[run.recipe.family].network(run.recipe, **trained_sources(run))
    step = checkpoint.restore(checkpoint_path, network).step
    network.eval()
    return network, checkpoint_path.stem, step
