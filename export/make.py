"""Makes an instrument from a folder of sounds."""

import contextlib
import copy
import functools
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..host.errors import Failure, TimbrelError, UserError
from ..host.files import check_new_folder, replacing, replacing_folder
from ..host.kinds.card_fields import UNKNOWN_LICENCE
from ..host.model.card import Card
from ..host.model.model import Model
from ..host.preset.library import Patch, default_knobs
from ..host.preset.shipped import MADE as PRESET
from ..host.preset.shipped import preset_text
from ..host.progress import Display
from ..host.units import note_name
from ..train.checkpoint import load, progress_of
from ..train.corpus.build import build, clip_splits, held_keys, key_splits
from ..train.corpus.clip_table import NO_DIGEST
from ..train.corpus.content import SHORTEST_SECONDS, are_loops, corpus_content, melodic_share, unsuited_notes
from ..train.corpus.report import CorpusReport
from ..train.corpus.sfz import sfz_samples
from ..train.corpus.sound_files import file_digest, find_sounds, own_rate
from ..train.corpus.store import READING, Corpus
from ..train.families.recipes import load_recipe
from ..train.frames import is_tonal, pitched_frames
from ..train.launch import resume, start
from ..train.loop import Outcome, RunOptions, RunStatus
from ..train.network import Network
from ..train.recipe import Recipe
from ..train.run import Run
from .evaluate import evaluate, exported_patch
from .export import LabelInput, export_untrained
from .families import FAMILIES, LOOPS, MINUTES, SHORT, TEXTURE, TONAL, check_minutes, family_named, name_for_users
from .families.family import ExportFamily
from .fidelity.page import dynamics_line, in_short, tuning_line
from .first_preset import as_text, first_preset, rendered
from .recordings import holding
from .reports.measure import good_news
from .reports.report import Figures

LOWEST_RATE = 8000  # Hz: the lowest of a corpus
HIGHEST_RATE = 48_000  # of whole clips, which keys play as they are
MELODIC_SHARE = 0.5  # of sounds are melodies: the others' hits or beats are theirs
LEAST_PACE = 0.5  # of an idle core's steps: with fewer, other programs took most of the minutes
WITHOUT_HELD_OUT = " without held-out sounds"  # a trial's stage
MODEL = "model.onnx"
TRIAL = "trial"  # the folder of the run without the held-out sounds
TRIAL_SHARE = 0.5  # of the minutes, for the trial without the held-out sounds


class MakeStopped(TimbrelError):
    """Training was interrupted; its progress is saved."""

    exit_status = 130  # what shells expect after Ctrl-C


def make(
    sounds: Sequence[Path],
    output: Path,
    *,
    minutes: float = MINUTES,
    more_minutes: float | None = None,
    family: str,
    label: str | None = None,
    recordings: bool = True,
    license: str | None = None,
    credits: str | None = None,
    display: Display,
) -> str:
    """Build a corpus, train, evaluate, export, write a preset and a demo; return a summary for the user.

    ``output`` then holds preset.toml, model.onnx, model.encoder.onnx, a demo sound, corpus/, run/, report/ and trial/:
    the run without held-out keys or clips, unless there are too few. A second call resumes. ``auto`` selects loops for
    a steady beat, clips for hits or words, grains if less than half of the sound has a pitch, else partials.

    Args:
        sounds: files and folders; to resume, the same as at first.
        more_minutes: train a finished instrument further, or finish that; then ``minutes`` is ignored, and ``sounds``
            may be empty. An edited preset is kept, and a file of clips without recordings stays so.
        recordings: whether the file of hits or words contains them.
        license, credits: of the sounds, for the card and the preset; None: those of the instrument before, if any.

    Raises:
        UserError: no usable sound or other sounds than at first, or the output exists or is not writable.
        Failure: training diverged before its first checkpoint, the model is silent or not finite, or the disk is full;
            a trained run is kept.
        MakeStopped: Ctrl-C during training.
    """
    family = family_named(family)
    if family != "auto" and not FAMILIES[family].recipe:
        raise UserError(f"--family {family} has no recipe that make trains; train one with 'timbrel train'")
    labels = _labels(output, license, credits)
    if more_minutes is None:
        run, outcome = _begin(sounds, output, minutes, family, label, labels if recordings else None, display)
    else:
        run, outcome = _train_more(sounds, output, more_minutes, family, display)
    is_edited = (output / PRESET).exists() and _is_edited(output)
    if outcome.interrupted:
        raise MakeStopped(f"stopped at step {outcome.step}, all is saved; run the same command again to resume")
    with _training_kept(output):
        display.stage("exporting")
        patch = exported_patch(
            run,
            output,
            PRESET,
            labels=labels,
            recordings=recordings and not (more_minutes is not None and _is_without_recordings(output)),
            overwrite=True,
        )
        export_family, model = FAMILIES[run.recipe.family], patch.model
        if model.card.recordings:
            display.say(f"{model.path}: {holding(model.card)}")
        figures = _evaluated(run, output, display, lambda: patch)
        preset = rendered(model, output / export_family.demo, display)
        if (output / "report").exists():
            # the page plays it, in the panel too
            shutil.copyfile(output / export_family.demo, output / "report" / export_family.demo)
        if is_edited:
            display.say(f"{output / PRESET} was edited: it is kept as {_kept_copy(output)}, for a model that has gone")
        with replacing(output / PRESET, overwrite=True) as file:  # last: a preset marks a complete instrument
            file.write_text(as_text(preset, model.card), encoding="utf-8")
    playing_text = export_family.playing(preset, model, run.info.tonal)
    return _summary(output, model.card, playing_text, output / export_family.demo, figures, outcome)


@contextlib.contextmanager
def _training_kept(output: Path) -> Iterator[None]:
    """Errors after training say that its run is kept, and how to go on."""
    try:
        yield
    except (TimbrelError, OSError) as error:
        reason = str(error) if isinstance(error, TimbrelError) else f"{error.filename or output}: {error.strerror}"
        raise Failure(
            f"{reason}; the training is kept: run the same command again, or train it further with timbrel make "
            f"-o {shlex.quote(str(output))} --more-minutes {MINUTES:g}"
        ) from error


def _evaluated(run: Run, output: Path, display: Display, exported: Callable[[], Patch]) -> Figures:
    """Write the report, and return its figures."""
    display.stage("evaluating")
    shutil.rmtree(output / "report", ignore_errors=True)  # of the instrument before
    try:
        figures = evaluate(run, exported=exported, instrument=output, progress=display.update)
        shutil.move(run.folder / "report", output / "report")
    except Exception as error:  # of any class: the instrument plays without a report
        reason = str(error) if isinstance(error, TimbrelError) else f"{type(error).__name__}: {error}"
        remedy_text = f"for another try: timbrel evaluate {shlex.quote(str(run.folder))}"
        return {"verdict": "", "shortcomings": [f"It has no report ({' '.join(reason.split())}); {remedy_text}."]}
    return figures


def _begin(
    sounds: Sequence[Path],
    output: Path,
    minutes: float,
    family: str,
    label: str | None,
    labels: LabelInput | None,
    display: Display,
) -> tuple[Run, Outcome]:
    """Build the corpus and train, or go on where a call was stopped.

    With ``labels`` a kit plays before it is trained: those of its file, which contains its recordings.
    """
    if not sounds:
        raise UserError("give sounds to make an instrument of: files, or folders of them")
    check_minutes("--minutes", minutes)
    corpus = _corpus(sounds, output, family, label, display)
    try:
        if _begun_run(output) is None:
            corpus = _cut(corpus, family, sounds, label, display)
        family = _select_family(corpus, output, family, display)
        if _begun_run(output) is None:
            corpus = _rebuild_for_family(corpus, FAMILIES[family], sounds, label, display)
        on_initialised = _first_instrument(output, labels, display) if labels and FAMILIES[family].whole_clips else None
        return _train(output, minutes, corpus, family, display, on_initialised)
    except Failure as error:
        if not _is_untrained(output):
            raise
        raise Failure(f"{error}; {output} plays its recordings") from error
    except UserError:
        if _begun_run(output) is None:  # unusable sounds: the next call may have others
            shutil.rmtree(corpus.folder)
            with contextlib.suppress(OSError):
                output.rmdir()
        raise


def _corpus(sounds: Sequence[Path], output: Path, family: str, label: str | None, display: Display) -> Corpus:
    """Open the corpus of a stopped call, or build it."""
    if _is_finished(output):
        raise UserError(
            f"{output} holds an instrument already; give another name, delete it first, or train it further with "
            f"timbrel make -o {output} --more-minutes {MINUTES:g}"
        )
    display.stage("reading sounds")
    if (output / "corpus" / "corpus.json").exists():
        corpus = Corpus.open(output / "corpus")
        _check_same(corpus, sounds, output)
        return corpus
    if not (output / "corpus" / READING).is_dir():  # a stopped call left it
        check_new_folder(output)
    is_new_folder = not output.exists()
    output.mkdir(exist_ok=True)
    try:
        report = _read(sounds, output, family, label, display)
    except BaseException as error:
        if isinstance(error, UserError):
            shutil.rmtree(output / "corpus", ignore_errors=True)
        if is_new_folder:
            with contextlib.suppress(OSError):  # sounds that were read stay after a stop
                output.rmdir()
        raise
    display.say(report.text())
    return Corpus.open(output / "corpus")


def _read(sounds: Sequence[Path], output: Path, family: str, label: str | None, display: Display) -> CorpusReport:
    """Accept clicks if all sounds are too short for notes."""
    build_corpus = functools.partial(
        build, sounds, output / "corpus", name=output.resolve().name, label=label, progress=display.update
    )
    try:
        return build_corpus()
    except UserError:
        if family != "auto" and not FAMILIES[family].whole_clips:
            raise
        return build_corpus(shortest_seconds=SHORTEST_SECONDS)


def _check_same(corpus: Corpus, sounds: Sequence[Path], output: Path) -> None:
    """Raise UserError if the sounds are not those of the corpus."""
    sfz, corpus_digests = sfz_samples(sounds), corpus.files
    sound_digests = {name: _digest(path) for name, path in find_sounds(sounds).items() if not sfz.is_release(path)}
    missing_names, added_names = (
        sorted(set(corpus_digests) - set(sound_digests)),
        sorted(set(sound_digests) - set(corpus_digests)),
    )
    changed_names = sorted(
        name for name in set(sound_digests) & set(corpus_digests) if sound_digests[name] != corpus_digests[name]
    )
    names_by_change = {"missing": missing_names, "new": added_names, "changed": changed_names}
    difference_texts = [
        f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)} {change}"
        for change, names in names_by_change.items()
        if names
    ]
    if difference_texts:
        raise UserError(
            f"{output} was begun with other sounds than {', '.join(map(str, sounds))} ({', '.join(difference_texts)}); "
            "give the same ones to go on, or another -o"
        )


def _digest(path: Path) -> str:
    """Return a sound's SHA-256 as a corpus has it: of zeros, if it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return NO_DIGEST.hex()


def _select_family(corpus: Corpus, output: Path, family: str, display: Display) -> str:
    """Return the family of a begun run, the requested one, or one that suits the sounds."""
    if (run_folder := _begun_run(output)) is not None:
        return _family_of(Run.open(run_folder), output, family)
    tonal = is_tonal(corpus)
    if family == "auto":
        family, reason, mixed_note = _chosen_family(corpus, tonal)
        if mixed_note:
            display.say(mixed_note)
        display.say(f"{reason}: {FAMILIES[family].purpose} (--family {name_for_users(family)})")
        if FAMILIES[family].played and (warning := unsuited_notes(corpus)):
            display.say(f"warning: {warning}")
    elif not tonal and FAMILIES[family].unpitched:
        display.say(FAMILIES[family].unpitched)
    return family


def _chosen_family(corpus: Corpus, tonal: bool) -> tuple[str, str, str]:
    """Return a family, the reason for it, and a note on mixed sounds or nothing."""
    loop_verdict = are_loops(corpus)
    if loop_verdict.loops:
        return LOOPS, loop_verdict.reason, ""
    content = corpus_content(corpus)
    if content.short:
        return SHORT, content.text(), content.mixed
    if not tonal:
        return TEXTURE, f"{_share(corpus)} of the sound has a pitch", content.mixed
    return TONAL, f"{_share(corpus)} of the sound has a pitch", content.mixed


def _rebuild_for_family(
    corpus: Corpus,
    export_family: ExportFamily[Recipe, Network],
    sounds: Sequence[Path],
    label: str | None,
    display: Display,
) -> Corpus:
    """Build the corpus again as the family needs it: whole clips, or loops."""
    if not export_family.whole_clips and not export_family.gridded:
        return corpus
    highest_rate = corpus.rate if export_family.gridded else HIGHEST_RATE
    rate = min(max(own_rate(sounds), LOWEST_RATE), highest_rate)
    build_corpus = functools.partial(build, sounds, rate=rate, name=corpus.name, label=label, progress=display.update)
    with replacing_folder(corpus.folder) as folder:
        if export_family.gridded:
            corpus_report = build_corpus(folder, loops=True)
        else:
            corpus_report = build_corpus(folder, shortest_seconds=SHORTEST_SECONDS)
    rebuilt_corpus = Corpus.open(corpus.folder)
    if export_family.gridded:
        display.say(corpus_report.text())
    else:
        copy_count = len(corpus_report.identical)
        copies_text = (
            f"; {copy_count} identical to others {'is' if copy_count == 1 else 'are'} left out" if copy_count else ""
        )
        unused_text = f"; not used: {unusable}" if (unusable := corpus_report.left_out_line()) else ""
        clip_count = len(rebuilt_corpus.clips())
        display.say(f"clips are kept whole, at {rate} Hz: {clip_count} of them{copies_text}{unused_text}")
    return rebuilt_corpus


def _cut(corpus: Corpus, family: str, sounds: Sequence[Path], label: str | None, display: Display) -> Corpus:
    """Cut melodies into notes, if most sounds are melodies or the others notes."""
    if family != "auto" and not FAMILIES[family].played:
        return corpus
    melody_share = melodic_share(corpus)
    if melody_share == 0 or (
        melody_share < MELODIC_SHARE and (corpus_content(corpus).short or are_loops(corpus).loops)
    ):
        return corpus
    with replacing_folder(corpus.folder) as folder:
        corpus_report = build(sounds, folder, name=corpus.name, label=label, melodies=True, progress=display.update)
    display.say(corpus_report.text())
    return Corpus.open(corpus.folder)


def _begun_run(output: Path) -> Path | None:
    """Return the folder of the run, or of the trial before it; None if neither was begun."""
    return next((output / name for name in ("run", TRIAL) if (output / name).exists()), None)


def _labels(output: Path, licence: str | None, credits_text: str | None) -> LabelInput:
    """Return the texts of the instrument's card: as given, else those of the instrument before."""
    if (output / MODEL).exists():
        card = Model(output / MODEL).card
        licence = licence or (card.license if card.license != UNKNOWN_LICENCE else None)
        credits_text = credits_text or card.credits or None
    return LabelInput(name=output.resolve().name, license=licence, credits=credits_text)


def _first_instrument(output: Path, labels: LabelInput, display: Display) -> Callable[[Run, Network], None]:
    """Return a function that writes an instrument of an untrained network, whose keys play their recordings."""

    def write(run: Run, network: Network) -> None:
        if (output / PRESET).exists():
            return
        untrained_network = copy.deepcopy(network).cpu().eval()
        try:
            with torch.random.fork_rng():
                export_untrained(run, untrained_network, output / MODEL, labels)
        except Failure:  # training may mend it
            return
        model = Model(output / MODEL)
        with replacing(output / PRESET, overwrite=True) as file:
            file.write_text(as_text(first_preset(model), model.card), encoding="utf-8")
        display.say(f"{output} plays its recordings from now on; its knobs bend them once it is trained")

    return write


def _is_untrained(output: Path) -> bool:
    """Return whether the folder holds the instrument of `_first_instrument`."""
    return (output / PRESET).exists() and (output / MODEL).exists() and not Model(output / MODEL).card.training.steps


def _is_finished(output: Path) -> bool:
    return (output / PRESET).exists() and not _is_untrained(output)


def _train(
    output: Path,
    minutes: float,
    corpus: Corpus,
    family: str,
    display: Display,
    on_initialised: Callable[[Run, Network], None] | None,
) -> tuple[Run, Outcome]:
    """Train by a new budget, or go on; return the run, or the trial if it was interrupted."""
    export_family, has_trial = FAMILIES[family], (output / TRIAL).exists()
    if _begun_run(output) is None:
        corpus, has_trial = _held_out(corpus, export_family, display)
    stage_minutes = minutes * TRIAL_SHARE if has_trial else minutes
    recipe_changes = [f"training.minutes={stage_minutes}", *export_family.changes(corpus.all_for_training())]
    recipes_by_folder = {}
    if has_trial:
        recipes_by_folder[output / TRIAL] = load_recipe(export_family.recipe, recipe_changes)
        recipe_changes += export_family.completing
    recipes_by_folder[output / "run"] = load_recipe(export_family.recipe, recipe_changes)
    return _train_stages(recipes_by_folder, output / "corpus", display, on_initialised)


def _train_stages(
    recipes_by_folder: Mapping[Path, Recipe],
    corpus: Path,
    display: Display,
    on_initialised: Callable[[Run, Network], None] | None = None,
) -> tuple[Run, Outcome]:
    """Train the trial, if any, and the run; return the last of them, or the interrupted one, and all steps."""
    outcomes: list[Outcome] = []
    trial_folder = None
    for folder, recipe in recipes_by_folder.items():
        is_trial = folder.name == TRIAL
        run_options = _options(recipe, display, WITHOUT_HELD_OUT if is_trial else "", on_initialised)
        if folder.exists():
            outcomes.append(resume(folder, _covering(recipe, Run.open(folder)), run_options))
        else:
            outcomes.append(start(recipe, corpus, folder, run_options, trial=trial_folder))
        if outcomes[-1].interrupted:
            break
        trial_folder = folder
    return Run.open(folder), _sum_outcomes(outcomes)


def _sum_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the last outcome, with the steps of all."""
    steps, idle_steps = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("steps", "idle_steps"))
    return replace(outcomes[-1], steps=steps, idle_steps=idle_steps)


def _held_out(corpus: Corpus, export_family: ExportFamily[Recipe, Network], display: Display) -> tuple[Corpus, bool]:
    """Hold sounds out of the trial; return the corpus and whether there is a trial."""
    held_out_keys = held_keys(corpus) if export_family.keyed else []
    corpus = corpus.deal(key_splits(corpus, held_out_keys) if export_family.keyed else clip_splits(corpus))
    held_out_names = [clip.name for clip in corpus.clips() if clip.split != "train"]
    if held_out_keys:
        held_out_text = f"keys held out for the report: {', '.join(map(note_name, held_out_keys))}"
    elif held_out_names:
        held_out_text = (
            f"held out for the report: {held_out_names[0]}"
            f"{f' and {len(held_out_names) - 1} more' * (len(held_out_names) > 1)}"
        )
    elif export_family.completing:
        held_out_text = "ends of the sounds are held out for the report"
    else:
        return corpus, False
    display.say(f"{held_out_text}; the instrument learns them after a trial without")
    return corpus, True


def _train_more(
    sounds: Sequence[Path], output: Path, minutes: float, family: str, display: Display
) -> tuple[Run, Outcome]:
    """Train a finished instrument further, or finish that."""
    check_minutes("--more-minutes", minutes)
    if not _is_finished(output) and not _is_trained(output):
        raise UserError(
            f"{output} holds no finished instrument; make one, or go on with one that was stopped, with: "
            f"timbrel make SOUNDS -o {output}"
        )
    run = Run.open(output / "run")
    _family_of(run, output, family)
    if sounds:
        display.stage("reading sounds")
        _check_same(run.corpus(), sounds, output)
    trial = run.trial()
    runs = [run] if trial is None else [trial, run]
    minutes_left = [_minutes_left(current_run) for current_run in runs]
    if max(minutes_left) > 0:
        display.say(f"{sum(minutes_left):.1f} minutes of those asked for last time are left, and are trained now")
    else:  # all budgets grow before training, so that the next call can finish an interrupted one
        added_minutes = [minutes] if trial is None else [TRIAL_SHARE * minutes, (1 - TRIAL_SHARE) * minutes]
        runs = [_extend_budget(current_run, share) for current_run, share in zip(runs, added_minutes, strict=True)]
    return _train_stages({begun_run.folder: begun_run.recipe for begun_run in runs}, output / "corpus", display)


def _is_trained(output: Path) -> bool:
    """An export that failed leaves a trained run without an instrument."""
    return (output / "run").exists() and (run := Run.open(output / "run")).last.exists() and _minutes_left(run) == 0


def _minutes_left(run: Run) -> float:
    """Return the minutes of the run's budget that are not trained yet."""
    return max((run.recipe.training.minutes or 0.0) - progress_of(load(run.last)).seconds / 60, 0.0)


def _covering(recipe: Recipe, run: Run) -> Recipe:
    """Return the recipe, with the minutes that the run has trained where it asks for fewer: the run ends there."""
    minutes, begun_minutes = recipe.training.minutes or 0.0, run.recipe.training.minutes or 0.0
    if minutes >= begun_minutes or not run.last.exists():
        return recipe
    done_minutes = progress_of(load(run.last)).seconds / 60
    training_settings = recipe.training.model_copy(update={"minutes": max(minutes, done_minutes)})
    return recipe.model_copy(update={"training": training_settings})


def _extend_budget(run: Run, minutes: float) -> Run:
    """Return the run with a budget of so many minutes more."""
    total_minutes = progress_of(load(run.last)).seconds / 60 + minutes
    training_settings = run.recipe.training.model_copy(update={"minutes": total_minutes})
    return run.with_recipe(run.recipe.model_copy(update={"training": training_settings}))


def _family_of(run: Run, output: Path, family: str) -> str:
    """Return the run's family; raise UserError if another is requested."""
    if family not in ("auto", run.recipe.family):
        raise UserError(
            f"--family {name_for_users(family)}: {output} was begun as {name_for_users(run.recipe.family)}; "
            "leave it out to go on, or give another -o"
        )
    return run.recipe.family


def _options(
    recipe: Recipe, display: Display, stage_suffix: str, on_initialised: Callable[[Run, Network], None] | None
) -> RunOptions:
    def show_status(status: RunStatus) -> None:
        status_text = f"loss {status.loss:.4g}, {status.examples_per_second:.0f} examples/s"
        display.update(status.budget_share, status_text, status.seconds_left)

    display.stage(f"training {recipe.name}{stage_suffix}")
    return RunOptions(on_report=show_status, on_message=display.say, on_initialised=on_initialised)


def _is_edited(output: Path) -> bool:
    """Return whether the preset differs from the one that was written."""
    try:
        model = Model(output / MODEL)
        return preset_text(output / PRESET) != as_text(first_preset(model), model.card)
    except (UserError, OSError, ValueError):
        return True


def _is_without_recordings(output: Path) -> bool:
    """Return whether the instrument before has none in its file."""
    return (output / MODEL).exists() and not Model(output / MODEL).card.recordings


def _kept_copy(output: Path) -> Path:
    """Copy an edited preset to a free name beside it; return this path."""
    candidate_paths = (output / f"preset-before{number}.toml" for number in ("", *range(2, 1000)))
    copy_path = next(candidate_path for candidate_path in candidate_paths if not candidate_path.exists())
    shutil.copyfile(output / PRESET, copy_path)
    return copy_path


def _pace(outcome: Outcome, folder: str) -> tuple[list[str], list[str]]:
    """Return a weakness, if other programs took most of the minutes, else a line on the steps; none without steps."""
    if not outcome.steps:
        return [], []
    idle_text = f"an idle core does about {outcome.idle_steps} in these minutes"
    if outcome.steps >= LEAST_PACE * outcome.idle_steps:
        return [], [f"steps:    {outcome.steps}; {idle_text}"]
    remedy_text = f"go on with timbrel make -o {folder} --more-minutes {MINUTES:g}"
    return [f"Other programs slowed the training: {outcome.steps} steps, where {idle_text}; {remedy_text}."], []


def _share(corpus: Corpus) -> str:
    """Return the pitched share of the frames as a percentage."""
    pitched_count, frame_count = pitched_frames(corpus)
    return f"{100 * pitched_count / max(frame_count, 1):.0f} %"


def _summary(output: Path, card: Card, playing_text: str, demo_file: Path, figures: Figures, outcome: Outcome) -> str:
    """Return the lines for the user, weaknesses first."""
    note_figures, quoted_folder = figures.get("notes"), shlex.quote(str(output))
    pace_warnings, step_lines = _pace(outcome, quoted_folder)
    return "\n".join(
        [
            *(f"but:      {line}" for line in [*pace_warnings, *figures["shortcomings"]]),
            f"{output}: an instrument with {len(default_knobs(card))} knobs; {playing_text}",
            *([f"verdict:  {good_news_text}"] if (good_news_text := good_news(figures)) else []),
            *step_lines,
            *(
                [f"notes:    {in_short(note_figures)}", *tuning_line(note_figures), *dynamics_line(note_figures)]
                if note_figures
                else []
            ),
            f"hear it:  {demo_file}",
            *([f"see it:   {page_file}"] if (page_file := output / "report" / "index.html").exists() else []),
            f"play it:  timbrel panel {quoted_folder}, or timbrel render {quoted_folder} YOUR.mid -o OUT.wav",
            f"further:  timbrel make -o {quoted_folder} --more-minutes {MINUTES:g}",
        ]
    )
