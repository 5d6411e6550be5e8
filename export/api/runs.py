"""Runs and data sets from Python, for the commands too: evaluation, export, labelled notes."""

import functools
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ...host.arguments import (
    check_callback,
    check_choice,
    check_flag,
    check_text,
    elements,
    location,
    locations,
    mapping,
    number,
    whole_number,
)
from ...host.errors import UserError, naming_extras
from ...host.preset.shipped import is_instrument
from ...host.workers import task_runner
from ..samples.dataset import Batch, Job, counted, dataset_job, render_labelled
from ..samples.drawing import decimal_text, read_settings
from .sound import Sound

PathLike = str | os.PathLike[str]
CHECKPOINTS, WEIGHTS = ("best", "last"), ("float16", "float32")
Numbers = str | float | Sequence[float]  # "36-96", "48,55,60", a number, or several


def evaluate_run(
    run: PathLike,
    *,
    checkpoint: Literal["best", "last"] = "best",
    classifier: PathLike | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Mapping[str, Any]:
    """Measure a run on its test split, as `timbrel evaluate`; needs timbrel[train].

    The folder ``report`` of the run then has pages, pictures and sounds; ``index.html`` is the first.

    Args:
        run: a folder that `train_recipe` wrote.
        checkpoint: best or last.
        classifier: a classifier's run, which judges clips made.
        progress: receives the completed share, 0 to 1, and a description.

    Returns:
        The figures, those of ``report/report.json``.

    Raises:
        UserError: no run, no checkpoint or no corpus, or a package of timbrel[train] is missing.
        Failure: the disk is full.
    """
    folder = Path(location("run", run))
    check_choice("checkpoint", checkpoint, CHECKPOINTS)
    check_callback("progress", progress)
    if not (folder / "run.json").exists() and is_instrument(str(folder)):
        raise UserError(_no_run(folder))
    with naming_extras():
        from ...train.run import Run
        from ..evaluate import evaluate

        classifier_run = None if classifier is None else Run.open(Path(location("classifier run", classifier)))
        return evaluate(Run.open(folder), checkpoint=checkpoint, classifier=classifier_run, progress=progress)


def _no_run(instrument: Path) -> str:
    """Say that an instrument is no run, and how to evaluate it."""
    run_folder = instrument / "run"
    run_hint = (
        f"; its run is {run_folder}: timbrel evaluate {shlex.quote(str(run_folder))}"
        if (run_folder / "run.json").exists()
        else ""
    )
    return f"{instrument} is an instrument, no run{run_hint}; to compare its notes, give --corpus CORPUS -o REPORT"


def export_model(
    run: PathLike,
    output: PathLike | None = None,
    *,
    nn: PathLike | None = None,
    json: PathLike | None = None,
    checkpoint: Literal["best", "last"] = "best",
    weights: Literal["float16", "float32"] = "float16",
    name: str | None = None,
    description: str | None = None,
    license: str | None = None,
    credits: str | None = None,
    recordings: bool = True,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write a run's model, and prove that it agrees with the network, as `timbrel export`; needs timbrel[train].

    `timbrel.open` opens it. Its encoder lies beside it, as ``NAME.encoder.onnx``.

    Args:
        run: a folder that `train_recipe` wrote; without ``output`` also an instrument's folder or a model.
        output: the model, ending in ``.onnx``.
        nn: a file for nn~ in Max and Pd, ending in ``.ts``.
        json: a file with the meaning of inputs and frames, and the steps to sound, ending in ``.json``.
        checkpoint: best or last.
        weights: float16 halves the file, unless it is inexact; or float32.
        name: the model's; the file's by default.
        description, license, credits: texts of its card, in place of the run's.
        recordings: of hits and words, whether the file contains them.
        overwrite: replace files that exist.
        progress: receives a line for each file that is written.

    Raises:
        UserError: no run or checkpoint, a file exists, or a package of timbrel[train] is missing.
        Failure: the model disagrees with the network, or cannot be written; no file is left.
    """
    run_or_model = location("run", run)
    model_file, nn_file, meaning_file = (
        None if path is None else Path(location(argument_name, path))
        for argument_name, path in (("output", output), ("nn", nn), ("json", json))
    )
    check_choice("checkpoint", checkpoint, CHECKPOINTS)
    check_choice("weights", weights, WEIGHTS)
    for argument_name, text in {
        "name": name,
        "description": description,
        "license": license,
        "credits": credits,
    }.items():
        if text is not None:
            check_text(argument_name, text)
    for argument_name, flag in (("recordings", recordings), ("overwrite", overwrite)):
        check_flag(argument_name, flag)
    check_callback("progress", progress)
    with naming_extras():
        from ..export import LabelInput
        from ..nn import written

        card_texts = LabelInput(name, description, license, credits)
        for line in written(
            run_or_model,
            model_file,
            nn_file,
            meaning_file,
            labels=card_texts,
            which=checkpoint,
            weights=weights,
            recordings=recordings,
            overwrite=overwrite,
        ):
            if progress is not None:
                progress(line)


class LabelledSound(NamedTuple):
    """A note of a data set: its ``sound``, float32 [1, samples] or [2, samples], and its ``labels``.

    The labels are those of `timbrel dataset`: preset, key, pitch, velocity, times, code, loudness, knobs and more.
    """

    sound: Sound
    labels: Mapping[str, Any]


def render_dataset(
    presets: PathLike | Sequence[PathLike],
    notes: int,
    *,
    keys: Numbers | None = None,
    velocities: Numbers | None = None,
    seconds: float = 4.0,
    held_seconds: Numbers | None = None,
    onset_seconds: Numbers = 0,
    latents: str = "preset",
    knobs: Mapping[str, Numbers] | None = None,
    sample_rate: int = 44_100,
    stereo: bool = False,
    seed: int = 1,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Iterator[LabelledSound]:
    """Yield labelled notes, those that `timbrel dataset --float` writes into shards, one after another.

    Memory holds the notes of some batches of 64. Ranges are texts such as ``"36-96"``; ``"48,55,60"`` and lists choose
    among values.

    Args:
        presets: one or several, as `timbrel.open` takes them; each note draws one.
        notes: how many, 1 to 10**9.
        keys: MIDI keys, 0 to 127; those recorded by default.
        velocities: 1 to 127; 20 to 127 by default.
        seconds: of each sound, 0.5 to 30.
        held_seconds: from press to release, 0.001 to 30; three quarters of ``seconds`` by default.
        onset_seconds: from the sound's start to the press, 0 to below ``seconds``.
        latents: preset, uniform, landmarks or ``grid:STEPS``.
        knobs: positions, 0 to 1 of a knob's range, by name.
        sample_rate: 16000, 22050, 24000, 32000, 44100, 48000 or 96000 Hz.
        stereo: both sides; without it their mix.
        seed: of all that is drawn, from 0.
        workers: processes, at least 1.
        progress: receives the completed share, 0 to 1.

    Raises:
        UserError: a preset or a value cannot be used; at the call, before the first note.
        Failure: a sound is not finite, or a process died.
    """
    names = locations("presets", presets)
    if not names:
        raise UserError("presets: none is given; give one that timbrel.preset_names() lists, or several")
    note_count, process_count = whole_number("notes", notes, 0), whole_number("workers", workers, 1)
    rate_hz = whole_number("sample_rate", sample_rate, 0)
    check_text("latents", latents)
    check_flag("stereo", stereo)
    check_callback("progress", progress)
    given: dict[str, Numbers | None] = {
        "keys": keys,
        "velocities": velocities,
        "held_seconds": held_seconds,
        "onset_seconds": onset_seconds,
    }
    overrides: dict[str, Any] = {name: _values(name, value) for name, value in given.items() if value is not None}
    overrides |= {
        "seconds": number("seconds", seconds),
        "latents": latents,
        "sample_rate": rate_hz,
        "stereo": bool(stereo),
        "seed": whole_number("seed", seed, 0),
        "knobs": {},
    }
    for name, positions in mapping("knobs", knobs).items():
        check_text("knobs: name", name)
        overrides["knobs"][name] = _values(f"knobs[{name!r}]", positions)
    job = dataset_job(names, read_settings(None, overrides), note_count, warn=_warn)
    return _labelled_sounds(job, rate_hz, process_count, progress)


def _values(name: str, numbers: Numbers) -> str:
    """Return a range or a choice as settings have it."""
    if isinstance(numbers, str):
        return numbers
    is_one = isinstance(numbers, int | float | np.number | np.ndarray) and not np.ndim(numbers)
    values = [numbers] if is_one else elements(name, numbers)
    return ",".join(value if isinstance(value, str) else decimal_text(number(f"{name}:", value)) for value in values)


def _warn(line: str) -> None:
    """Warn the caller of `render_dataset`."""
    warnings.warn(line, stacklevel=4)


def _labelled_sounds(
    job: Job, sample_rate: int, workers: int, progress: Callable[[float], None] | None
) -> Iterator[LabelledSound]:
    render = functools.partial(render_labelled, job)
    with task_runner(render, min(workers, job.batches), None, "ask for the notes again") as render_batches:
        for batch in counted(render_batches(map(Batch, range(job.batches))), job.batches, progress):
            for note in batch:
                yield LabelledSound(Sound(note.samples, sample_rate), note.labels)
