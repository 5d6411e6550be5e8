"""Starts or resumes a training run on one or several devices."""

import contextlib
import logging
import os
import platform
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from ..host.errors import Failure, TimbrelError, UserError
from ..host.files import claimed
from . import checkpoint
from .checkpoint import Progress
from .corpus.store import Corpus
from .families import FAMILIES, package_versions
from .frames import is_tonal
from .loop import Outcome, RunOptions, Stop, train
from .processes import is_first, launched, one_voice, processes, together
from .recipe import Recipe
from .run import FORMAT, Run, RunInfo, relative_to, trained, trained_sources

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "tf32": "32-true",
    "bfloat16": "bf16-mixed",
}
IS_AVAILABLE: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
PARTING = timedelta(seconds=5)  # a process's longest wait for its peers at exit


def start(
    recipe: Recipe,
    corpus_folder: Path,
    folder: Path,
    options: RunOptions,
    sources: Mapping[str, Path] = {},
    trial: Path | None = None,
) -> Outcome:
    """Train a new run.

    Args:
        sources: folders of the runs that the network builds on, by name.
        trial: run without held-out sounds, whose best weights start this run on all clips; families that measure their
            data begin anew.

    Raises:
        UserError: the corpus, folder, accelerator or another run is unusable, or another process trains the run.
        Failure: the loss is not finite.
    """
    with one_voice():
        fabric = _fabric(options, recipe)
        with together():
            recipe, info = _prepare_run(recipe, corpus_folder, folder, sources, trial, fabric.world_size)
        with together():
            if is_first():
                Run.create(folder, recipe, info)
        with _claimed(folder):
            with together():
                run = Run.open(folder)
            return _launch(fabric, run, options)


def begin_pretrained(recipe: Recipe, corpus_folder: Path, folder: Path, weights: Path) -> Run:
    """Write a run whose network has published weights, before its first step; `resume` trains it.

    Raises:
        UserError: as `start`, or the weights cannot be read.
        Failure: it cannot be written.
    """
    family = FAMILIES[recipe.family]
    recipe, load_weights = family.read_pretrained(weights, recipe)
    recipe, info = _prepare_run(recipe, corpus_folder, folder, {}, None, process_count=1)
    torch.manual_seed(recipe.training.seed)
    network = family.network(recipe)
    load_weights(network)
    optimizers = {name: adam.over(network, recipe.training) for name, adam in network.optimisers.items()}
    run = Run.create(folder, recipe, info)
    try:
        checkpoint.save(run.last, network, optimizers, Progress())
    except Failure:
        shutil.rmtree(folder.resolve())  # a run without weights would begin with random ones
        raise
    return run


def _prepare_run(
    recipe: Recipe,
    corpus_folder: Path,
    folder: Path,
    sources: Mapping[str, Path],
    trial: Path | None,
    process_count: int,
) -> tuple[Recipe, RunInfo]:
    """Check the corpus, recipe and sources; return the complete recipe and the facts of the run."""
    corpus = Corpus.open(corpus_folder) if trial is None else Corpus.open(corpus_folder).all_for_training()
    recipe = _recipe_after_sources(recipe, sources)
    check_fits(recipe, corpus)
    if recipe.training.batch_size % process_count:
        raise UserError(
            f"training.batch_size {recipe.training.batch_size} cannot be shared evenly by {process_count} processes; "
            "set another"
        )
    recipe = FAMILIES[recipe.family].complete(recipe, corpus)
    run_info = RunInfo(
        format=FORMAT,
        corpus=relative_to(corpus_folder, folder),
        corpus_name=corpus.name,
        clips=len(corpus.clips()),
        seconds=corpus.seconds(),
        clips_digest=corpus.clips_digest(),
        tonal=is_tonal(corpus),
        versions={"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy")}
        | package_versions(recipe.family),
        hardware=hardware(),
        others={name: relative_to(source_folder, folder) for name, source_folder in sources.items()},
        trial=None if trial is None else relative_to(trial, folder),
    )
    return recipe, run_info


def resume(folder: Path, recipe: Recipe, options: RunOptions, corpus_folder: Path | None = None) -> Outcome:
    """Resume a run, or begin one without a checkpoint. Only the recipe's budget may differ.

    Args:
        corpus_folder: to be the run's; None for it, wherever it is.

    Raises:
        UserError: as `start`, or the recipe or corpus differs, or the run has done more than the budget.
        Failure: as `start`.
    """
    with one_voice():
        fabric = _fabric(options, recipe)
        with together():
            run = _resumed_run(folder, recipe, corpus_folder)
        with _claimed(folder):
            return _launch(fabric, run, options)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a run's folder against other trainings, for all processes of this one by the first."""
    with contextlib.ExitStack() as stack:
        with together():
            if is_first():
                try:
                    stack.enter_context(claimed(folder))
                except OSError as error:
                    raise UserError(
                        f"cannot write into {folder}: {error.strerror or error}; make it writable"
                    ) from None
        yield


def check_fits(recipe: Recipe, corpus: Corpus) -> None:
    """Raise `UserError` if a recipe does not fit a corpus."""
    if corpus.rate != recipe.frames.sample_rate:
        rate_hint = (
            "as the run that it is built on"
            if FAMILIES[recipe.family].reads
            else f"or train with --set frames.sample_rate={corpus.rate}"
        )
        raise UserError(
            f"corpus {corpus.folder} is at {corpus.rate} Hz, the recipe wants {recipe.frames.sample_rate}; "
            f"build it with --rate {recipe.frames.sample_rate}, {rate_hint}"
        )
    if recipe.training.precision == "bfloat16" and not FAMILIES[recipe.family].bfloat16:
        raise UserError(
            f"recipe {recipe.name} trains in float32, as bfloat16 is slower or worse; leave training.precision out"
        )
    if recipe.training.cuda_graphs and not FAMILIES[recipe.family].repeats_steps:
        raise UserError(
            f"recipe {recipe.name} has steps that differ in their operations, which no CUDA graph repeats; "
            "leave training.cuda_graphs out"
        )
    FAMILIES[recipe.family].check(corpus, recipe)


def _resumed_run(folder: Path, recipe: Recipe, corpus_folder: Path | None) -> Run:
    """Open a run with the given recipe's budget; raise UserError if the recipes differ otherwise, or the corpora."""
    run = Run.open(folder)
    corpus = run.corpus()
    if corpus_folder is not None:
        run.check_corpus(corpus_folder)
    recipe = FAMILIES[recipe.family].complete(recipe, corpus)
    trained_sources(run)
    source_recipes = {name: source_run.recipe for name, source_run in run.source_runs().items()}
    recipe = FAMILIES[recipe.family].follow(recipe, source_recipes)
    budget_update = {"training": recipe.training.model_copy(update=run.recipe.training.budget)}
    if recipe.model_copy(update=budget_update) != run.recipe:
        raise UserError(
            f"run {folder} was trained with another recipe than the one given; --resume goes on with its own: "
            f"give {folder / 'recipe.toml'}, or train into a new folder"
        )
    FAMILIES[recipe.family].check(corpus, recipe)
    return Run(run.folder, recipe, run.info)


def _recipe_after_sources(recipe: Recipe, sources: Mapping[str, Path]) -> Recipe:
    """Return the recipe as its sources require; raise UserError for a missing or surplus one."""
    required_names = FAMILIES[recipe.family].reads
    if set(required_names) != set(sources):
        raise UserError(
            f"recipe {recipe.name} is built on {' and '.join(required_names) or 'no other run'}, "
            f"given is {' and '.join(sources) or 'none'}; give the folder of a trained run for each, and no other"
        )
    source_runs = {name: Run.open(source_folder) for name, source_folder in sources.items()}
    for run in source_runs.values():
        trained(run, "best")
    return FAMILIES[recipe.family].follow(recipe, {name: run.recipe for name, run in source_runs.items()})


def hardware() -> str:
    """Return the name of the GPU, or the number of CPU cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def _fabric(options: RunOptions, recipe: Recipe) -> Fabric:
    try:
        # An objective may use only some weights.
        ddp_strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True)
        if launched():
            ddp_strategy = DDPStrategy(find_unused_parameters=True)
            if (process_count := processes()) != options.devices * options.nodes:
                raise UserError(
                    f"{process_count} processes were started, --devices {options.devices} --nodes {options.nodes} make "
                    f"{options.devices * options.nodes}; give the numbers of torchrun or Slurm"
                )
        elif options.nodes > 1:
            raise UserError(
                f"--nodes {options.nodes} needs a launcher that starts timbrel on each machine, torchrun or Slurm's "
                "srun: see docs/scale.md"
            )
        strategy = ddp_strategy if options.devices * options.nodes > 1 else "auto"
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of precision
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.nodes,
            strategy=strategy,
            precision=PRECISIONS[recipe.training.precision],
        )
    except (ValueError, RuntimeError) as error:
        if options.accelerator in IS_AVAILABLE and not IS_AVAILABLE[options.accelerator]():
            raise UserError(
                f"--accelerator {options.accelerator}: torch finds none on this machine; leave it out, or give cpu"
            ) from None
        nodes_option = f" --nodes {options.nodes}" if options.nodes > 1 else ""
        raise UserError(
            f"--accelerator {options.accelerator} --devices {options.devices}{nodes_option}: {error}"
        ) from None
    if launched():
        fabric.launch()
    return fabric


def _launch(fabric: Fabric, run: Run, options: RunOptions) -> Outcome:
    if launched():
        return _train_launched(fabric, run, options)
    launch: Callable[..., Outcome | TimbrelError] = fabric.launch  # its stub lacks the forwarded arguments
    if options.devices == 1:
        outcome = launch(train, run, options)
    else:
        with Stop(forward=True):
            outcome = launch(_train_beside_others, run, options)
    if isinstance(outcome, TimbrelError):
        raise outcome
    return outcome


def _train_launched(fabric: Fabric, run: Run, options: RunOptions) -> Outcome:
    """All but the first process end here."""
    outcome = train(fabric, run, options)
    _leave_peers()
    if not is_first():
        raise SystemExit(0)
    return outcome


def _train_beside_others(fabric: Fabric, run: Run, options: RunOptions) -> Outcome | TimbrelError:
    """Only the parent handles Ctrl-C, which reaches all in a terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return train(fabric, run, options)
    except TimbrelError as error:
        return error
    finally:
        _leave_peers()


def _leave_peers() -> None:
    """A peer that disappears aborts others."""
    if not torch.distributed.is_initialized():
        return
    with contextlib.suppress(RuntimeError):  # a peer that failed alone has no one to wait for
        torch.distributed.barrier(async_op=True).wait(PARTING)
        torch.distributed.destroy_process_group()
