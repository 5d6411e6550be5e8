"""Renders a data set of labelled notes into a folder of shards."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...host.errors import UserError
from ...host.files import claimed
from ...host.preset.library import open_patch
from ...host.workers import task_runner
from .drawing import MOST_NOTES, DatasetPreset, DatasetSettings
from .shards import Index, Job, Member, render_batch

RESUME_HINT = "run 'timbrel dataset' again to go on"

Batches = Iterator[list[Member]]


def make_dataset(
    names: Sequence[str],
    output: Path,
    settings: DatasetSettings,
    notes: int,
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[float], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> str:
    """Render the notes that ``output`` lacks; return a summary.

    Args:
        names: of presets, as `open_patch` takes them; each note draws one.
        notes: in all, 1 to `MOST_NOTES`.
        workers: processes of this machine.
        ray: a Ray cluster's address, or ``auto``; replaces ``workers``.
        progress: receives 0 to 1.
        warn: receives warnings.

    Raises:
        UserError: a preset, a setting or the folder does not fit.
        Failure: a shard cannot be written, or a worker died; whole shards stay.
    """
    if not 1 <= notes <= MOST_NOTES:
        raise UserError(f"--notes {notes} is out of range; give 1 to {MOST_NOTES}")
    emit_warning = warn or (lambda line: None)
    patches = [open_patch(name) for name in names]
    for patch in patches:
        for warning in patch.warnings:
            emit_warning(warning)
        DatasetPreset(patch, settings)
    preset_names = [patch.name for patch in patches]
    if duplicate_name := next((name for name in preset_names if preset_names.count(name) > 1), None):
        raise UserError(f"two presets are named {duplicate_name!r}, by which labels tell them apart; rename one")
    job = Job.for_patches(names, patches, settings, notes)
    index = Index.open(output, job, emit_warning)
    missing_shards = index.missing
    batch_numbers = [number for shard in missing_shards for number in index.batches_of(shard)]
    if missing_shards:
        render_one = functools.partial(render_batch, job)
        with task_runner(render_one, min(workers, len(batch_numbers)), ray, RESUME_HINT) as render_batches:
            index.make_folder()
            with claimed(output):
                index.remove_leftovers()
                batches = _counted(render_batches(batch_numbers), len(batch_numbers), progress)
                for shard in missing_shards:
                    index.add(shard, itertools.islice(batches, len(index.batches_of(shard))))
    total_bytes = sum(shard.bytes for shard in index.shards.values())
    new_note_count = sum(index.notes_of(shard) for shard in missing_shards)
    return (
        f"{output}: {notes} notes in {len(index.shards)} shards, {total_bytes / 1e6:.1f} MB; {new_note_count} are new"
    )


def _counted(batches: Batches, batch_count: int, progress: Callable[[float], None] | None) -> Batches:
    """Yield the batches, and report the share that is done."""
    for finished_count, batch in enumerate(batches, 1):
        if progress is not None:
            progress(finished_count / batch_count)
        yield batch
