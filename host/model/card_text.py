"""Formats a card for `timbrel info`."""

import textwrap

from ..errors import printable
from ..kinds.card_fields import NormalPrior, UniformPrior
from ..kinds.table import kind_of
from ..units import PITCH_CLASSES, note_name
from .card import Card
from .gesture import Gestures
from .map import CodeMap

COLUMNS = 100  # of a line of labels


def describe(card: Card, size_bytes: int, gestures: Gestures | None = None, plane: CodeMap | None = None) -> str:
    """Lines of a title and a text each, for a card, its gestures and map; then a line for each latent."""
    kind = kind_of(card)
    chroma_text = f"none: keys move the {kind.moved_property}"
    if card.chroma is not None:
        trained_text = (
            "all twelve" if len(card.chroma.trained) == 12 else " ".join(PITCH_CLASSES[p] for p in card.chroma.trained)
        )
        chroma_text = f"{trained_text} pitch classes, sounding in octave {card.chroma.octave}"
    if (partials := card.partials) is not None:
        lowest_and_highest = [note_name(round(note)) for note in (partials.low, partials.high)]
        chroma_text = f"none: keys choose the pitch; recorded from {lowest_and_highest[0]} to {lowest_and_highest[1]}"
    match card.prior:
        case UniformPrior(uniform=(low, high)):
            prior_text = f"uniform on [{low:g}, {high:g}]"
        case NormalPrior(normal=(mean, deviation)):
            prior_text = f"normal, mean {mean:g}, deviation {deviation:g}"
        case None:
            prior_text = "none"
    training = card.training
    validation_text = ", ".join(f"{name} {value:.4g}" for name, value in training.validation.items())
    titled_lines = [
        ("name", card.name),
        ("what", card.description),
        ("licence", card.license + (f" ({card.credits})" if card.credits else "")),
        ("made", f"{card.created}, recipe {training.recipe}, {training.steps} steps on {training.hardware}"),
        ("corpus", f"{training.corpus}: {training.clips} clips, {training.seconds:.0f} s"),
        ("validation", validation_text or "none"),
        *kind.frames(card),
        ("chroma", chroma_text),
        ("prior", prior_text),
        ("loudness", f"{card.loudness_lufs:.1f} LUFS at full velocity"),
        ("parity", f"{card.parity.relative:.1e} of the output's range, batches of {card.parity.batch_sizes}"),
        ("landmarks", _landmarks_line(card)),
        *([("macros", ", ".join(direction.name for direction in card.directions))] if card.directions else []),
        *([("gestures", gestures.summary()), *_instrument_lines(gestures)] if gestures else []),
        ("map", _map_line(card, plane)),
        ("file", f"{size_bytes / 1e6:.1f} MB"),
    ]
    titled_text = "\n".join(f"{name:<11}{printable(value)}" for name, value in titled_lines)
    latent_text = "\n".join(
        f"  {index:>2}  {printable(latent.name):<12}{latent.low:8.3f} to {latent.high:7.3f}   "
        f"default {latent.default:7.3f}{printable(latent.remark and f'   {latent.remark}')}"
        for index, latent in enumerate(card.latents)
    )
    return f"{titled_text}\nlatents\n{latent_text}"


def _instrument_lines(gestures: Gestures) -> list[tuple[str, str]]:
    """Labels of all instruments, in titled lines of limited length."""
    labels = sorted(instrument.label for instrument in gestures.instruments if instrument.label)
    return [
        ("" if line_index else "of", line) for line_index, line in enumerate(textwrap.wrap(", ".join(labels), COLUMNS))
    ]


def _map_line(card: Card, plane: CodeMap | None) -> str:
    if plane is None:
        return "made of the landmarks when it is shown" if card.landmarks else "none"
    return plane.summary()


def _landmarks_line(card: Card) -> str:
    """Number of landmarks, and the label of the first."""
    count = len(card.landmarks)
    if not count:
        return "none"
    first_label = card.landmarks[0].label
    return f"{count} {'code' if count == 1 else 'codes'}{f', such as that of {first_label!r}' if first_label else ''}"
