"""Model kinds: each kind's rules for cards, presets and keys."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from ..arrays import Array
from ..settings import Control, Fault, SettingsSection
from ..units import Range
from .card_fields import CardFields, DeclaredDomain

IMAGE = "image"  # the target and the key of [play] that stereo models alone follow


class FramePart(NamedTuple):
    """Successive numbers of a decoded frame, an array of ``shape``, its last axis fastest."""

    name: str
    shape: tuple[int, ...]
    meaning: str  # with unit and scale


class Keying(NamedTuple):
    holds: bool = False  # a note latches until its key is pressed again
    strikes: bool = False  # a note plays to its own end, regardless of key release
    chokes: Mapping[int, str] = MappingProxyType({})  # choke group by key; a key cuts its group's notes
    gains_db: Mapping[int, float] = MappingProxyType({})


def sequence_parts(card: CardFields) -> list[FramePart]:
    """Parts of a frame of several spectra, and of their loudness."""
    assert card.transform_length is not None
    shape = (card.spectra, card.transform_length // 2 + 1)
    magnitudes = (
        "|X[s, n]|, linear: transforms of transform_length samples under a Hann window, centred on sample "
        "s hop_length; they overlap-add to the sound"
    )
    parts = [FramePart("magnitudes", shape, magnitudes)]
    if card.envelope_points:
        loudness = f"root mean square of each {card.frame_length // card.envelope_points} samples, linear"
        parts.append(FramePart("loudness", (card.envelope_points,), loudness))
    return parts


PHASES = (
    "T = transform_length, H = hop_length, w = Hann window of T samples, g = 0.25645 T^2",
    "L = ln max(|X|, 1e-6 max|X|); slopes of it are central differences, sums of slopes are trapezoids",
    "spectra at the end below 3e-4 of the largest magnitude are silent and left out, if H is a multiple of a part",
    "first phases: in the loudest spectrum the slope from bin to bin is -g / (H T) dL/ds; from spectrum to spectrum "
    "the phase of bin n grows by H T / g dL/dn + 2 pi H n / T; pi n is added",
    "added(X) = overlap-add of irfft(X) w, over that of w^2; levelled(x): parts scaled to their loudness, by 12 dB at "
    "most, gains linear in dB between the middles of parts",
    "10 times: Y = transforms of levelled(added(|X| e^(i phase))); phase = arg(Y + 0.9 (Y - Y before))",
    "sound = levelled(added(|X| e^(i phase))), the loudness of both sides first averaged over 5 parts, and any factor "
    "where it is lowered",
)


class Kind:
    """Base class, one instance a kind; attributes are defaults."""

    name: ClassVar[str] = ""  # in cards
    engines: ClassVar[str] = ""  # package of its engine and frame codec; empty: its name among the engines
    moved_property: ClassVar[str] = "sound"  # for messages: the property that keys change in a model without chroma
    settings: ClassVar[type[SettingsSection]] = SettingsSection  # preset tables for this kind alone
    played: ClassVar[tuple[str, ...]] = ()  # [play] keys for this kind alone
    controls: ClassVar[Mapping[str, Control]] = {}  # parameters of its section, by target
    sound_key: ClassVar[tuple[str, str] | None] = None  # preset table and key of `sound`
    of_notes: ClassVar[Mapping[str, Control]] = {}  # controls read at note-on, which [[note]] can move
    decodes_notes: ClassVar[bool] = True  # each note-on decodes the note's own code
    replacement_hint: ClassVar[str] = ""  # for messages: its replacement for other kinds' [play] keys
    of_magnitudes: ClassVar[bool] = False  # magnitude frames have a meaningful squared error
    domains: ClassVar[tuple[str, ...]] = ()  # of timbrel's own that its frames may have; empty: any, also declared ones
    carries_state: ClassVar[bool] = False  # its decoder is recurrent: each step reads the state of the last
    enveloped: ClassVar[tuple[str, ...]] = ()  # domains that allow an envelope at the end of a frame
    most_envelope_points: ClassVar[int] = 256  # finer than hearing resolves in a frame of 0.1 s
    of_clips: ClassVar[bool] = False  # a frame is a whole clip; cards may set labels and transform_length
    attack_seconds: ClassVar[float | None] = None  # default and minimum; None: the usual one
    takes_no_sound: ClassVar[str] = ""  # why resynthesis refuses this kind; empty: it does not
    finds_no_code: ClassVar[str] = ""  # why code recovery refuses this kind; empty: it does not
    repeats: ClassVar[bool] = True  # a note has the same samples in any program that follows `formulas`
    not_sampled: ClassVar[str] = ""  # why samplers cannot play this kind; empty: they can

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(self.settings.model_fields)

    def check(self, card: CardFields) -> None:
        """Raise ValueError if a card contradicts its kind."""
        if self.domains and card.domain not in self.domains:
            *others, last = map(repr, self.domains)
            domains_text = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(
                f"domain {str(card.domain)!r} does not go with kind {self.name!r}, whose frames are {domains_text}"
            )
        if not self.carries_state and (card.state or card.scaling):
            raise ValueError(f"state and scaling do not go with kind {card.kind!r}, whose frames stand alone")
        if not self.of_clips and (card.transform_length or card.labels):
            raise ValueError(f"transform_length and labels do not go with kind {card.kind!r}; leave them out")
        if card.recordings and not (self.of_clips and card.transform_length):
            raise ValueError(
                f"recordings do not go with kind {card.kind!r} and domain {str(card.domain)!r}; leave them out"
            )
        if card.partials is not None and card.kind != "partials":
            raise ValueError(f"partials do not go with kind {card.kind!r}; leave them out")
        if card.envelope_points > self.most_envelope_points:
            raise ValueError(f"envelope_points {card.envelope_points} must not exceed {self.most_envelope_points}")
        if card.envelope_points and card.domain not in self.enveloped:
            raise ValueError(
                f"envelope_points do not go with kind {card.kind!r} and domain {str(card.domain)!r}; leave them out"
            )

    def targets(self, section: Any, card: CardFields) -> dict[str, Range]:
        """Modulation targets; ``section``, here and below, is the result of `select_section`."""
        return {target: (control.low, control.high) for target, control in self.controls.items()}

    def choices(self, card: CardFields) -> Mapping[str, Sequence[str]]:
        """Item names of targets that select by number, from 0."""
        return {}

    def faults(self, section: Any, play: Any, tuning: Any, card: CardFields) -> Iterator[Fault]:
        """Contradictions in a preset, or with the model; ``play`` and ``tuning`` are its tables."""
        yield from ()

    def select_section(self, sections: Any) -> Any:
        """The preset's table for this kind."""
        return getattr(sections, self.sections[0], None) if self.sections else None

    def sound(self, section: Any) -> str | None:
        """File name of the seed sound."""
        return None

    def sound_samples(self, card: CardFields) -> tuple[int, int]:
        """Minimum and maximum samples of the seed."""
        return 0, 0

    def ahead_seconds(self, section: Any, card: CardFields, tempo_bpm: float) -> float | None:
        """Lead of frames over their sound; parameters act after one to two leads. None: at once."""
        return None

    def keying(self, section: Any, play: Any) -> Keying:
        return Keying()

    def pitches(self, section: Any, tuned_pitches: Mapping[int, float]) -> Mapping[int, float]:
        """Pitches by playable key, 69.0 for 440 Hz; ``tuned_pitches``: the preset's tuning."""
        return tuned_pitches

    def no_image(self, play: Any, card: CardFields) -> str:
        """Return the reason why ``play.image`` has no effect, with the next step; empty if it has one."""
        has_image = IMAGE in self.played and bool(play.image_bands or card.image)
        return "" if has_image else f"model {card.name!r} has no stereo image; remove it"

    def label(self, section: Any) -> str | None:
        return None

    def tables(self, label: str | None, sustained: bool) -> Mapping[str, Any]:
        """Preset tables that select a label, and sustain notes if ``sustained``."""
        return {}

    def frames(self, card: CardFields) -> list[tuple[str, str]]:
        """Description of frames in (label, text) pairs."""
        ms_per_sample, domain = 1000 / card.sample_rate, card.domain
        numbers = [("numbers", f"{domain.width}: {domain.meaning}")] if isinstance(domain, DeclaredDomain) else []
        return [
            ("kind", f"{card.kind} of {card.domain} frames, {card.sample_rate} Hz"),
            (
                "frame",
                f"{card.frame_length} samples ({card.frame_length * ms_per_sample:.0f} ms), {card.window} window",
            ),
            ("hop", f"{card.hop_length} samples ({card.hop_length * ms_per_sample:.1f} ms)"),
            *numbers,
        ]

    def power_spectra(self, card: CardFields, frames: Array) -> Array | None:
        """Power at equal steps from 0 Hz to half the rate, [frames, bins], of frames of a `DeclaredDomain`.

        Maps and names of knobs are made of it; None: it is unknown.
        """
        return None

    def frame_parts(self, card: CardFields) -> list[FramePart]:
        """Parts of a frame, for programs: they have ``card.frame_width`` numbers together."""
        domain = card.domain
        meaning = domain.meaning if isinstance(domain, DeclaredDomain) else f"numbers of domain {domain}"
        return [FramePart("frame", (card.frame_width,), meaning)]

    def formulas(self, card: CardFields) -> list[str]:
        """Steps from a frame to the sound of a note, for programs."""
        return []

    def plain_tables(self, card: CardFields) -> dict[str, dict[str, Any]]:
        """Preset tables of a note by the formulas alone."""
        return {"play": {IMAGE: 0.0}} if IMAGE in self.played and card.image else {}

    def hop_through(self, card: CardFields) -> int:
        return card.hop_length

    def window_through(self, card: CardFields) -> str:
        return card.window
