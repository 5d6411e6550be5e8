"""From a folder of sounds to an instrument, in one go."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..host.card import Card
from ..host.errors import Failure, TimbrelError, UserError
from ..host.files import check_new_folder, replacing
from ..host.model import Model
from ..host.progress import Display
from ..host.shelf import MADE as PRESET
from ..train.corpus.build import build
from ..train.corpus.store import Corpus
from ..train.evaluate import evaluate
from ..train.frames import is_tonal, pitched_frames
from ..train.loop import Options, Outcome, Report, resume, start
from ..train.recipe import load_recipe
from ..train.run import Run
from .export import Labels, export
from .first_preset import First, first_scale, first_texture

RECIPES = {"chroma": "tuned-8", "grain": "texture-10"}
WHY = {
    "chroma": "keys will choose the note, knobs the colour",
    "grain": "a texture of grains, which keys move and knobs walk",
}
FIRST = {"chroma": first_scale, "grain": first_texture}


class Stopped(TimbrelError):
    """Training was interrupted; what was learnt is saved."""

    exit_status = 130  # what shells expect after Ctrl-C


def make(
    sounds: Sequence[Path],
    output: Path,
    *,
    minutes: float,
    family: Literal["auto", "chroma", "grain"],
    display: Display,
) -> str:
    """Build a corpus, train, evaluate, export, write a preset and a scale; returns what to tell the user.

    ``output`` then holds preset.toml, model.onnx, model.encoder.onnx, scale.wav or texture.wav, corpus/, run/ and
    report/. What was stopped goes on when it is called again: parts that are finished are kept. ``family`` auto takes
    grains where less than half of what sounds has a pitch.

    Raises:
        UserError: no usable sound, or the output exists or cannot be made.
        Failure: training diverged, or every sound got the same code.
        Stopped: Ctrl-C during training; everything is saved.
    """
    load_recipe(RECIPES["chroma"], [f"training.minutes={minutes}"])  # refuses a wrong number before any work
    corpus = _corpus(sounds, output, display)
    try:
        run, outcome = _train(output, minutes, corpus, family, display)
    except UserError:
        if not (output / "run").exists():  # these sounds will not do: others are to be read next time
            shutil.rmtree(corpus.folder)
            with contextlib.suppress(OSError):
                output.rmdir()
        raise
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
    first = FIRST[run.recipe.family](output, run, model, display)
    with replacing(output / PRESET) as file:  # last: what has a preset is whole
        file.write_text(first.preset.to_toml(first.heading), encoding="utf-8")
    return _summary(output, card, first)


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


def _train(output: Path, minutes: float, corpus: Corpus, family: str, display: Display) -> tuple[Run, Outcome]:
    """The run in ``output``, begun or gone on with."""

    def report(now: Report) -> None:
        note = f"loss {now.loss:.4g}, {now.examples_per_second:.0f} examples/s"
        display.update(now.done, note, now.seconds_left)

    changes = [f"training.minutes={minutes}"]
    tonal = is_tonal(corpus)
    if family == "auto":
        family = "chroma" if tonal else "grain"
        display.say(f"{_share(corpus)} of the sound has a pitch: {WHY[family]} (--family {family})")
    elif family == "chroma" and not tonal:
        display.say("the recordings have no clear pitch: keys will choose the colour of the sound, not its note")
        changes.append("loss.consistency=0.0")  # it would force a pitch on what has none
    recipe = load_recipe(RECIPES[family], changes)
    options = Options(on_report=report, on_message=display.say)
    display.stage(f"training {recipe.name}")
    folder = output / "run"
    outcome = resume(folder, recipe, options) if folder.exists() else start(recipe, output / "corpus", folder, options)
    return Run.open(folder), outcome


def _share(corpus: Corpus) -> str:
    pitched, total = pitched_frames(corpus)
    return f"{100 * pitched / max(total, 1):.0f} %"


def _summary(output: Path, card: Card, first: First) -> str:
    return "\n".join(
        [
            f"{output}: an instrument with {len(card.latents)} knobs; {first.verdict}",
            f"hear it:  {first.heard}",
            f"see it:   {output / 'report' / 'index.html'}",
            f"play it:  timbrel render {output} YOUR.mid -o OUT.wav",
        ]
    )
