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
from ..model.image import measured_image, rounded_bands
from ..model.model import Model
from ..model.pack import BY_DIGEST, digest_of
from ..preset.library import default_knobs
from ..preset.motions import MotionSettings
from ..preset.preset import LatentSettings, PlaySettings, Preset
from ..preset.shipped import shipped_models
from ..signal import medoid
from .codes import (
    CodeTrack,
    Span,
    clip_of,
    distances,
    interpolate_path,
    landmark_codes,
    latents_outside,
    listen,
    pieces,
    sides_of,
    simplified,
    smoothed,
)
from .reconstruction import LONGEST_SECONDS, Outputs, Reconstruction, reconstruct, reconstruct_kit, rendered_span
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
    search_result: SearchResult | None = None


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
    outputs = Outputs.beside_preset(output, sound)
    outputs.check(overwrite)
    if reason := kind_of(model.card).finds_no_code:
        raise UserError(f"{model.path}: no sound can be recovered by a model of kind {model.card.kind!r}: {reason}")
    encoder, report_share = _encoder(model, method, path=points is not None), progress or (lambda fraction: None)
    if sound.is_dir() and kind_of(model.card).of_clips:
        return _recover_kit(sound, model, outputs, method, encoder, overwrite, report_share)
    track = listen(
        sound, model.card, encoder, lambda fraction: report_share((0.2 if method.search else 0.8) * fraction)
    )
    return _recover_sound(sound, track, model, outputs, method, points, overwrite, report_share)


def _recover_sound(
    sound: Path,
    track: CodeTrack,
    model: Model,
    outputs: Outputs,
    method: RecoveryMethod,
    points: int | None,
    overwrite: bool,
    report_share: Callable[[float], None],
) -> Recovered:
    """Recover one sound: its resting code or a path, rendered, compared and written."""
    card, output, latent_scales = model.card, outputs.preset, in_deviations(model.card)
    play_table = _image(sound, track, card)

    def render_code(code: _Code, motion: Sequence[MotionSettings] = ()) -> tuple[Preset, Reconstruction]:
        """Return the preset of a code with the gesture that comes nearest, and its reconstruction."""
        preset_tables = dict(kind_of(card).tables(code.label, sustained=False)) | play_table
        preset_tables["latent"] = LatentSettings(values=_rounded(code.code))
        if motion:
            preset_tables["motion"] = list(motion)
        presets = [
            _preset_of(sound, model, output).model_copy(update=preset_tables | gesture_table)
            for gesture_table in _gestures(track, code, model)
        ]
        renders = [(preset, reconstruct(sound, track, preset, model, output)) for preset in presets]
        return min(renders, key=lambda render: render[1].measures.log_mel_db)

    resting_code = _resting_code(sound, track, model, method, lambda fraction: report_share(0.2 + 0.6 * fraction))
    preset, reconstruction = render_code(resting_code)
    network_code, network_db = _network_code(track, resting_code, card), None
    if method.refines and network_code is not None:
        network_render = render_code(network_code)
        network_db = network_render[1].measures.log_mel_db
        if network_db < reconstruction.measures.log_mel_db:
            resting_code, (preset, reconstruction) = network_code, network_render
    summary_lines = [
        track.excerpt or f"{len(track.codes)} of {track.frame_count} frames in {track.length_seconds:.1f} s sound"
    ]
    if play_table:
        summary_lines.append("the preset has its stereo image")
    if card.landmarks and track.codes.shape[1] and track.clip is None:  # a clip has one code, reported below
        training_distances = distances(track.codes * latent_scales, landmark_codes(card) * latent_scales)
        summary_lines.append(
            f"half of their codes lie within {np.median(training_distances):.2f} deviations of a training code"
        )
    warnings = _code_warnings(sound, track, resting_code, card)
    if track.clip is None and rendered_span(track, card)[1] < track.seconds[-1]:
        warnings.append(
            f"{outputs.sound} and the figures are of {LONGEST_SECONDS:.0f} s of the sound's "
            f"{track.length_seconds:.1f} s"
        )
    if points is not None:
        motion_settings, path_summary, path_warnings = _path(sound, track, model, latent_scales, points, method)
        preset, reconstruction = render_code(resting_code, [motion_settings])
        summary_lines.append(path_summary)
        warnings += path_warnings
    report_entry = _entry(sound.name, resting_code, card, reconstruction, network_db)
    report = {"format": 1, "model": card.name, "model_sha256": model.sha256, "method": method.name}
    warnings += outputs.write(preset, [reconstruction], card, report | report_entry, overwrite)
    report_share(1.0)
    return Recovered(f"{output}: {'; '.join(summary_lines)}\n{_measures_text(output, report_entry)}", tuple(warnings))


def _encoder(model: Model, method: RecoveryMethod, *, path: bool) -> Encoder | None:
    """Open the model's encoder; None where a search needs none and the model has none."""
    if method.search is not None and not method.refines and not encoder_path(model.path).exists():
        if path:
            raise UserError(
                f"{model.path} has no encoder, whose codes a path goes through; leave --path out, or put the encoder "
                "beside the model"
            )
        return None
    return Encoder(model)


def _resting_code(
    sound: Path, track: CodeTrack, model: Model, method: RecoveryMethod, report_share: Callable[[float], None]
) -> _Code:
    """The code of a whole sound, by the encoder or a search."""
    card, encoder_code = model.card, _encoder_code(track, model.card)
    if method.search is None:
        assert encoder_code is not None
        return _Code(encoder_code, track.label)
    frame_seconds = track.seconds[np.unique(np.linspace(0, len(track.seconds) - 1, FRAMES).astype(int))]
    [search_result] = method.search(
        model, [_search_target(sound, track, card, frame_seconds, encoder_code)], report_share
    )
    return _code_of(search_result, card)


def _encoder_code(track: CodeTrack, card: Card) -> Doubles | None:
    """Medoid of the encoder's codes; None without an encoder."""
    if not track.codes.shape[1]:
        return None
    code: Doubles = track.codes[medoid(track.codes * in_deviations(card))]
    return Span(card).into(code) if can_refine(card) else code


def _network_code(track: CodeTrack, searched_code: _Code, card: Card) -> _Code | None:
    """The encoder's code beside a searched one; None without encoder or search."""
    code = _encoder_code(track, card)
    if code is None or searched_code.search_result is None:
        return None
    return _Code(
        code,
        searched_code.label,
        searched_code.search_result._replace(code=code, missed=searched_code.search_result.encoder_missed),
    )


def _search_target(
    sound: Path, track: CodeTrack, card: Card, seconds: Sequence[float] | Doubles, code: Doubles | None
) -> SearchTarget:
    """The request to search one code for frames around these seconds, or for the clip."""
    label = None if track.label is None else card.labels.index(track.label)
    if track.clip is not None:
        return SearchTarget(track.clip[np.newaxis], code, label)
    return SearchTarget(pieces(sound, card, seconds, MARGIN * card.frame_length), code, label)


def _code_of(search_result: SearchResult, card: Card) -> _Code:
    """A search result with its label's name."""
    return _Code(
        search_result.code, None if search_result.label is None else card.labels[search_result.label], search_result
    )


def _code_warnings(sound: Path, track: CodeTrack, code: _Code, card: Card) -> list[str]:
    warnings = []
    is_clamped = track.clip is not None and code.search_result is None and can_refine(card)
    if latent_names := latents_outside(track.codes[0] if is_clamped else code.code, card):
        warning = f"{sound} is unlike the training sounds: its code lies outside the span of {latent_names}"
        warnings.append(warning + ("; the preset rests at the nearest code inside" if is_clamped else ""))
    if code.search_result is not None and not code.search_result.settled:
        warnings.append(f"{sound}: the search did not come to its end; this is the best code that it met")
    return warnings


def _recover_kit(
    folder: Path,
    model: Model,
    outputs: Outputs,
    method: RecoveryMethod,
    encoder: Encoder | None,
    overwrite: bool,
    report_share: Callable[[float], None],
) -> Recovered:
    """Recover a folder's sounds as a kit, one key each."""
    card, output = model.card, outputs.preset
    paths = sorted(
        path for path in folder.iterdir() if path.suffix[1:].casefold() in SOUNDS and not path.name.startswith(".")
    )
    if not 1 <= len(paths) <= LAST_KEY - FIRST_KEY + 1:
        raise UserError(
            f"{folder} holds {len(paths)} sounds; a kit has 1 to {LAST_KEY - FIRST_KEY + 1}, give a folder of so many"
        )
    sounds, tracks, refusals = list[Path](), list[CodeTrack](), list[str]()
    for path in paths:
        try:
            tracks.append(clip_of(path, card, encoder))
            sounds.append(path)
        except UserError as error:
            refusals += error.args
    if not sounds:
        raise UserError(*refusals)
    report_share(0.2)
    if method.search is None:
        codes = [
            _Code(medoid_code, track.label)
            for track in tracks
            if (medoid_code := _encoder_code(track, card)) is not None
        ]
    else:
        encoder_codes = [_encoder_code(track, card) for track in tracks]
        targets = [
            _search_target(sound, track, card, [], code)
            for sound, track, code in zip(sounds, tracks, encoder_codes, strict=True)
        ]
        codes = [
            _code_of(search_result, card)
            for search_result in method.search(model, targets, lambda fraction: report_share(0.2 + 0.6 * fraction))
        ]

    def render_kit(codes: Sequence[_Code]) -> tuple[Preset, list[Reconstruction]]:
        """Return the preset of a kit's codes, and a reconstruction for each."""
        kit_keys = [
            KeySettings(key=FIRST_KEY + code_index, code=_rounded(code.code), label=code.label)
            for code_index, code in enumerate(codes)
        ]
        kit_preset = _preset_of(folder, model, output).model_copy(update={"keys": kit_keys})
        return kit_preset, reconstruct_kit(tracks, kit_preset, model, output)

    preset, reconstructions = render_kit(codes)
    network_dbs: list[float | None] = [None] * len(codes)
    if method.refines:
        network_codes = [_network_code(track, code, card) or code for track, code in zip(tracks, codes, strict=True)]
        network_reconstructions = render_kit(network_codes)[1]
        network_dbs = [reconstruction.measures.log_mel_db for reconstruction in network_reconstructions]
        network_is_nearer = [
            network_reconstruction.measures.log_mel_db < reconstruction.measures.log_mel_db
            for network_reconstruction, reconstruction in zip(network_reconstructions, reconstructions, strict=True)
        ]
        codes = [
            network_code if is_nearer else code
            for is_nearer, network_code, code in zip(network_is_nearer, network_codes, codes, strict=True)
        ]
        if any(network_is_nearer):
            preset, reconstructions = render_kit(codes)
    report_entries = [
        _entry(sound.name, code, card, reconstruction, network_db)
        for sound, code, reconstruction, network_db in zip(sounds, codes, reconstructions, network_dbs, strict=True)
    ]
    summary_lines, warnings = [], [f"left out: {refusal}" for refusal in refusals]
    for sound, track, code, kit_key, report_entry in zip(
        sounds, tracks, codes, preset.keys, report_entries, strict=True
    ):
        summary_lines.append(
            f"{output}: key {kit_key.key} has {sound.name}: {track.excerpt}; "
            f"{_measures_text(output, report_entry, short=True)}"
        )
        warnings += _code_warnings(sound, track, code, card)
    report = {"format": 1, "model": card.name, "model_sha256": model.sha256, "method": method.name}
    report["keys"] = [
        {"key": kit_key.key} | report_entry for kit_key, report_entry in zip(preset.keys, report_entries, strict=True)
    ]
    warnings += outputs.write(preset, reconstructions, card, report, overwrite)
    return Recovered("\n".join(summary_lines), tuple(warnings))


def _preset_of(sound: Path, model: Model, output: Path) -> Preset:
    return Preset(
        format=1,
        model=_name_of(model.path, output.parent),
        description=f"{sound.name} as {model.card.name} hears it",
        model_sha256=model.sha256,
        cc=default_knobs(model.card),
    )


def _image(sound: Path, track: CodeTrack, card: Card) -> dict[str, PlaySettings]:
    """The [play] table with a sound's stereo image, if it has one and the model's kind plays it."""
    if "image_bands" not in kind_of(card).played:
        return {}
    sides = sides_of(sound, card, *rendered_span(track, card))
    if sides is None:
        return {}
    return {"play": PlaySettings(image_bands=rounded_bands(measured_image(sides, card.sample_rate)))}


def _gestures(track: CodeTrack, code: _Code, model: Model) -> list[dict[str, GestureSettings]]:
    """Tables with the loudness of recorded notes and without: a sustained sound may be near a struck instrument's code.

    The encoder's code chooses the instrument: a search may end near similar spectra with other gestures.
    """
    if model.gestures is None:
        return [{}]
    gesture_settings = GestureSettings(codes=0.0)
    if model.card.landmarks:
        encoder_code = _encoder_code(track, model.card)
        nearest_label, _ = _nearest(code if encoder_code is None else _Code(encoder_code, code.label), model.card)
        if nearest_label and nearest_label in {instrument.label for instrument in model.gestures.instruments}:
            gesture_settings = GestureSettings(codes=0.0, instrument=nearest_label)
    return [{"gesture": gesture_settings}, {"gesture": gesture_settings.model_copy(update={"loudness": 0.0})}]


def _path(
    sound: Path, track: CodeTrack, model: Model, latent_scales: Doubles, points: int, method: RecoveryMethod
) -> tuple[MotionSettings, str, list[str]]:
    """Settings of a path through a sound's codes, its summary, and warnings."""
    card = model.card
    if len(track.codes) < 2:
        raise UserError(f"{sound} has one frame that sounds, and a path needs two; leave --path out")
    smooth_codes = smoothed(track.codes, SMOOTHED_SECONDS * card.sample_rate / card.hop_length)
    vertex_frames = simplified(track.seconds, smooth_codes * latent_scales, points)
    path_errors = (
        interpolate_path(track.seconds, track.seconds[vertex_frames], smooth_codes[vertex_frames] * latent_scales)
        - smooth_codes * latent_scales
    )
    summary = (
        f"a path of {len(vertex_frames)} codes follows them within {np.sqrt(np.square(path_errors).sum(1).mean()):.2f}"
    )
    codes = smooth_codes[vertex_frames]
    if method.search is not None:
        neighbour_frames = [
            np.argsort(np.abs(np.arange(len(track.codes)) - vertex_frame))[:AROUND] for vertex_frame in vertex_frames
        ]
        search_frames = pieces(
            sound, card, track.seconds[np.concatenate(neighbour_frames)].tolist(), MARGIN * card.frame_length
        )
        frame_groups = np.split(
            search_frames, np.cumsum([len(frame_indices) for frame_indices in neighbour_frames])[:-1]
        )
        targets = [SearchTarget(group, code, None) for group, code in zip(frame_groups, codes, strict=True)]
        codes = np.stack([search_result.code for search_result in method.search(model, targets)])
    start_seconds = rendered_span(track, card)[0]
    times = [round(seconds - start_seconds, 6) for seconds in track.seconds[vertex_frames].tolist()]
    start_setting = {"start": "note"} if kind_of(card).decodes_notes else {}
    motion_settings = MotionSettings.model_validate(
        {"path": [_rounded(code) for code in codes], "times": times} | start_setting
    )
    outside_count = sum(bool(latents_outside(code, card)) for code in codes)
    warning = (
        f"{outside_count} of {len(vertex_frames)} codes of the path lie outside the latents' spans, "
        "where playing keeps them"
    )
    return motion_settings, summary, [warning] if outside_count else []


def _entry(
    sound: str, code: _Code, card: Card, reconstruction: Reconstruction, network_db: float | None
) -> dict[str, object]:
    """A sound's entry in the JSON report."""
    entry: dict[str, object] = {"sound": sound, "code": _rounded(code.code), "label": code.label}
    entry |= {measure: round(figure, 6) for measure, figure in reconstruction.measures._asdict().items()}
    if card.landmarks:
        label, deviations = _nearest(code, card)
        entry["nearest"] = {"label": label, "deviations": round(deviations, 4)}
    if network_db is not None:
        entry["log_mel_db_by_network"] = round(network_db, 6)
    if code.search_result is not None:
        entry |= {
            "missed_by_network": code.search_result.encoder_missed,
            "missed": code.search_result.missed,
            "settled": code.search_result.settled,
        }
    return entry


def _nearest(code: _Code, card: Card) -> tuple[str, float]:
    """Label of the nearest training code, and its distance in deviations."""
    candidate_marks = [mark for mark in card.landmarks if mark.label == code.label] or card.landmarks
    deviations = np.sqrt(
        np.square((np.array([mark.latent for mark in candidate_marks]) - code.code) * in_deviations(card)).sum(1)
    )
    return candidate_marks[int(deviations.argmin())].label, float(deviations.min())


def _measures_text(output: Path, report_entry: dict[str, object], *, short: bool = False) -> str:
    text = (
        f"log-mel distance {report_entry['log_mel_db']:.1f} dB, spectrogram MSE {report_entry['spectrogram_mse']:.2g}, "
    )
    text += f"SSIM {report_entry['ssim']:.3f}"
    nearest_entry = report_entry.get("nearest")
    if isinstance(nearest_entry, dict):
        text += f", {nearest_entry['deviations']:.2f} deviations from training code {nearest_entry['label']!r}"
    return text if short else f"{output.with_suffix('.json')}: {text}"


def _rounded(code: Doubles) -> list[float]:
    """Round a code for presets and reports."""
    return [round(latent_value, 5) for latent_value in code.tolist()]


def _name_of(model_path: Path, folder: Path) -> str:
    """The name by which a preset in ``folder`` refers to a model."""
    if (digest := digest_of(model_path)) is not None:
        return f"{BY_DIGEST}{digest}"
    shipped_names = {file.resolve(): name for name, file in shipped_models().items()}
    return (
        shipped_names.get(model_path.resolve())
        or Path(os.path.relpath(model_path.resolve(), folder.resolve())).as_posix()
    )
