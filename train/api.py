"""Corpora and training: for the commands, and from Python. Light import: torch loads when they are called."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..host.arguments import (
    check_callback,
    check_flag,
    check_main_thread,
    check_text,
    elements,
    location,
    locations,
    mapping,
    number,
    whole_number,
)
from ..host.errors import UserError, naming_extras

if TYPE_CHECKING:
    from .corpus.report import CorpusReport
    from .loop import Outcome, RunStatus

PathLike = str | os.PathLike[str]

# Options of the runs that recipes build on.
OPTIONS = {"generator": "--generator", "judge": "--classifier", "grains": "--grains"}
BUDGETS = ("training.epochs", "training.steps", "training.minutes")


def build_corpus(
    sounds: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    rate: int | None = None,
    split: str = "0.85/0.07/0.08",
    seed: int = 0,
    group: str | None = None,
    label: str | None = None,
    shortest_seconds: float | None = None,
    loops: bool = False,
    melodies: bool = False,
    append: bool = False,
    columns: Mapping[str, str] | None = None,
    workers: int | None = None,
    ray: str | None = None,
    name: str | None = None,
    licence: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> "CorpusReport":
    """Build a corpus to train on, as `timbrel corpus build`; needs timbrel[train].

    The same call goes on with a build that was stopped, and the number of processes does not change the corpus.

    Args:
        sounds: sound files, and folders to search; WebDataset's shards (.tar), tables (.parquet, .arrow), folders of
            these, such as `timbrel dataset` writes; addresses of such files, ``https://…`` and ``s3://…``.
        output: a new folder.
        rate: 6000 to 192000 Hz; 44100 by default, or that of a corpus that grows.
        split: fractions for training, validation and test, or a JSON file that lists names under each.
        seed: decides the split.
        group: a regular expression; clips whose match in their names is equal stay in one part.
        label: ``"folder"`` for the name of a sound's folder, or a regular expression on names.
        shortest_seconds: 0.005 to 10; 4096 samples by default.
        loops: put loops on one grid.
        melodies: cut melodies into notes, a clip each.
        append: add the sounds that the corpus ``output`` lacks.
        columns: of tables, and fields of shards, by role: audio, label, key, velocity, licence; "" for none. By default
            those of these names.
        workers: processes, at least 1; the idle cores by default.
        ray: the address of a Ray cluster, HOST:PORT or auto, in place of ``workers``.
        name: the corpus's; the folder's by default.
        licence: of the sounds, which models carry on; that of their data sets by default.
        progress: receives the completed share, 0 to 1, and a description.

    Returns:
        The report: ``clips``, ``seconds``, ``split_clips``, ``labels``, ``unreadable`` and more; ``text()`` prints it.

    Raises:
        UserError: a value, a sound or the output cannot be used, or a package of timbrel[train] is missing.
        Failure: the disk is full, or a process died; sounds read so far are kept.
    """
    if workers is not None and ray is not None:
        raise UserError(f"--workers {workers} and --ray {ray} are two ways to share the work; give one of them")
    sound_paths, corpus_folder = locations("sounds", sounds), location("output", output)
    check_text("split", split)
    for argument_name, text in {"group": group, "label": label, "ray": ray, "name": name, "licence": licence}.items():
        if text is not None:
            check_text(argument_name, text)
    for role, column in mapping("columns", columns).items():
        check_text("columns: role", role)
        check_text(f"columns[{role!r}]", column)
    process_count = None if workers is None else whole_number("workers", workers, 1)
    split_seed = whole_number("seed", seed, 0)
    if shortest_seconds is not None:
        number("shortest_seconds", shortest_seconds)
    for argument_name, flag in (("loops:", loops), ("melodies:", melodies), ("append:", append)):
        check_flag(argument_name, flag)
    check_callback("progress", progress)
    if loops and melodies:
        raise UserError("--loops and --melodies are two kinds of corpus; give one of them")
    if not sound_paths:
        raise UserError("sounds: none is given; give sound files, folders or addresses")
    with naming_extras():
        from ..host.processors import FreeProcessors
        from .corpus.build import build
        from .corpus.remote import source_of
        from .corpus.report import no_progress

        return build(
            [source_of(sound) for sound in sound_paths],
            Path(corpus_folder),
            rate=rate,
            split=split,
            seed=split_seed,
            group=group,
            label=label,
            shortest_seconds=shortest_seconds,
            name=name,
            licence=licence,
            loops=loops,
            melodies=melodies,
            append=append,
            columns=columns,
            workers=process_count or FreeProcessors().count(),
            ray=ray,
            progress=progress or no_progress,
        )


def train_recipe(
    recipe: PathLike,
    corpus: PathLike,
    output: PathLike,
    *,
    changes: str | Sequence[str] = (),
    minutes: float | None = None,
    generator: PathLike | None = None,
    classifier: PathLike | None = None,
    grains: PathLike | None = None,
    pretrained: PathLike | None = None,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    accelerator: Literal["auto", "cpu", "cuda", "mps"] | str = "auto",
    tensorboard: bool = False,
    progress: "Callable[[RunStatus], None] | None" = None,
    say: Callable[[str], None] | None = None,
) -> "Outcome | None":
    """Train a recipe on a corpus, as `timbrel train`; needs timbrel[train], and the main thread.

    Ctrl-C saves and stops; ``resume`` goes on.

    Args:
        recipe: a shipped recipe's name, which `timbrel recipes` lists, or a TOML file.
        corpus: a folder that `build_corpus` wrote.
        output: the run, a new folder, or one to resume.
        changes: of the recipe's settings, one or several, such as ``"training.epochs=5"``.
        minutes: the budget, above 0, with a schedule made for it.
        generator, classifier: runs that recipe ``invert`` is built on.
        grains: a run of grains, whose codes recipe ``grain-path`` learns.
        pretrained: a published network's weights, for recipes that read them; nothing is trained.
        resume: go on with a run that was stopped, on its corpus.
        devices: GPUs or processes, at least 1. Above 1, a script begins under ``if __name__ == "__main__"``.
        nodes: machines, at least 1, on each of which torchrun or srun starts the script.
        accelerator: auto, cpu, cuda or mps.
        tensorboard: log for TensorBoard in ``output/tensorboard``.
        progress: receives the state some times a second: ``budget_share`` (0 to 1), ``step``, ``loss``, ``terms`` of
            the loss, ``examples_per_second``, ``seconds_left``.
        say: receives lines, such as warnings.

    Returns:
        The outcome: ``step``, ``validation`` (loss), ``interrupted`` by a signal. None with ``pretrained``.

    Raises:
        UserError: the recipe, a setting, the corpus or another run cannot be used, or a package of timbrel[train] is
            missing.
        Failure: the loss is not finite, or the disk is full.
    """
    check_main_thread("train_recipe")
    recipe_name, corpus_folder, run_folder = (
        location(argument_name, path)
        for argument_name, path in (("recipe", recipe), ("corpus", corpus), ("output", output))
    )
    change_list = [changes] if isinstance(changes, str) else elements("changes", changes)
    for change in change_list:
        check_text("changes:", change)
    for argument_name, count in (("devices", devices), ("nodes", nodes)):
        whole_number(argument_name, count, 1)
    for argument_name, flag in (("resume", resume), ("tensorboard", tensorboard)):
        check_flag(argument_name, flag)
    check_text("accelerator", accelerator)
    for argument_name, callback in (("progress", progress), ("say", say)):
        check_callback(argument_name, callback)
    if minutes is not None:
        number("minutes", minutes)
        if budget_change := next((c for c in change_list if c.partition("=")[0] in BUDGETS), None):
            raise UserError(f"--minutes {minutes:g} and --set {budget_change} are two budgets; give one of them")
        change_list.append(f"training.minutes={minutes}")
    with naming_extras():
        from .families import FAMILIES
        from .families.recipes import load_recipe
        from .launch import begin_pretrained, start
        from .launch import resume as go_on
        from .loop import RunOptions

        loaded_recipe = load_recipe(recipe_name, change_list)
        frame_change = next((change for change in change_list if change.startswith("frames.")), None)
        if frame_change is not None and FAMILIES[loaded_recipe.family].reads:
            raise UserError(
                f"--set {frame_change}: recipe {loaded_recipe.name} has the frames of the run that it is built on; "
                "leave it out"
            )
        source_folders = _source_folders(
            loaded_recipe.name,
            FAMILIES[loaded_recipe.family].reads,
            resume,
            generator=generator,
            judge=classifier,
            grains=grains,
        )
        if pretrained is not None:
            if resume:
                raise UserError(
                    f"--pretrained {pretrained} begins a run, and --resume goes on with one; give one of them"
                )
            begin_pretrained(
                loaded_recipe, Path(corpus_folder), Path(run_folder), Path(location("pretrained", pretrained))
            )
            return None
        run_options = RunOptions(accelerator, devices, tensorboard, progress, say, nodes=nodes)
        if resume:
            return go_on(Path(run_folder), loaded_recipe, run_options, Path(corpus_folder))
        return start(loaded_recipe, Path(corpus_folder), Path(run_folder), run_options, source_folders)


def _source_folders(
    recipe_name: str, reads: Sequence[str], resume: bool, **folders: PathLike | None
) -> dict[str, Path]:
    """Return the folders of the runs that a recipe reads, by name; raise UserError for a missing or surplus one."""
    source_folders = {name: Path(location(OPTIONS[name], path)) for name, path in folders.items() if path is not None}
    if resume:
        for name, path in source_folders.items():
            raise UserError(f"{OPTIONS[name]} {path} and --resume, which goes on with the run's own; give one of them")
        return {}
    for name in reads:
        if name not in source_folders:
            raise UserError(
                f"recipe {recipe_name} is built on other runs; "
                f"give {' RUN and '.join(OPTIONS[name] for name in reads)} RUN"
            )
    for name, path in source_folders.items():
        if name not in reads:
            raise UserError(f"{OPTIONS[name]} {path} is no option of recipe {recipe_name}; leave it out")
    return source_folders
