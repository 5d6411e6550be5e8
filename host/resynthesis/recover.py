"""Recovers a sound as a preset: finds its code or a path of codes, and measures the error."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import Doubles
from ..audio.decoding import FOREIGN
from ..errors import UserError
from ..kinds.clip import KeySettings
from ..kinds.spectrum import GestureSettings
from ..kinds.table import kind_of
from ..model.card import Card, in_deviations
from ..model.encoder import Encoder, encoder_path
from ..model.model import Model
from ..model.pack import BY_DIGEST, digest_of
from ..preset.library import default_knobs
from ..preset.motions import MotionSettings
from ..preset.preset import LatentSettings, Preset
from ..preset.shipped import shipped_models
from ..signal import medoid
from .codes import (
    CodeTrack,
    Span,
    clip_of,
    distances,
    drawn,
    landmark_codes,
    listen,
    outside,
    pieces,
    simplified,
    smoothed,
)
from .reconstruction import Outputs, Reconstruction, again_of, kit_again
from .refinement import MARGIN, Search, SearchResult, SearchTarget, can_refine

SMOOTHED_SECONDS = 0.2  # of the median filter along a path: removes frame-to-frame jitter that noise causes
FIRST_KEY, LAST_KEY = 36, 127  # of a kit: 36 is General MIDI's bass drum 1
SOUNDS = {"wav", "flac", "ogg", "aif", "aiff", "mp3", *FOREIGN}  # suffixes read from a folder
FRAMES, AROUND = 64, 4  # frames that a search compares: evenly spread over a sound, and around a path point


@dataclass(frozen=True)
class Recovered:
    summary: str
    warnings: tuple[str, ...]


class RecoveryMethod(NamedTuple):
    """The encoder, or a search, which starts at the encoder's codes if it ``refines``."""

    name: str
    search: Search | None = None
    refines: bool = False


NETWORK = RecoveryMethod("network")


class _Code(NamedTuple):
    code: Doubles
    label: str | None
    found: SearchResult | None = None


def recover(
    sound: Path,
    model: Model,
    output: Path,
    *,
    method: RecoveryMethod = NETWORK,
    points: int | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Recovered:
    """Write a preset that rests at a sound's latent code.

    The encoder's code is that of the frame nearest to the median, in deviations. A search finds one code for all
    frames. Beside ``NAME.toml``, writes ``NAME.wav`` (the reconstruction), ``NAME.json`` (figures) and, if matplotlib
    is installed, ``NAME.png`` (spectrograms).

    Args:
        sound: mixed to mono. Clip models use one clip length of it, with the predicted label, or a folder as a kit, in
            order of name, from key 36.
        model: with its encoder beside it, unless the method needs none.
        output: ``.toml``; refers to the model by relative path, or by its shipped name.
        points: the most codes of a path that follows the sound, 2 or more; None for no path.
        progress: receives 0 to 1.

    Raises:
        UserError: as `codes.follow`; the model finds no code or cannot be searched; an output exists or cannot be
            written.
        Failure: a code is not finite, or an output cannot be written.
    """
    if output.suffix != ".toml":
        raise UserError(f"-o {output} must be a preset's name, such as {output.stem or 'preset'}.toml")
    outputs = Outputs.of(output, sound)
    outputs.check(overwrite)
    if reason := kind_of(model.card).finds_no_code:
        raise UserError(f"{model.path}: no sound can be recovered by a model of kind {model.card.kind!r}: {reason}")
    encoder, share = _encoder(model, method, path=points is not None), progress or (lambda done: None)
    if sound.is_dir() and kind_of(model.card).of_clips:
        return _kit(sound, model, outputs, method, encoder, overwrite, share)
    track = listen(sound, model.card, encoder, lambda done: share((0.2 if method.search else 0.8) * done))
    return _one(sound, track, model, outputs, method, points, overwrite, share)


def _one(
    sound: Path,
    track: CodeTrack,
    model: Model,
    outputs: Outputs,
    method: RecoveryMethod,
    points: int | None,
    overwrite: bool,
    share: Callable[[float], None],
) -> Recovered:
    card, output, scale = model.card, outputs.preset, in_deviations(model.card)

    def played(code: _Code) -> tuple[Preset, Reconstruction]:
        made = _preset_of(sound, model, output).model_copy(
            update={"latent": LatentSettings(values=_rounded(code.code))}
        )
        tables = dict(kind_of(card).tables(code.label, held=False)) | _gesture(track, code, model)
        made = made.model_copy(update=tables)
        return made, again_of(sound, track, made, model, output)

    rest = _rest(sound, track, model, method, lambda done: share(0.2 + 0.6 * done))
    preset, again = played(rest)
    own, by_network = _networks(track, rest, card), None
    if method.refines and own is not None:
        before = played(own)
        by_network = before[1].measures.log_mel_db
        if by_network < again.measures.log_mel_db:
            rest, (preset, again) = own, before
    lines = [track.taken or f"{len(track.codes)} of {track.found} frames in {track.length_seconds:.1f} s sound"]
    if card.landmarks and track.codes.shape[1] and track.clip is None:  # a clip has one code, reported below
        away = distances(track.codes * scale, landmark_codes(card) * scale)
        lines.append(f"half of their codes lie within {np.median(away):.2f} deviations of a training code")
    warnings = _doubts(sound, track, rest, card)
    if points is not None:
        path, fits, beyond = _path(sound, track, model, scale, points, method)
        preset = preset.model_copy(update={"motion": [path]})
        lines.append(fits)
        warnings += beyond
        again = again_of(sound, track, preset, model, output)
    entry = _entry(sound.name, rest, card, again, by_network)
    about = {"format": 1, "model": card.name, "model_sha256": model.sha256, "method": method.name}
    warnings += outputs.write(preset, [again], card, about | entry, overwrite)
    share(1.0)
    return Recovered(f"{output}: {'; '.join(lines)}\n{_measured(output, entry)}", tuple(warnings))


def _encoder(model: Model, method: RecoveryMethod, *, path: bool) -> Encoder | None:
    if method.search is not None and not method.refines and not encoder_path(model.path).exists():
        if path:
            raise UserError(
                f"{model.path} has no encoder, whose codes a path goes through; leave --path out, or put the encoder "
                "beside the model"
            )
        return None
    return Encoder(model)


def _rest(sound: Path, track: CodeTrack, model: Model, method: RecoveryMethod, share: Callable[[float], None]) -> _Code:
    card, own = model.card, _encoder_code(track, model.card)
    if method.search is None:
        assert own is not None
        return _Code(own, track.label)
    chosen = track.seconds[np.unique(np.linspace(0, len(track.seconds) - 1, FRAMES).astype(int))]
    [found] = method.search(model, [_sought(sound, track, card, chosen, own)], share)
    return _code_of(found, card)


def _encoder_code(track: CodeTrack, card: Card) -> Doubles | None:
    if not track.codes.shape[1]:
        return None
    own: Doubles = track.codes[medoid(track.codes * in_deviations(card))]
    return Span(card).into(own) if can_refine(card) else own


def _networks(track: CodeTrack, found: _Code, card: Card) -> _Code | None:
    own = _encoder_code(track, card)
    if own is None or found.found is None:
        return None
    return _Code(own, found.label, found.found._replace(code=own, after=found.found.before))


def _sought(
    sound: Path, track: CodeTrack, card: Card, seconds: Sequence[float] | Doubles, own: Doubles | None
) -> SearchTarget:
    label = None if track.label is None else card.labels.index(track.label)
    if track.clip is not None:
        return SearchTarget(track.clip[np.newaxis], own, label)
    return SearchTarget(pieces(sound, card, seconds, MARGIN * card.frame_length), own, label)


def _code_of(found: SearchResult, card: Card) -> _Code:
    return _Code(found.code, None if found.label is None else card.labels[found.label], found)


def _doubts(sound: Path, track: CodeTrack, code: _Code, card: Card) -> list[str]:
    lines = []
    brought = track.clip is not None and code.found is None and can_refine(card)
    if beyond := outside(track.codes[0] if brought else code.code, card):
        line = f"{sound} is unlike the training sounds: its code lies outside the span of {beyond}"
        lines.append(line + ("; the preset rests at the nearest code inside" if brought else ""))
    if code.found is not None and not code.found.settled:
        lines.append(f"{sound}: the search did not come to its end; this is the best code that it met")
    return lines


def _kit(
    folder: Path,
    model: Model,
    outputs: Outputs,
    method: RecoveryMethod,
    encoder: Encoder | None,
    overwrite: bool,
    share: Callable[[float], None],
) -> Recovered:
    card, output = model.card, outputs.preset
    sounds = sorted(path for path in folder.iterdir() if path.suffix[1:].casefold() in SOUNDS)
    if not 1 <= len(sounds) <= LAST_KEY - FIRST_KEY + 1:
        raise UserError(
            f"{folder} holds {len(sounds)} sounds; a kit has 1 to {LAST_KEY - FIRST_KEY + 1}, give a folder of so many"
        )
    tracks = [clip_of(sound, card, encoder) for sound in sounds]
    share(0.2)
    if method.search is None:
        codes = [_Code(own, track.label) for track in tracks if (own := _encoder_code(track, card)) is not None]
    else:
        placed = [_encoder_code(track, card) for track in tracks]
        asked = [_sought(sound, track, card, [], own) for sound, track, own in zip(sounds, tracks, placed, strict=True)]
        codes = [_code_of(found, card) for found in method.search(model, asked, lambda done: share(0.2 + 0.6 * done))]

    def played(codes: Sequence[_Code]) -> tuple[Preset, list[Reconstruction]]:
        keys = [
            KeySettings(key=FIRST_KEY + number, code=_rounded(code.code), label=code.label)
            for number, code in enumerate(codes)
        ]
        made = _preset_of(folder, model, output).model_copy(update={"keys": keys})
        return made, kit_again(tracks, made, model, output)

    preset, parts = played(codes)
    before: list[float | None] = [None] * len(codes)
    if method.refines:
        by_network = [_networks(track, code, card) or code for track, code in zip(tracks, codes, strict=True)]
        others = played(by_network)[1]
        before = [part.measures.log_mel_db for part in others]
        nearer = [
            other.measures.log_mel_db < part.measures.log_mel_db for other, part in zip(others, parts, strict=True)
        ]
        codes = [first if near else code for near, first, code in zip(nearer, by_network, codes, strict=True)]
        if any(nearer):
            preset, parts = played(codes)
    entries = [
        _entry(sound.name, code, card, part, first)
        for sound, code, part, first in zip(sounds, codes, parts, before, strict=True)
    ]
    lines, warnings = [], []
    for sound, track, code, key, entry in zip(sounds, tracks, codes, preset.keys, entries, strict=True):
        lines.append(f"{output}: key {key.key} has {sound.name}: {track.taken}; {_measured(output, entry, short=True)}")
        warnings += _doubts(sound, track, code, card)
    about = {"format": 1, "model": card.name, "model_sha256": model.sha256, "method": method.name}
    about["keys"] = [{"key": key.key} | entry for key, entry in zip(preset.keys, entries, strict=True)]
    warnings += outputs.write(preset, parts, card, about, overwrite)
    return Recovered("\n".join(lines), tuple(warnings))


def _preset_of(sound: Path, model: Model, output: Path) -> Preset:
    return Preset(
        format=1,
        model=_name_of(model.path, output.parent),
        description=f"{sound.name} as {model.card.name} hears it",
        model_sha256=model.sha256,
        cc=default_knobs(model.card),
    )


def _gesture(track: CodeTrack, code: _Code, model: Model) -> dict[str, GestureSettings]:
    """The encoder's code chooses: a search may end near similar spectra with other gestures."""
    if model.gestures is None:
        return {}
    settings = GestureSettings(codes=0.0)
    if model.card.landmarks:
        heard = _encoder_code(track, model.card)
        label, _ = _nearest(code if heard is None else _Code(heard, code.label), model.card)
        if label and label in {one.label for one in model.gestures.instruments}:
            settings = GestureSettings(codes=0.0, instrument=label)
    return {"gesture": settings}


def _path(
    sound: Path, track: CodeTrack, model: Model, scale: Doubles, points: int, method: RecoveryMethod
) -> tuple[MotionSettings, str, list[str]]:
    card = model.card
    if len(track.codes) < 2:
        raise UserError(f"{sound} has one frame that sounds, and a path needs two; leave --path out")
    smooth = smoothed(track.codes, SMOOTHED_SECONDS * card.sample_rate / card.hop_length)
    chosen = simplified(track.seconds, smooth * scale, points)
    error = drawn(track.seconds, track.seconds[chosen], smooth[chosen] * scale) - smooth * scale
    fits = f"a path of {len(chosen)} codes follows them within {np.sqrt(np.square(error).sum(1).mean()):.2f}"
    codes = smooth[chosen]
    if method.search is not None:
        near = [np.argsort(np.abs(np.arange(len(track.codes)) - middle))[:AROUND] for middle in chosen]
        frames = pieces(sound, card, track.seconds[np.concatenate(near)].tolist(), MARGIN * card.frame_length)
        parts = np.split(frames, np.cumsum([len(part) for part in near])[:-1])
        asked = [SearchTarget(part, code, None) for part, code in zip(parts, codes, strict=True)]
        codes = np.stack([found.code for found in method.search(model, asked)])
    times = [round(second, 6) for second in track.seconds[chosen].tolist()]
    own = {"start": "note"} if kind_of(card).decodes_notes else {}
    path = MotionSettings.model_validate({"path": [_rounded(code) for code in codes], "times": times} | own)
    beyond = sum(bool(outside(code, card)) for code in codes)
    warning = f"{beyond} of {len(chosen)} codes of the path lie outside the latents' spans, where playing keeps them"
    return path, fits, [warning] if beyond else []


def _entry(sound: str, code: _Code, card: Card, again: Reconstruction, by_network: float | None) -> dict[str, object]:
    entry: dict[str, object] = {"sound": sound, "code": _rounded(code.code), "label": code.label}
    entry |= {name: round(value, 6) for name, value in again.measures._asdict().items()}
    if card.landmarks:
        label, away = _nearest(code, card)
        entry["nearest"] = {"label": label, "deviations": round(away, 4)}
    if by_network is not None:
        entry["log_mel_db_by_network"] = round(by_network, 6)
    if code.found is not None:
        entry |= {"missed_by_network": code.found.before, "missed": code.found.after, "settled": code.found.settled}
    return entry


def _nearest(code: _Code, card: Card) -> tuple[str, float]:
    marks = [mark for mark in card.landmarks if mark.label == code.label] or card.landmarks
    away = np.sqrt(np.square((np.array([mark.latent for mark in marks]) - code.code) * in_deviations(card)).sum(1))
    return marks[int(away.argmin())].label, float(away.min())


def _measured(output: Path, entry: dict[str, object], *, short: bool = False) -> str:
    text = f"log-mel distance {entry['log_mel_db']:.1f} dB, spectrogram MSE {entry['spectrogram_mse']:.2g}, "
    text += f"SSIM {entry['ssim']:.3f}"
    nearest = entry.get("nearest")
    if isinstance(nearest, dict):
        text += f", {nearest['deviations']:.2f} deviations from training code {nearest['label']!r}"
    return text if short else f"{output.with_suffix('.json')}: {text}"


def _rounded(code: Doubles) -> list[float]:
    return [round(value, 5) for value in code.tolist()]


def _name_of(path: Path, folder: Path) -> str:
    if (digest := digest_of(path)) is not None:
        return f"{BY_DIGEST}{digest}"
    shipped = {file.resolve(): name for name, file in shipped_models().items()}
    return shipped.get(path.resolve()) or Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
