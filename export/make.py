"""From a folder of sounds to an instrument, in one go."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..host.card import Card
from ..host.errors import Failure, TimbrelError, UserError
from ..host.events import Event, NoteOff, NoteOn
from ..host.files import check_new_folder, replacing
from ..host.library import FIRST_KNOB_CC, Patch
from ..host.midi.file import Performance
from ..host.model import Model
from ..host.preset import CCMap, EnvelopeSettings, LatentSettings, PlaySettings, Preset
from ..host.progress import Display
from ..host.render import render
from ..train.corpus.build import build
from ..train.corpus.store import Corpus
from ..train.evaluate import evaluate
from ..train.frames import is_tonal
from ..train.loop import Options, Outcome, Report, resume, start
from ..train.recipe import load_recipe
from ..train.run import Run
from .export import Labels, export
from .listen import Obedience, listen

PRESET = "preset.toml"
RECIPE = "tuned-8"
RATE = 44100
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
NOTE_SECONDS = 0.5
KNOBS = 10  # CC 70 to 79
ENOUGH = 0.95  # of rendered notes right, before an instrument is said to obey its keys


class Stopped(TimbrelError):
    """Training was interrupted; what was learnt is saved."""

    exit_status = 130  # what shells expect after Ctrl-C


def make(
    sounds: Sequence[Path],
    output: Path,
    *,
    minutes: float,
    family: Literal["auto", "chroma"],
    display: Display,
) -> str:
    """Build a corpus, train, evaluate, export, write a preset and a scale; returns what to tell the user.

    ``output`` then holds preset.toml, model.onnx, model.encoder.onnx, scale.wav, corpus/, run/ and report/. What was
    stopped goes on when it is called again: parts that are finished are kept.

    Raises:
        UserError: no usable sound, or the output exists or cannot be made.
        Failure: training diverged, or every sound got the same code.
        Stopped: Ctrl-C during training; everything is saved.
    """
    load_recipe(RECIPE, [f"training.minutes={minutes}"])  # refuses a wrong number before any work
    corpus = _corpus(sounds, output, display)
    run, outcome = _train(output, minutes, corpus, display)
    if outcome.interrupted:
        raise Stopped(f"stopped at step {outcome.step}, all is saved; the same command goes on from there")
    if outcome.dead:
        raise Failure(
            f"every sound got the same code, its knobs would do nothing; delete {run.folder} and run make again, "
            "with more varied sounds or more minutes"
        )
    display.stage("evaluating")
    evaluate(run, progress=display.update)
    shutil.rmtree(output / "report", ignore_errors=True)
    shutil.move(run.folder / "report", output / "report")
    display.stage("exporting")
    card = export(run, output / "model.onnx", labels=Labels(name=output.resolve().name), overwrite=True)
    model = Model(output / "model.onnx")
    display.stage("listening")
    obedience = listen(model, progress=display.update)
    preset, heading = _preset(card, model)
    _write_scale(output, Patch("preset", preset, model, output), card)
    with replacing(output / PRESET) as file:  # last: what has a preset is whole
        file.write_text(preset.to_toml(heading), encoding="utf-8")
    return _summary(output, run, card, obedience)


def _corpus(sounds: Sequence[Path], output: Path, display: Display) -> Corpus:
    """The corpus in ``output``, built if it is not there yet."""
    if (output / PRESET).exists():
        raise UserError(f"{output} holds an instrument already; give another name, or delete it first")
    unfinished = (output / "corpus" / "corpus.json").exists()
    if not unfinished:
        check_new_folder(output)
        new = not output.exists()
        output.mkdir(exist_ok=True)
        display.stage("reading sounds")
        try:
            report = build(sounds, output / "corpus", name=output.resolve().name, progress=display.update)
        except BaseException:
            if new:
                output.rmdir()
            raise
        display.say(report.text())
    return Corpus.open(output / "corpus")


def _train(output: Path, minutes: float, corpus: Corpus, display: Display) -> tuple[Run, Outcome]:
    """The run in ``output``, begun or gone on with."""

    def report(now: Report) -> None:
        note = f"loss {now.loss:.4g}, {now.examples_per_second:.0f} examples/s"
        display.update(now.done, note, now.seconds_left)

    changes = [f"training.minutes={minutes}"]
    if not is_tonal(corpus):
        display.say("the recordings have no clear pitch: keys will choose the colour of the sound, not its note")
        changes.append("loss.consistency=0.0")  # it would force a pitch on what has none
    recipe = load_recipe(RECIPE, changes)
    options = Options(on_report=report, on_message=display.say)
    display.stage(f"training {recipe.name}")
    folder = output / "run"
    outcome = resume(folder, recipe, options) if folder.exists() else start(recipe, output / "corpus", folder, options)
    return Run.open(folder), outcome


def _preset(card: Card, model: Model) -> tuple[Preset, str]:
    """A preset that starts from a real sound, its knobs spanning what the corpus spans; and what to say of it."""
    knobs = [
        CCMap(number=FIRST_KNOB_CC + i, target=f"latent.{i}", low=latent.low, high=latent.high)
        for i, latent in enumerate(card.latents[:KNOBS])
    ]
    values = [latent.default for latent in card.latents]
    preset = Preset(
        format=1,
        model=model.path.name,
        description=f"{card.name}: knobs on CC {FIRST_KNOB_CC} to {FIRST_KNOB_CC + len(knobs) - 1}",
        model_sha256=model.sha256,
        latent=LatentSettings(values=values),
        play=PlaySettings(mode="poly", voices=16),
        envelope=EnvelopeSettings(attack_seconds=0.005, decay_seconds=0.1, sustain=1.0, release_seconds=0.2),
        cc=knobs,
    )
    nearest = min(card.landmarks, key=lambda mark: float(np.sum(np.square(np.subtract(mark.latent, values)))))
    return preset, f"Starts from a moment of {nearest.label}; each knob spans what the recordings span."


def _write_scale(output: Path, patch: Patch, card: Card) -> None:
    """Render a major scale in the octave of the recordings."""
    lowest = 12 * ((card.chroma.octave if card.chroma else 4) + 1)
    length = round(NOTE_SECONDS * RATE)
    events: list[Event] = []
    for index, step in enumerate(SCALE):
        events.append(NoteOn(index * length, 0, lowest + step, 100))
        events.append(NoteOff((index + 1) * length - length // 8, 0, lowest + step))
    performance = Performance(events=events, length=len(SCALE) * length, channels=[0], warnings=[])
    render({0: patch}, performance, output / "scale.wav", sample_rate=RATE, overwrite=True)


def _summary(output: Path, run: Run, card: Card, obedience: Obedience) -> str:
    if not run.info.tonal:
        verdict = "the recordings have no clear pitch: keys choose the colour of the sound, knobs its character"
    elif obedience.octave >= ENOUGH:
        verdict = f"it plays in tune: {100 * obedience.octave:.1f} % of {obedience.notes} notes sound their key"
    else:
        verdict = (
            f"it is not yet in tune: {100 * obedience.octave:.1f} % of {obedience.notes} notes sound their key; "
            "more --minutes, or recordings of single notes, help"
        )
    return "\n".join(
        [
            f"{output}: an instrument with {len(card.latents)} knobs; {verdict}",
            f"hear it:  {output / 'scale.wav'}",
            f"see it:   {output / 'report' / 'index.html'}",
            f"play it:  timbrel render {output / PRESET} YOUR.mid -o OUT.wav",
        ]
    )
