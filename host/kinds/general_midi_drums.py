"""General MIDI level 1 percussion: MIDI keys by drum name, and by file names of hits."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import nearest

DRUMS = dict(
    enumerate(
        (
            "Acoustic Bass Drum",
            "Bass Drum 1",
            "Side Stick",
            "Acoustic Snare",
            "Hand Clap",
            "Electric Snare",
            "Low Floor Tom",
            "Closed Hi-Hat",
            "High Floor Tom",
            "Pedal Hi-Hat",
            "Low Tom",
            "Open Hi-Hat",
            "Low-Mid Tom",
            "Hi-Mid Tom",
            "Crash Cymbal 1",
            "High Tom",
            "Ride Cymbal 1",
            "Chinese Cymbal",
            "Ride Bell",
            "Tambourine",
            "Splash Cymbal",
            "Cowbell",
            "Crash Cymbal 2",
            "Vibraslap",
            "Ride Cymbal 2",
            "Hi Bongo",
            "Low Bongo",
            "Mute Hi Conga",
            "Open Hi Conga",
            "Low Conga",
            "High Timbale",
            "Low Timbale",
            "High Agogo",
            "Low Agogo",
            "Cabasa",
            "Maracas",
            "Short Whistle",
            "Long Whistle",
            "Short Guiro",
            "Long Guiro",
            "Claves",
            "Hi Wood Block",
            "Low Wood Block",
            "Mute Cuica",
            "Open Cuica",
            "Mute Triangle",
            "Open Triangle",
        ),
        start=35,
    )
)


def drum_key(name: str) -> int:
    """MIDI key of a drum, ignoring case; ValueError if unknown."""
    keys_by_drum = {drum.casefold(): key for key, drum in DRUMS.items()}
    key = keys_by_drum.get(" ".join(name.split()).casefold())
    if key is not None:
        return key
    if name.strip().isdecimal():
        raise ValueError(f"a number has no quotes: {int(name)}")
    hint = nearest(name.casefold(), keys_by_drum)
    closest_drum = next((drum for drum in DRUMS.values() if repr(drum.casefold()) in hint), None)
    correction = (
        f"; did you mean {closest_drum!r}?"
        if closest_drum
        else ", such as 'Acoustic Snare'; or give a number, 0 to 127"
    )
    raise ValueError(f"{name!r} is no drum of General MIDI{correction}")


# Synonyms in file names. Those of two letters, of drum machines and sample packs, count only in names without a longer
# drum's name: OH may be the overhead microphones.
_SYNONYMS = {
    **dict.fromkeys(("bd", "kd", "kik", "kck", "kic", "bassdrum"), "kick"),
    **dict.fromkeys(("sd", "sn", "snr", "snre"), "snare"),
    **dict.fromkeys(("rs", "rimshot", "rimclick"), "rim"),
    **dict.fromkeys(("ss", "sidestick", "xstick", "xstk", "crosstick"), "side stick"),
    **dict.fromkeys(("cp", "clp", "handclap"), "clap"),
    **dict.fromkeys(("hh", "hihat", "hht"), "hat"),
    **dict.fromkeys(("ch", "chh", "hhc", "chat", "hatc", "clhat"), "closed hat"),
    **dict.fromkeys(("oh", "ohh", "hho", "ohat", "hato", "ophat"), "open hat"),
    **dict.fromkeys(("ph", "phh", "hhp", "hhf", "hatp"), "pedal hat"),
    **dict.fromkeys(("cy", "cr", "crs", "crsh", "cym", "cymb", "cymbal"), "crash"),
    **dict.fromkeys(("rd", "rc", "rid"), "ride"),
    **dict.fromkeys(("spl", "splsh"), "splash"),
    **dict.fromkeys(("chinese", "chna", "chn"), "china"),
    **dict.fromkeys(("tamb", "tmb", "tambo", "tamborine"), "tambourine"),
    **dict.fromkeys(("cb", "cowbell", "cbell"), "cow bell"),
    "vibslap": "vibraslap",
    **dict.fromkeys(("bng", "bngo"), "bongo"),
    **dict.fromkeys(("cng", "cnga"), "conga"),
    **dict.fromkeys(("timb", "timbal"), "timbale"),
    "cabassa": "cabasa",
    **dict.fromkeys(("maraca", "ma", "shk", "shkr"), "shaker"),
    **dict.fromkeys(("whs", "whstl", "whst"), "whistle"),
    **dict.fromkeys(("guir", "guiero"), "guiro"),
    **dict.fromkeys(("clave", "cl", "clv"), "claves"),
    **dict.fromkeys(("woodblock", "woodblk", "wblock", "wb", "wblk"), "wood block"),
    **dict.fromkeys(("cuic", "quica"), "cuica"),
    **dict.fromkeys(("tri", "trg", "triang", "trngl"), "triangle"),
    **{"lt": "low tom", "mt": "mid tom", "ht": "high tom", "ft": "floor tom"},
    **{"lc": "low conga", "mc": "mid conga", "hc": "high conga"},
    **{"stk": "stick", "blk": "block", "electronic": "electric", "cup": "bell"},
}
_HIGH_LOW = {"l": "low", "lo": "low", "lw": "low", "m": "mid", "md": "mid", "middle": "mid", "h": "high", "hi": "high"}
_MUTE_OPEN = {
    **dict.fromkeys(("m", "mt", "mu", "mut", "mtd", "muted", "closed", "cl", "c", "short", "damp", "damped"), "mute"),
    **dict.fromkeys(("o", "op", "opn", "opened", "l", "long"), "open"),
}
_SHORT_LONG = {"s": "short", "sh": "short", "shrt": "short", "mute": "short", "l": "long", "lg": "long", "lng": "long"}
_HAT = {
    **dict.fromkeys(("c", "cl", "cls", "clsd", "clo", "close"), "closed"),
    **dict.fromkeys(("o", "op", "opn", "opened", "half"), "open"),
    **dict.fromkeys(("p", "ped", "f", "ft", "foot"), "pedal"),
}
# Meanings of words beside a drum's name.
_BESIDE: Mapping[str, Mapping[str, str]] = {
    "hat": _HAT,
    "tom": _HIGH_LOW | {"f": "floor", "fl": "floor", "flr": "floor"},
    "conga": _HIGH_LOW | {"mt": "mute", "mut": "mute", "muted": "mute", "slap": "mute", "o": "open", "op": "open"},
    **dict.fromkeys(("bongo", "timbale", "agogo", "block"), _HIGH_LOW),
    **dict.fromkeys(("triangle", "cuica"), _MUTE_OPEN),
    **dict.fromkeys(("whistle", "guiro"), _SHORT_LONG),
    "snare": {"e": "electric", "el": "electric", "elec": "electric"},
    "bell": {"c": "cow", "r": "ride"},
    "stick": {"x": "cross", "s": "side"},
}
# Drums and their keys, the best first. A name matches a drum if it contains all its words; the match with the most
# words wins, then the first.
_DRUMS: Sequence[tuple[str, tuple[int, ...]]] = (
    ("kick", (36, 35)),
    ("bass drum", (36, 35)),
    ("snare", (38, 40)),
    ("electric snare", (40, 38)),
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
    ("low floor tom", (41,)),
    ("high floor tom", (43,)),
    ("low mid tom", (47,)),
    ("high mid tom", (48,)),
    ("tambourine", (54,)),
    ("cow bell", (56,)),
    ("vibraslap", (58,)),
    ("vibra slap", (58,)),
    ("bongo", (60, 61)),
    ("low bongo", (61,)),
    ("conga", (63, 62, 64)),
    ("low conga", (64,)),
    ("high conga", (62, 63)),
    ("mute conga", (62,)),
    ("open conga", (63,)),
    ("open high conga", (63,)),
    ("timbale", (65, 66)),
    ("low timbale", (66,)),
    ("agogo", (67, 68)),
    ("low agogo", (68,)),
    ("cabasa", (69,)),
    ("shaker", (70, 69)),
    ("whistle", (71, 72)),
    ("long whistle", (72,)),
    ("guiro", (73, 74)),
    ("long guiro", (74,)),
    ("claves", (75,)),
    ("wood block", (76, 77)),
    ("low wood block", (77,)),
    ("cuica", (79, 78)),
    ("mute cuica", (78,)),
    ("triangle", (81, 80)),
    ("mute triangle", (80,)),
)
_WORDS = {word for name, _ in _DRUMS for word in name.split()}
# Words that names join without capitals: "openhat", "hhclosed", "lotom". Other short ones would be parts of words.
_PARTS = {word for word in {*_WORDS, *_SYNONYMS} if len(word) > 2} | {"hh", "hi", "lo"}
_JOINED = "|".join(sorted(_PARTS, key=len, reverse=True))
_JOINED_WORDS, _PART = re.compile(f"(?:{_JOINED}){{2,}}"), re.compile(_JOINED)


def hit_keys(names: Iterable[str]) -> dict[str, int]:
    """Return General MIDI keys of the names that name a drum; each key is given once.

    ``names`` are labels, or file names without suffix: ``OpenHat-02``, ``BD0025``, ``hh_op``. Names with more of a
    drum's words choose first, ``open hat`` before ``hat``, then earlier ones. A name whose keys are all taken has none.
    """
    matches_by_name = {name: _match_drum(name) for name in names}
    keys_by_name = dict[str, int]()
    for name in sorted(matches_by_name, key=lambda name: -matches_by_name[name][0]):
        free_keys = [key for key in matches_by_name[name][1] if key not in keys_by_name.values()]
        keys_by_name |= {name: free_keys[0]} if free_keys else {}
    return keys_by_name


def _match_drum(name: str) -> tuple[int, tuple[int, ...]]:
    """Return the number of words that match, and the keys; the standard's own names count one word more."""
    words = _split(name)
    if (key := _STANDARD.get(" ".join(words))) is not None:
        return len(words) + 1, (key,)
    for shortest_synonym in (3, 1):  # letters of a synonym
        word_parts = [part for word in words for part in _unjoined(word)]
        meanings = {
            word for part in word_parts for word in (_meaning(part) if len(part) >= shortest_synonym else part).split()
        }
        meanings_beside = [meaning_changes for drum, meaning_changes in _BESIDE.items() if drum in meanings]
        meanings |= {
            meaning_changes[word]
            for meaning_changes in meanings_beside
            for word in {*words, *meanings}
            if word in meaning_changes
        }
        drum_matches = [(len(drum.split()), keys) for drum, keys in _DRUMS if meanings.issuperset(drum.split())]
        if drum_matches:
            return max(drum_matches, key=lambda match: match[0])
    return 0, ()


def _split(name: str) -> list[str]:
    """Split at other characters, before and behind numbers, and between small letters and capitals."""
    spaced_name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word.casefold() for word in re.findall(r"[^\W\d_]+|\d+", spaced_name)]


def _unjoined(word: str) -> list[str]:
    """Split a word that joins known words; others stay whole."""
    is_known_word = word in _SYNONYMS or word in _WORDS
    return [word] if is_known_word or not _JOINED_WORDS.fullmatch(word) else _PART.findall(word)


def _meaning(word: str) -> str:
    """Return the words that a synonym stands for, or the word in the singular."""
    singular = word.removesuffix("s")
    return _SYNONYMS.get(word) or (
        singular if singular in _WORDS and word not in _WORDS else _SYNONYMS.get(singular, word)
    )


_STANDARD = {" ".join(_split(name)): key for key, name in DRUMS.items()}
