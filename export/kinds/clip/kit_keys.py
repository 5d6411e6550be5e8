"""Drum kit mapping: assigns a clip model's sounds to keys, drums to their General MIDI keys."""

import re
from collections.abc import Sequence

import numpy as np

from ....host.contract.card import Card, UniformPrior, in_deviations
from ....host.kinds.clip.general_midi_drums import DRUMS
from ....host.kinds.clip.kind import KeySettings

FIRST_KEY = 36  # General MIDI's bass drum
DRAWN_KEYS = 10  # of a model that has learned no codes of recordings, one per finger
KEYS = (*range(FIRST_KEY, 128), *range(FIRST_KEY - 1, -1, -1))  # free keys, in order of assignment
HATS = {42, 44, 46}  # closed, pedal and open hats choke each other
NAMED = {name.casefold(): key for key, name in DRUMS.items()}

# Synonyms in labels; two-letter ones are sound names of the TR-808 and TR-909.
_MEANT = {
    **dict.fromkeys(("bd", "kik", "bassdrum"), "kick"),
    **dict.fromkeys(("sd", "sn", "snr"), "snare"),
    **dict.fromkeys(("rs", "rimshot", "sidestick"), "rim"),
    **dict.fromkeys(("cp", "handclap"), "clap"),
    **dict.fromkeys(("hh", "hihat"), "hat"),
    **dict.fromkeys(("ch", "chh", "hhc", "closedhat", "clhat"), "closed hat"),
    **dict.fromkeys(("oh", "ohh", "hho", "openhat", "ophat"), "open hat"),
    **dict.fromkeys(("ph", "phh", "hhp", "foot"), "pedal hat"),
    **dict.fromkeys(("cy", "cr", "cymbal"), "crash"),
    **dict.fromkeys(("rd", "rc"), "ride"),
    **dict.fromkeys(("tamb", "tamborine"), "tambourine"),
    **dict.fromkeys(("maraca", "ma"), "shaker"),
    **dict.fromkeys(("clave", "cl"), "claves"),
    **{"cb": "cowbell", "chinese": "china", "woodblock": "wood block", "lo": "low", "hi": "high"},
    **{"lt": "low tom", "mt": "mid tom", "ht": "high tom", "lc": "low conga", "mc": "mid conga", "hc": "high conga"},
}
# Drums and their keys; the first free one is assigned. A label matches a drum if it contains all its words; the match
# with the most words wins, then the first.
_DRUMS: Sequence[tuple[str, tuple[int, ...]]] = (
    ("kick", (36, 35)),
    ("bass drum", (36, 35)),
    ("snare", (38, 40)),
    ("side stick", (37,)),
    ("cross stick", (37,)),
    ("rim", (37,)),
    ("clap", (39,)),
    ("hat", (42, 44)),
    ("closed hat", (42, 44)),
    ("pedal hat", (44, 42)),
    ("open hat", (46,)),
    ("ride", (51, 59)),
    ("ride bell", (53,)),
    ("splash", (55,)),
    ("china", (52,)),
    ("crash", (49, 57)),
    ("tom", (45, 47, 50, 48, 43, 41)),
    ("floor tom", (41, 43)),
    ("low tom", (45, 43, 41)),
    ("mid tom", (47, 48)),
    ("high tom", (50, 48)),
    ("low mid tom", (47,)),
    ("high mid tom", (48,)),
    ("tambourine", (54,)),
    ("cowbell", (56,)),
    ("cow bell", (56,)),
    ("vibraslap", (58,)),
    ("bongo", (60, 61)),
    ("low bongo", (61,)),
    ("conga", (63, 62, 64)),
    ("low conga", (64,)),
    ("high conga", (62,)),
    ("timbale", (65, 66)),
    ("low timbale", (66,)),
    ("agogo", (67, 68)),
    ("low agogo", (68,)),
    ("cabasa", (69,)),
    ("shaker", (70, 69)),
    ("whistle", (71, 72)),
    ("guiro", (73, 74)),
    ("claves", (75,)),
    ("wood block", (76, 77)),
    ("low wood block", (77,)),
    ("cuica", (78, 79)),
    ("triangle", (81, 80)),
)
_WORDS = {word for name, _ in _DRUMS for word in name.split()}


def kit(card: Card) -> list[KeySettings]:
    """Return ascending keys: one per label, or one per recording; at most 128.

    Of more recordings, and of drawn codes ten, those far from each other get keys: first the landmark nearest to the
    default, then each time the farthest from chosen ones.
    """
    if not card.labels and isinstance(card.prior, UniformPrior):
        return [
            KeySettings(key=FIRST_KEY + place, code=list(card.landmarks[mark].latent))
            for place, mark in enumerate(_far_apart(card, DRAWN_KEYS))
        ]
    names = card.labels or [card.landmarks[mark].label for mark in sorted(_far_apart(card, len(KEYS)))]
    placed = sorted(label_keys(names).items(), key=lambda entry: entry[1])
    choking = HATS & {key for _, key in placed}
    hats = {"choke": "hats"} if len(choking) > 1 else {}
    return [
        KeySettings.model_validate({"key": key, "label": label, **(hats if key in HATS else {})})
        for label, key in placed
    ]


def _far_apart(card: Card, count: int) -> list[int]:
    """Return indices of landmarks, at most ``count``."""
    scale = in_deviations(card)
    codes = np.array([mark.latent for mark in card.landmarks]) * scale
    middle = np.array([latent.default for latent in card.latents]) * scale
    chosen = [int(np.square(codes - middle).sum(1).argmin())]
    nearest = np.full(len(codes), np.inf)
    while len(chosen) < min(count, len(codes)):
        nearest = np.minimum(nearest, np.square(codes - codes[chosen[-1]]).sum(1))
        nearest[chosen[-1]] = -1.0  # also of equal codes each has its turn
        chosen.append(int(nearest.argmax()))
    return chosen


def label_keys(labels: Sequence[str]) -> dict[str, int]:
    """Return each label's key: its drum's in General MIDI, or the next free one upward from the bass drum's.

    Drums with more words choose first: ``open hat`` before ``hat``.
    """
    found: dict[str, int] = {}
    drums = {label: _drum(label) for label in labels}
    for label in sorted(labels, key=lambda label: -drums[label][0]):
        free = [key for key in drums[label][1] if key not in found.values()]
        found |= {label: free[0]} if free else {}
    for label in labels:
        free = [key for key in KEYS if key not in found.values()] if label not in found else []
        found |= {label: free[0]} if free else {}
    return found


def key_table(keys: Sequence[KeySettings], card: Card) -> str:
    names = {tuple(mark.latent): mark.label for mark in card.landmarks}
    rows = [f"  {entry.key:>3}  {entry.label or names[tuple(entry.code or ())]}" for entry in keys]
    if len(keys) == len(KEYS) and (left := (len(card.labels) or card.training.clips) - len(keys)) > 0:
        chosen = "labels" if card.labels else "sounds; knobs reach them, and those farthest apart have keys"
        rows.append(f"  MIDI has 128 keys, and none for {left} more {chosen}")
    return "\n".join(["keys", *rows])


def _drum(label: str) -> tuple[int, tuple[int, ...]]:
    """Exact General MIDI names count one word more."""
    if (key := NAMED.get(" ".join(label.split()).casefold())) is not None:
        return len(label.split()) + 1, (key,)
    # Split words at non-letters, and between lower and upper case: "OpenHat-02" has two.
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    said = {word.casefold() for word in re.findall(r"[^\W\d_]+", spaced)}
    words = {part for word in said for part in _meant(word).split()}
    known = [(len(name.split()), keys) for name, keys in _DRUMS if words.issuperset(name.split())]
    return max(known, key=lambda drum: drum[0], default=(0, ()))


def _meant(word: str) -> str:
    single = word.removesuffix("s")
    return _MEANT.get(word) or (single if single in _WORDS and word not in _WORDS else _MEANT.get(single, word))
