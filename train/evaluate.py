"""A run becomes figures, pictures and a page about it, all measured anew on the split that training never saw."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ..host.errors import UserError
from ..host.files import replacing_folder
from ..host.units import PITCH_CLASSES, note_name
from . import checkpoint, figures, keys, measures, page
from .corpus.store import Corpus, Split
from .families import NETWORKS, Network
from .frames import sources
from .picture import Picture
from .run import Run
from .sample import Array, Ints, Sample, chosen, cut, decode, draw, encode, on_keys
from .verdict import verdict

FORMAT = 1
SEED = 2020  # of all that is drawn: the same run gives the same figures
TRAINING_FRAMES = 4096  # percentiles to a part in a hundred
TEST_FRAMES = 2048  # a deviation over clips needs clips more than frames
KEY_CODES = 512  # training codes decoded on every key: with twelve keys, shares to 0.2 %
HEARD_CODES = 32  # codes listened to on every key: with twelve keys, shares to 1 %
PICTURED_FRAMES = 8
PICTURED_SECONDS = 8.0  # of a clip: more would be too narrow to read
SMALLEST_MESH = 8  # points: two a side in three dimensions

Progress = Callable[[float, str], None]
Figures = dict[str, Any]


@dataclass(frozen=True)
class _Work:
    """What all parts of an evaluation look at."""

    run: Run
    corpus: Corpus
    network: Network
    folded: bool
    train: Sample
    test: Sample
    rng: np.random.Generator


def evaluate(
    run: Run,
    *,
    checkpoint: Literal["best", "last"] = "best",
    mesh_points: int = 4096,
    progress: Progress | None = None,
) -> Figures:
    """Measure a run and write ``RUN/report/``: index.html, report.json and pictures, whole or not at all.

    Args:
        run: it stays as it is, but for the report, which is replaced.
        checkpoint: which one; where a run has no best (its latents never varied), the last.
        mesh_points: how many codes the latents' span is sampled at, 8 or more; about, for a regular mesh.
        progress: called with the share that is done, 0 to 1, and what is being done.

    Returns:
        The figures, as in report.json.

    Raises:
        UserError: no checkpoint, the corpus is gone or has nothing that sounds, or the report cannot be written.
        Failure: the disk is full.
    """
    if mesh_points < SMALLEST_MESH:
        raise UserError(f"a mesh of {mesh_points} points is too small; give {SMALLEST_MESH} or more, such as 4096")
    say = progress or (lambda share, what: None)
    network, which, step = _network(run, checkpoint)
    say(0.0, "cutting frames")
    work = _prepare(run, network)
    say(0.3, "decoding the test frames")
    with replacing_folder(run.folder / "report") as folder:
        found, pictures = _figures(work, which, step, mesh_points, say)
        say(0.75, "drawing")
        for picture in pictures:
            picture.save(folder)
        text = json.dumps(found, indent=1, allow_nan=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        (folder / "index.html").write_text(page.page(found, pictures), encoding="utf-8")
    say(1.0, "done")
    return found


def _network(run: Run, which: Literal["best", "last"]) -> tuple[Network, str, int]:
    file = run.best if which == "best" and run.best.exists() else run.last
    network = NETWORKS[run.recipe.family](run.recipe)
    step = checkpoint.restore(file, network).step
    network.eval()
    return network, file.stem, step


def _prepare(run: Run, network: Network) -> _Work:
    corpus, settings, rng = run.corpus(), run.recipe.frames, np.random.default_rng(SEED)
    folded = settings.octave is not None and run.info.tonal
    train = draw(corpus, "train", settings, folded, TRAINING_FRAMES, rng)
    if train is None:
        raise UserError(f"corpus {corpus.folder} has no training frame that sounds; add longer or louder sounds")
    splits: tuple[Split, ...] = ("test", "val")
    others = (draw(corpus, split, settings, folded, TEST_FRAMES, rng) for split in splits)
    test = next((sample for sample in others if sample is not None), None)
    if test is None:
        part = [train.sources[i] for i in chosen(len(train), TEST_FRAMES, rng)]
        test = cut(corpus, "train", part, settings, folded, train.found)
    return _Work(run, corpus, network, folded, train, test, rng)


def _figures(work: _Work, which: str, step: int, mesh_points: int, say: Progress) -> tuple[Figures, list[Picture]]:
    reconstruction, pictures = _reconstruction(work)
    codes = encode(work.network, work.train.spectra, work.train.pitch_classes)
    latents, latent_pictures = _latents(work, codes)
    say(0.4, "trying the keys")
    obeyed, key_pictures = _keys(work, codes, latents, mesh_points)
    loss, loss_pictures = _loss(work.run, step)
    test = work.test
    found: Figures = {
        "format": FORMAT,
        "verdict": "",
        "run": {
            "recipe": work.run.recipe.name,
            "corpus": work.run.info.corpus_name,
            "checkpoint": which,
            "step": step,
            "tonal": work.run.info.tonal,
            "octave": work.run.recipe.frames.octave if work.folded else None,
        },
        "split": test.split,
        "clips": int(test.clips.max()) + 1,
        "frames": len(test),
        "frames_in_split": test.found,
        "reconstruction": reconstruction,
        "keys": obeyed,
        "latents": latents,
        "loss": loss,
    }
    found["verdict"] = verdict(found)
    return found, [*pictures, *key_pictures, *latent_pictures, *loss_pictures]


def _reconstruction(work: _Work) -> tuple[Figures, list[Picture]]:
    settings, network, test = work.run.recipe.frames, work.network, work.test
    means = _means(work)
    latents = encode(network, test.spectra, test.pitch_classes)
    decoded = decode(network, latents, test.pitch_classes)
    found = {
        "same_key": measures.reconstruction(test.spectra, decoded, test.clips, means[test.pitch_classes]),
    }
    if _moves(work):
        other = (test.pitch_classes + work.rng.integers(1, 12, len(test))) % 12
        asked = on_keys(work.corpus, test.sources, other, settings)
        found["another_key"] = measures.reconstruction(asked, decode(network, latents, other), test.clips, means[other])
    few = _spread(test)
    titles = [_title(test, i, work.folded) for i in few]
    return found, [
        figures.reconstructions(test.spectra[few], decoded[few], titles, settings.sample_rate),
        _spectrogram(work, decoded),
    ]


def _moves(work: _Work) -> bool:
    """Whether the network learned to decode a sound on another key than it was encoded on."""
    return work.folded and work.run.recipe.frames.views > 1 and work.network.conditioned


def _means(work: _Work) -> Array:
    """The mean training spectrum of each pitch class, with every frame on a second key where training moved it."""
    train = work.train
    if not _moves(work):
        return measures.mean_spectra(train.spectra, train.pitch_classes)
    other = (train.pitch_classes + work.rng.integers(1, 12, len(train))) % 12
    moved = on_keys(work.corpus, train.sources, other, work.run.recipe.frames)
    return measures.mean_spectra(np.concatenate([train.spectra, moved]), np.concatenate([train.pitch_classes, other]))


def _spread(sample: Sample) -> list[int]:
    """A few frames for a picture, of as many different sounds as there are."""
    sounds: dict[str, list[int]] = {}
    for i, source in enumerate(sample.sources):
        sounds.setdefault(source.clip.label or source.clip.name, []).append(i)
    count = min(PICTURED_FRAMES, len(sample))
    if len(sounds) < count:
        return [int(i) for i in np.linspace(0, len(sample) - 1, count)]
    names = list(sounds)
    return [sounds[names[int(i)]][len(sounds[names[int(i)]]) // 2] for i in np.linspace(0, len(names) - 1, count)]


def _title(sample: Sample, index: int, folded: bool) -> str:
    source = sample.sources[index]
    key = PITCH_CLASSES[sample.pitch_classes[index]]
    note = note_name(round(source.note)) if np.isfinite(source.note) else key
    moved = f", moved to {key}" if folded else ""
    return f"{_short(source.clip.label or source.clip.name)} · {note}{moved}"


def _short(name: str, longest: int = 30) -> str:
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def _spectrogram(work: _Work, decoded: Array) -> Picture:
    """The clip whose error is the median of the clips', so that it shows neither the best nor the worst."""
    settings, test = work.run.recipe.frames, work.test
    errors = np.bincount(test.clips, np.square(test.spectra - decoded).mean(1)) / np.bincount(test.clips)
    middle = int(np.argsort(errors)[len(errors) // 2])
    clip = test.sources[int(np.argmax(test.clips == middle))].clip
    last = PICTURED_SECONDS * settings.sample_rate - settings.frame_length
    cuts = sources(work.corpus, test.split, settings, tonal=work.folded)
    whole = [source for source in cuts if source.clip.name == clip.name and source.start <= max(last, 0)]
    sample = cut(work.corpus, test.split, whole, settings, work.folded, test.found)
    again = decode(work.network, encode(work.network, sample.spectra, sample.pitch_classes), sample.pitch_classes)
    times = np.array([source.start for source in whole]) / settings.sample_rate
    hop_seconds = settings.hop_length / settings.sample_rate
    title = _short(clip.label or clip.name)
    return figures.spectrogram(sample.spectra, again, times, hop_seconds, title, settings.sample_rate)


def _latents(work: _Work, codes: Array) -> tuple[Figures, list[Picture]]:
    found = measures.latent_figures(codes, _divergence(work))
    low, high = _ends(found)
    pictures = [figures.histograms(codes, low, high)]
    if codes.shape[1] > 1:
        pictures.insert(0, figures.embedding(codes, work.train.pitch_classes))
        pictures.append(figures.correlation(found["correlation"]))
    return found, pictures


@torch.no_grad()
def _divergence(work: _Work) -> Array | None:
    """From the standard normal prior, in nats, a mean over the training frames: [latents]."""
    one_hot = np.eye(12, dtype=np.float32)[work.train.pitch_classes]
    mean, log_variance = work.network.distribution(torch.from_numpy(work.train.spectra), torch.from_numpy(one_hot))
    if log_variance is None:
        return None
    each: Array = (0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)).mean(0).numpy()
    return each


def _ends(latents: Figures) -> tuple[list[float], list[float]]:
    dimensions = latents["dimensions"]
    return [dimension["low"] for dimension in dimensions], [dimension["high"] for dimension in dimensions]


def _keys(work: _Work, codes: Array, latents: Figures, mesh_points: int) -> tuple[Figures | None, list[Picture]]:
    """Whether keys are obeyed on sounds of the corpus and all over the latents; None where decoding has no key."""
    if not work.network.conditioned:
        return None, []
    settings = work.run.recipe.frames
    low, high = _ends(latents)
    real = codes[chosen(len(codes), KEY_CODES, work.rng)]
    mesh = keys.mesh(np.array(low), np.array(high), mesh_points, work.rng)
    asked = keys.trained(work.train.pitch_classes, settings, work.folded)
    found: Figures = {"trained": [PITCH_CLASSES[k] for k in asked]}
    answers: dict[int, Ints] = {}
    for place, points in (("training_codes", real), ("mesh", mesh)):
        answers = {k: keys.strongest(work.network, points, k, settings) for k in asked}
        heard = points[chosen(len(points), HEARD_CODES, work.rng)]
        tonal = work.run.info.tonal
        found[place] = {
            "codes": len(points),
            "strongest": keys.obedience(answers),
            "sounding": keys.sounding(work.network, heard, asked, settings, work.folded) if tonal else None,
        }
    shares = [found[place]["strongest"]["by_pitch_class"] for place in ("training_codes", "mesh")]
    pictures = [figures.key_bars(*shares)]
    if len(low) == 2 and all(end > start for start, end in zip(low, high, strict=True)):
        pictures.append(figures.square(answers, low, high))
    return found, pictures


def _loss(run: Run, step: int) -> tuple[Figures, list[Picture]]:
    """The validation losses that training logged, each term times its weight."""
    lines = run.logged()
    if not lines:
        return {"steps": [], "terms": {}}, []
    weights = run.recipe.loss.model_dump()
    names = [name for name, weight in weights.items() if weight and all(name in line for line in lines)]
    steps = [line["step"] for line in lines]
    terms = {name: [weights[name] * line[name] for line in lines] for name in names}
    terms["total"] = [line["total"] for line in lines]
    return {"steps": steps, "terms": terms}, [figures.loss_curve(steps, terms, step)]
