"""Makes of a sound a preset that rests at its latent code, or follows its codes."""

import contextlib
import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..audio.effects import Resampler
from ..audio.files import SoundReader, sound_reader
from ..contract.card import Card
from ..contract.encoder import SILENT, Encoder
from ..contract.model import Model
from ..dsp import medoid
from ..errors import UserError
from ..files import check_output, replacing
from ..kinds.clip import KeySettings
from ..kinds.table import kind_of
from ..patch.library import default_knobs
from ..patch.motions import MotionSettings
from ..patch.preset import LatentSettings, Preset
from ..shelf import shipped_models
from .whole import whole_clip

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

BATCH = 64  # frames a run: more gain nothing
LOWEST_RATE = 1000  # Hz; a header that says less is wrong, and would swell beyond memory
QUIET = 10 ** (-50 / 20)  # of the loudest frame: what is quieter is tail and noise, and has no timbre of its own
SMOOTHED_SECONDS = 0.2  # of the median along a path: what noise does to codes from frame to frame is no movement
SAME = 0.01  # deviations: a path that is as near as this to all codes needs no more points
FIRST_KEY, LAST_KEY = 36, 127  # of a kit: drums of General MIDI begin there
SOUNDS = (".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3")  # of a folder
AT_ONCE = 1024  # frames looked at together, so that a long sound needs no more memory


class Track(NamedTuple):
    """The codes of a sound's frames, silent ones left out; of a whole clip one, and ``taken`` says what it is of.

    ``label`` is what the clip is taken for by a model that knows labels.
    """

    seconds: Doubles  # [frames]: where in the sound the middle of each lies
    codes: Doubles  # [frames, n_latents]
    found: int  # frames, silent ones included
    length_seconds: float
    taken: str = ""
    label: str | None = None


@dataclass(frozen=True)
class Recovered:
    """The facts to tell people of a preset that was written."""

    summary: str
    warnings: tuple[str, ...]


def recover(
    sound: Path,
    model: Model,
    output: Path,
    *,
    points: int | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Recovered:
    """Write a preset whose knobs rest where a sound lies in a model's latent space.

    That is the code of one of the sound's frames: the one nearest to the median of all, in deviations of the latents.

    Args:
        sound: of any format, rate and number of channels; they are mixed. Of a model of clips, the part that is as
            long as these, with the label that it is taken for, if the model has labels; or a folder of sounds, which
            become a kit: in the order of their names, from key 36 upward.
        model: with its encoder beside it.
        output: ends in ``.toml``; the preset names the model by its path from there, or by the name it ships under.
        points: the most codes of a path that follows the sound, 2 or more; None for no path.
        progress: told the part that is done, 0 to 1.

    Raises:
        UserError: the sound cannot be read, is silent or shorter than a frame, the model has no encoder of its own, or
            the output exists or cannot be written.
        Failure: the encoder gives codes that are not finite, or the preset cannot be written.
    """
    if output.suffix != ".toml":
        raise UserError(f"-o {output} must be a preset's name, such as {output.stem or 'preset'}.toml")
    check_output(output, overwrite)
    card = model.card
    if sound.is_dir() and kind_of(card).of_clips:
        return _kit(sound, model, output, overwrite, progress)
    track, scale = follow(sound, model, progress), in_deviations(card)
    rest = track.codes[medoid(track.codes * scale)]
    preset = _preset_of(sound, model, output).model_copy(update={"latent": LatentSettings(values=_rounded(rest))})
    preset = preset.model_copy(update=dict(kind_of(card).tables(track.label, held=False)))
    told = [track.taken or f"{len(track.codes)} of {track.found} frames in {track.length_seconds:.1f} s sound"]
    if card.landmarks:
        away = _distances(track.codes * scale, np.array([mark.latent for mark in card.landmarks]) * scale)
        told.append(f"half of their codes lie within {np.median(away):.2f} deviations of a training code")
    warnings = []
    if beyond_span := outside(rest, card):
        warnings.append(f"{sound} is unlike the training sounds: its code lies outside the span of {beyond_span}")
    if points is not None:
        if len(track.codes) < 2:
            raise UserError(f"{sound} has one frame that sounds, and a path needs two; leave --path out")
        path, fits, beyond = _path(track, card, scale, points)
        preset = preset.model_copy(update={"motion": [path]})
        told.append(fits)
        warnings += beyond
    with replacing(output, overwrite) as file:
        file.write_text(preset.to_toml(), encoding="utf-8")
    return Recovered(f"{output}: {'; '.join(told)}", tuple(warnings))


def follow(sound: Path, model: Model, progress: Callable[[float], None] | None = None) -> Track:
    """Encode a sound, a frame a hop. Of a long one only the codes are held in memory.

    Raises:
        UserError: the sound cannot be read, is silent or shorter than a frame, or the model has no encoder of its own.
        Failure: a code is not finite.
    """
    encoder, card = Encoder(model), model.card
    if kind_of(card).of_clips:
        return _clip(sound, encoder, card)
    levels, codes, waiting, taken = [], [], np.zeros(0, np.float32), 0
    with _opened(sound) as reader:
        for block in _mono(reader, card.sample_rate):
            waiting, taken = np.concatenate([waiting, block]), taken + len(block)
            count = max(0, (len(waiting) - card.frame_length) // card.hop_length + 1)
            for first in range(0, count, BATCH):
                frames = _frames(waiting, first, min(first + BATCH, count), card)
                level = frames.std(axis=1)  # a recording's DC does not sound
                levels.append(level)
                if np.any(level > SILENT):
                    codes.append(encoder.encode(frames[level > SILENT]))
            waiting = waiting[count * card.hop_length :]
            if progress is not None:
                progress(min(1.0, taken * reader.sample_rate / (max(1, reader.length) * card.sample_rate)))
    seconds = taken / card.sample_rate
    if not levels:
        raise UserError(
            f"{sound} lasts {seconds:.3g} s, and a frame of model {card.name!r} "
            f"{card.frame_length / card.sample_rate:.3g} s; give a longer sound"
        )
    level = np.concatenate(levels)
    if not codes:
        raise _silent(sound)
    heard = np.flatnonzero(level > SILENT)
    loud = level[heard] > QUIET * level.max()
    middles = (heard[loud] * card.hop_length + card.frame_length / 2) / card.sample_rate
    return Track(middles, np.concatenate(codes)[loud].astype(np.float64), len(level), seconds)


def _kit(
    folder: Path, model: Model, output: Path, overwrite: bool, progress: Callable[[float], None] | None
) -> Recovered:
    """Write a preset whose keys play a folder's sounds."""
    card, encoder = model.card, Encoder(model)
    sounds = sorted(path for path in folder.iterdir() if path.suffix.casefold() in SOUNDS)
    if not 1 <= len(sounds) <= LAST_KEY - FIRST_KEY + 1:
        raise UserError(
            f"{folder} holds {len(sounds)} sounds; a kit has 1 to {LAST_KEY - FIRST_KEY + 1}, give a folder of so many"
        )
    keys, warnings, taken = [], [], []
    for number, sound in enumerate(sounds):
        track = _clip(sound, encoder, card)
        keys.append(KeySettings(key=FIRST_KEY + number, code=_rounded(track.codes[0]), label=track.label))
        taken.append(f"{output}: key {FIRST_KEY + number} has {sound.name}: {track.taken}")
        if beyond_span := outside(track.codes[0], card):
            warnings.append(f"{sound} is unlike the training sounds: its code lies outside the span of {beyond_span}")
        if progress is not None:
            progress((number + 1) / len(sounds))
    preset = _preset_of(folder, model, output).model_copy(update={"keys": keys})
    with replacing(output, overwrite) as file:
        file.write_text(preset.to_toml(), encoding="utf-8")
    return Recovered("\n".join(taken), tuple(warnings))


def _preset_of(sound: Path, model: Model, output: Path) -> Preset:
    """Return a preset of a model, named after what it was recovered from."""
    return Preset(
        format=1,
        model=_name_of(model.path, output.parent),
        description=f"{sound.name} as {model.card.name} hears it",
        model_sha256=model.sha256,
        cc=default_knobs(model.card),
    )


def _clip(sound: Path, encoder: Encoder, card: Card) -> Track:
    """The code of a sound's part that is as long as a model's clips."""
    with _opened(sound) as reader, _opened(sound) as again:
        blocks, others = (_mono(one, card.sample_rate) for one in (reader, again))
        clip = whole_clip(blocks, others, card.frame_length, card.sample_rate)
    if clip.samples.std() <= SILENT:
        raise _silent(sound)
    seconds, length = clip.length / card.sample_rate, card.frame_length / card.sample_rate
    begin = clip.first / card.sample_rate
    if clip.length < card.frame_length:
        taken = f"its {seconds:.3g} s, and silence up to the {length:.3g} s of the model's clips"
    elif clip.length > card.frame_length:
        taken = f"of its {seconds:.3g} s the {length:.3g} s from {begin:.2f} s on, where its loudest sound begins"
    else:
        taken = f"its {seconds:.3g} s"
    codes, labels = encoder.heard(clip.samples[np.newaxis])
    label = None
    if labels is not None:
        label, share = card.labels[int(labels[0].argmax())], float(labels[0].max())
        taken += f", taken for {label!r} ({share:.0%})"
    return Track(np.array([begin + length / 2]), codes.astype(np.float64), 1, seconds, taken, label)


@contextlib.contextmanager
def _opened(sound: Path) -> Iterator[SoundReader]:
    with sound_reader(sound) as reader:
        if reader.sample_rate < LOWEST_RATE:
            raise UserError(f"{sound} claims a rate of {reader.sample_rate} Hz; give a sound of {LOWEST_RATE} or more")
        yield reader


def _silent(sound: Path) -> UserError:
    return UserError(f"{sound} is silent, no frame is louder than -80 dB; give a sound that can be heard")


def in_deviations(card: Card) -> Doubles:
    """Return what codes are multiplied by to be counted in deviations of the training codes, [n_latents].

    A latent that never varied in training counts for nothing.
    """
    deviations = np.array([latent.std for latent in card.latents])
    scale: Doubles = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=deviations > 0)
    return scale


def simplified(seconds: Doubles, codes: Doubles, count: int) -> list[int]:
    """Return which frames to keep so that straight lines between them come near to all.

    Begins with the first and the last and adds the frame that is farthest from its line, as Douglas and Peucker do
    (1973, Algorithms for the reduction of the number of points), but the worst of all lines first, until ``count`` are
    kept or all are as near as makes no difference.

    Args:
        seconds: when each frame is, rising, [frames], at least two.
        codes: [frames, n], in units in which 1 is a deviation.

    Returns:
        Numbers of frames, rising.
    """

    def leg(start: int, end: int) -> tuple[float, int, int, int]:
        between = slice(start + 1, end)
        line = _drawn(seconds[between], seconds[[start, end]], codes[[start, end]])
        distances = np.sqrt(np.square(codes[between] - line).sum(axis=1))
        worst = int(distances.argmax()) if len(distances) else 0
        return -float(distances[worst]) if len(distances) else 0.0, start, start + 1 + worst, end

    legs = [leg(0, len(codes) - 1)]
    kept = {0, len(codes) - 1}
    while len(kept) < count and -legs[0][0] > SAME:
        _, start, middle, end = heapq.heappop(legs)
        kept.add(middle)
        heapq.heappush(legs, leg(start, middle))
        heapq.heappush(legs, leg(middle, end))
    return sorted(kept)


def _path(track: Track, card: Card, scale: Doubles, points: int) -> tuple[MotionSettings, str, list[str]]:
    """A path through a sound's codes, how near it comes to them, and what to warn of."""
    smooth = _smoothed(track.codes, SMOOTHED_SECONDS * card.sample_rate / card.hop_length)
    chosen = simplified(track.seconds, smooth * scale, points)
    error = _drawn(track.seconds, track.seconds[chosen], smooth[chosen] * scale) - smooth * scale
    fits = f"a path of {len(chosen)} codes follows them within {np.sqrt(np.square(error).sum(1).mean()):.2f}"
    times = [round(second, 6) for second in track.seconds[chosen].tolist()]
    path = MotionSettings(path=[_rounded(code) for code in smooth[chosen]], times=times)
    beyond = sum(bool(outside(code, card)) for code in smooth[chosen])
    warning = f"{beyond} of {len(chosen)} codes of the path lie outside the latents' spans, where playing keeps them"
    return path, fits, [warning] if beyond else []


def _mono(reader: SoundReader, rate: int) -> Iterator[Array]:
    """The mean of all channels at another rate, in blocks, [n]."""
    resampler = Resampler(reader.sample_rate, rate, 1) if reader.sample_rate != rate else None
    for block in reader:
        mix = block.mean(axis=0, keepdims=True)
        yield (mix if resampler is None else resampler.process(mix))[0]
    if resampler is not None:
        yield resampler.flush()[0]


def _frames(samples: Array, first: int, last: int, card: Card) -> Array:
    """Frames of samples by number, [last - first, frame_length]."""
    views = np.lib.stride_tricks.sliding_window_view(samples, card.frame_length)
    return views[first * card.hop_length : (last - 1) * card.hop_length + 1 : card.hop_length]


def _distances(codes: Doubles, marks: Doubles) -> Doubles:
    """Return the distance from each code to the nearest mark, [frames]."""
    parts = (codes[first : first + AT_ONCE, None] for first in range(0, len(codes), AT_ONCE))
    return np.concatenate([np.sqrt(np.square(part - marks).sum(axis=2).min(axis=1)) for part in parts])


def _smoothed(codes: Doubles, frames: float) -> Doubles:
    """Return the median of each latent over about as many frames as given, [frames, n]."""
    side = round(frames / 2)
    padded = np.pad(codes, ((side, side), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1, axis=0)
    parts = [np.median(views[first : first + AT_ONCE], axis=2) for first in range(0, len(codes), AT_ONCE)]
    return np.concatenate(parts)


def _drawn(seconds: Doubles, times: Doubles, path: Doubles) -> Doubles:
    """Return where a path of straight lines is, [seconds, n]."""
    return np.stack([np.interp(seconds, times, latent) for latent in path.T], axis=1)


def outside(code: Doubles, card: Card) -> str:
    """Return the latents whose value lies outside their span, in words."""
    names = [
        latent.name
        for latent, value in zip(card.latents, code.tolist(), strict=True)
        if not latent.low <= value <= latent.high
    ]
    return ", ".join(names)


def _rounded(code: Doubles) -> list[float]:
    """Return a code rounded as cards hold codes."""
    return [round(value, 5) for value in code.tolist()]


def _name_of(path: Path, folder: Path) -> str:
    """Return how a preset in ``folder`` names a model."""
    shipped = {file.resolve(): name for name, file in shipped_models().items()}
    return shipped.get(path.resolve()) or Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
