"""Learning curves of contests: how clips of random codes improve over steps and core hours.

    python tests/bench/contest_curve.py measure RUN --classifier JUDGE -o CURVE.json [--points 8]
    python tests/bench/contest_curve.py time RUN [--steps 40]
    python tests/bench/contest_curve.py draw NAME=CURVE.json:SECONDS ... -o PICTURE.png

``measure`` reads the checkpoints in RUN/kept (train with training.keep=1000) and computes the figures of `timbrel
evaluate --classifier` for some of them, evenly spaced: inception score, share of clips classified as their label,
Fréchet distance on features, diversity, and diversity within a label. ``time`` trains the run's recipe anew for a few
steps and prints the processor time of one, of all threads: divided by 3600, core hours. ``draw`` draws scores over core
hours; curves of one NAME, of several seeds, have one colour. A run may so be trained on a GPU and still be compared by
the time that its steps take on a processor.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from timbrel.export.evaluate import _judged
from timbrel.export.families.clip import scored_clips
from timbrel.export.families.gan import generator_reporter
from timbrel.export.reports.report import SEED
from timbrel.host.errors import UserError
from timbrel.host.files import replacing
from timbrel.train import checkpoint
from timbrel.train.families import FAMILIES
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.metrics.clips import Recordings
from timbrel.train.run import Run
from timbrel.train.sampling import evenly_spaced

FIRST = 4  # steps that are not timed: the first ones prepare


def measured(run, judge_run, points):
    """Yield the figures of some of a run's kept checkpoints, oldest first."""
    files = sorted((run.folder / "kept").glob("step-*.ckpt"))
    if not files:
        raise UserError(f"run {run.folder} keeps no checkpoints; train it with --set training.keep=1000")
    network = FAMILIES[run.recipe.family].network(run.recipe)
    network.eval()
    reporter, corpus = generator_reporter(network, run), run.corpus()
    train, test = (reporter.sample(corpus, split) for split in ("train", "test"))
    told = test.labels if reporter.words else None
    judge = _judged(run, judge_run)["judge"]
    recordings = Recordings(train.clips, test.clips, corpus.rate, judge, told)
    for index in evenly_spaced(len(files), points):
        step = checkpoint.restore(files[index], network).step
        figures = recordings.figures(reporter.generate(test.labels, SEED), told, scored_clips(reporter, train, test))
        yield {
            "step": step,
            "score": figures.told.score,
            "recordings' score": figures.told.real_score,
            "accuracy": figures.told.accuracy,
            "frechet": figures.told.likeness.made,
            "recordings' frechet": figures.told.likeness.train,
            "diversity": figures.diversity_db,
            "label diversity": figures.label_diversity_db,
        }


def seconds_a_step(run, steps):
    """Return the processor time of a step of a run's recipe, without its validation."""
    times = []

    def reported(status):
        times.append((status.step, time.process_time()))

    recipe = run.recipe.model_copy(
        update={"training": run.recipe.training.model_copy(update={"steps": steps, "epochs": None, "minutes": None})}
    )
    with tempfile.TemporaryDirectory() as folder:
        start(recipe, run.folder / run.info.corpus, Path(folder) / "run", RunOptions("cpu", on_report=reported))
    (first, began), (last, ended) = next(row for row in times if row[0] >= FIRST), times[-1]
    return (ended - began) / (last - first)


def draw(curves, output):
    from matplotlib.figure import Figure

    picture = Figure(figsize=(8, 4.2), layout="constrained")
    axes = picture.subplots(1, 2)
    names = list(dict.fromkeys(name for name, *_ in curves))
    for place, (name, rows, seconds) in enumerate(curves):
        hours = np.array([row["step"] for row in rows]) * seconds / 3600
        label = name if name not in [other for other, *_ in curves[:place]] else None  # once a name
        for axis, of, scale in ((axes[0], "score", 1), (axes[1], "accuracy", 100)):
            shown = [scale * row[of] for row in rows]
            axis.plot(hours, shown, marker=".", color=f"C{names.index(name)}", label=label)
    axes[0].axhline(rows[0]["recordings' score"], color="0.5", linestyle=":", label="recordings")
    axes[0].set_ylabel("inception score")
    axes[1].set_ylabel("clips classified as their label (%)")
    for axis in axes:
        axis.set_xlabel("core hours")
        axis.set_ylim(0)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    with replacing(output, overwrite=True) as file:
        picture.savefig(file, format="png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("run", type=Path)
    measure.add_argument("--classifier", type=Path, required=True)
    measure.add_argument("--points", type=int, default=8)
    measure.add_argument("-o", "--output", type=Path, required=True)
    timed = commands.add_parser("time")
    timed.add_argument("run", type=Path)
    timed.add_argument("--steps", type=int, default=40)
    drawing = commands.add_parser("draw")
    drawing.add_argument("curves", nargs="+", help="NAME=CURVE.json:SECONDS, the seconds from 'time'")
    drawing.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        execute(options)
    except (UserError, OSError, ValueError) as error:
        parser.error(str(error))


def execute(options) -> None:
    if options.command == "measure":
        rows = []
        for row in measured(Run.open(options.run), Run.open(options.classifier), options.points):
            rows.append(row)
            print("  ".join(f"{name} {value:.3g}" for name, value in row.items() if value is not None), flush=True)
            options.output.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif options.command == "time":
        print(f"{seconds_a_step(Run.open(options.run), options.steps):.3f} s of a processor a step")
    else:
        draw([curve(text) for text in options.curves], options.output)


def curve(text):
    """Read NAME=CURVE.json:SECONDS."""
    name, _, rest = text.partition("=")
    file, _, seconds = rest.rpartition(":")
    try:
        return name, json.loads(Path(file).read_text(encoding="utf-8")), float(seconds)
    except (OSError, ValueError) as error:
        raise UserError(f"{text}: give NAME=CURVE.json:SECONDS, with a file that 'measure' wrote ({error})") from None


if __name__ == "__main__":
    main()
