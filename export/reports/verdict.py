"""Verdicts on runs, as sentences of reports and `make`, and the format of numbers; bad news is also a shortcoming."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...host.units import midi_to_hz, note_name, octave_of
from ...train.families.gan.health import ALIKE as ONE_CLIP
from ...train.families.gan.health import REMEDY


def percent(share: float) -> str:
    """Format a share; 100 % only if exactly 1."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def minus(text: str) -> str:
    return text.replace("-", "−")


def two_digits(number: float) -> str:
    """Format with two digits, never −0.00."""
    return minus(f"{number:.2f}".replace("-0.00", "0.00"))


Figures = dict[str, Any]

OBEYED, MOSTLY = 0.95, 0.8  # of the notes: one wrong in twenty is noticed now and then, one in five all the time
ALIKE = 1.5  # times the distance between training and unheard windows; random codes up to it are alike
DULL_DB = 6.0  # half of the amplitude missing is clearly audible
NOISY_DB = 6.0  # noise at this level below the sound is audible
NOTHING = 1.0  # relative error of always answering the mean
SHORT_SECONDS = 0.5  # of an event: drums and words are shorter, held notes longer
BESIDE = 3  # semitones from an octave: a shift this small keeps the timbre
MOST = 0.8  # minimum pitched share of the sound: leaving out more is noticeable
NEAR, CORRELATED = 0.05, 0.15  # of the prior's deviation; of two latents: a walk then reaches every trained sound
CAME_BACK_DB = 6.0  # median of clips: five minutes reach 4 to 5, another recording of a spoken word is 6.4 away
FEWEST = 2  # training clips, for a spread
LABEL_DIVERSITY = 0.5  # of recordings' within a label: with less, knobs change little
WITHIN, KEPT, COPIED_BEATS, STEADY = 0.95, 0.5, 2.0, 0.999  # of loops: frames alike, the beat, copies, ten minutes
PREDICTED = 0.15  # mean square error of next frames where the post stopped
FOLLOWED = 0.9  # correlation of continued envelopes: less is another rhythm
RISES_DB = 3.0  # rise within a tail, from its first to its last part
FEW = 10  # clips of a label: with fewer, the share of correct ones is unreliable
HIGH = 0.97  # share of correct clips: the classifier's answers on generated clips then compare with a listener's


class Verdict(NamedTuple):
    text: str
    shortcomings: list[str]


class _Said(NamedTuple):
    text: str
    good: bool = True


def _verdict(said: Sequence[_Said], more: Sequence[str] = (), worst: Sequence[str] = ()) -> Verdict:
    return Verdict(" ".join(one.text for one in said), [*worst, *(one.text for one in said if not one.good), *more])


def good_news(found: Figures) -> str:
    text = found["verdict"]
    for line in found["shortcomings"]:
        text = text.replace(line, "")
    return " ".join(text.split())


def chroma(found: Figures) -> Verdict:
    if not alive(found):
        return _verdict([_dead(found)])
    error = found["reconstruction"]["same_key"]["relative_error"]["value"]
    worst = _learned(error, "spectra of the recordings are no nearer than their mean would be")
    short = _short(found, "a key holds one moment of a sound, and knobs go from colour to colour")
    more = [*_unlike(found), *short, *_octave(found), *(_left_out(found) if found["run"]["tonal"] else [])]
    return _verdict([_keys(found), _knobs(found)], more, worst)


def partials(found: Figures) -> Verdict:
    if not alive(found):
        return _verdict([_dead(found)])
    off = found["reconstruction"]["bands_db"]
    told = f"Frames of {'recordings' if found['split'] == 'train' else 'unheard recordings'} come back {off:.1f} dB off"
    near = off <= CAME_BACK_DB
    came_back = _Said(f"{told}." if near else f"{told}: train longer, or with more recordings.", near)
    return _verdict([came_back, _knobs(found)], [*_unlike(found), *_left_out(found)])


def grain(found: Figures) -> Verdict:
    if not alive(found):
        return _verdict([_dead(found)])
    worst = _learned(found["relative_error"], "grains of the recordings are no nearer than their mean would be")
    more = _short(found, "grains keep the colour of a sound and scatter its moments")
    if found["run"]["tonal"]:
        pitched = percent(found["recordings"]["pitched"])
        more.append(f"Melodies are lost: {pitched} of the sound has a pitch, and keys do not choose it.")
    likeness = _likeness(found["spectral_distance"]["ratio"], _faults(found))
    return _verdict([likeness, _space(found), _knobs(found)], more, worst)


def clip(found: Figures) -> Verdict:
    made, again, said, worst, more = found["generated"], found["reconstruction"], [], [], []
    if again is not None:
        said.append(_came_back(again))
        if again.get("relative_error", 0.0) > NOTHING:
            worst.append("It has learned nothing: silence would be nearer to the recordings. Train longer.")
    if found["collapsed"]:
        apart = f"random codes lie {made['diversity_db']:.1f} dB apart, recordings {made['test_diversity_db']:.1f} dB"
        collapse = f"It has collapsed: whatever the code, it makes {ONE_CLIP} ({apart})"
        said.append(_Said(f"{collapse}; train longer, {REMEDY}.", False))
    else:
        said.append(_likeness(None if found["split"] == "train" else made["ratio"]))
        own, real = made["label_diversity_db"], made["test_label_diversity_db"]
        if own is not None and real is not None and own < LABEL_DIVERSITY * real:
            apart = f"clips of one label lie {own:.1f} dB apart, recordings {real:.1f} dB"
            more.append(f"Its codes change little: {apart}.")
        if made["nearest"]["median"] < made["test_nearest"]["median"]:
            more.append("Random codes come nearer to training clips than unheard recordings do: some are remembered.")
    if found["trained"] < FEWEST:
        more.append("It was trained on one recording, and can make no other.")
    return _verdict(said, more, worst)


def sequence(found: Figures) -> Verdict:
    rows, more = [row for row in found["continued"] if row["seed"] == 1], []
    near, strikes = (float(np.median([row[name] for row in rows])) for name in ("correlation", "onsets"))
    if rising := [row["name"] for row in rows if row["tail_db"][1] > row["tail_db"][0] + RISES_DB]:
        more.append(f"After its end, {rising[0]} gets louder and louder; a host’s limiter holds it.")
    error = found["mean_square"]
    predicts = f"Told all before it, a frame is predicted with a mean square error of {error:.3g}"
    follows = f"From one frame on, envelopes correlate {near:.3f} with the recordings’, onsets agree by {strikes:.2f}"
    return _verdict(
        [
            _Said(f"{predicts}.")
            if error <= PREDICTED
            else _Said(f"{predicts}, over {PREDICTED:g}, where the post stopped: train longer.", False),
            _Said(f"{follows}.")
            if near >= FOLLOWED
            else _Said(f"{follows}: it goes another way than they do. Train longer, or with noise.", False),
        ],
        more,
    )


def loops(found: Figures) -> Verdict:
    rows, endless, said, more = found["played_on"], found["endless"], [], []
    within = [row["within"] for row in rows if row["within"] is not None]
    kept = float(np.median([row["beat"] for row in rows]))
    if within:
        share = float(np.mean(within))
        said.append(_Said(f"{share:.0%} of what follows is like training loops.", share >= WITHIN))
    said.append(_Said(f"The beat is {kept:.2f} times as strong as in the loops that it was given.", kept >= KEPT))
    copied = max(max(row["copied_beats"].values()) for row in rows)  # phases are new, levels may be copied
    if copied >= COPIED_BEATS:
        more.append(f"{copied:.1f} beats of it are a copy of a training loop.")
    if endless["in_range"] < STEADY or endless["constant"] or endless["repeating"]:
        more.append("Within ten minutes it leaves the loudness of its loops, or stands still.")
    if weak := [row["name"] for row in found["knobs"] if _moved(row) <= 0]:
        more.append(f"Knobs that do not move what they are named for: {', '.join(weak)}.")
    return _verdict(said, more)


def classifier(found: Figures) -> Verdict:
    accuracy, count, worst, more = found["accuracy"], found["clips"], [], []
    right = (
        f"{percent(accuracy)} of clips are taken for what they are: {round((1 - accuracy) * count)} of {count} are not."
    )
    said = [_Said(right)]
    if accuracy < HIGH:
        said.append(_Said(f"Under {percent(HIGH)}, what it says of generated clips is not worth much.", False))
    if found["split"] == "train":
        worst.append("The corpus has no clips that it was not trained on: expect worse of others.")
    heard = [sum(row) for row in found["confusion"]]
    if few := [word for word, clips in zip(found["words"], heard, strict=True) if clips < FEW]:
        more.append(f"There are fewer than {FEW} clips to judge by of {', '.join(few)}.")
    return _verdict(said, more, worst)


def _learned(error: float, what: str) -> list[str]:
    if error < NOTHING:
        return []
    return [f"It has learned nothing: {what} (relative error {error:.2f}). Train longer, or give more sounds."]


def _unlike(found: Figures) -> list[str]:
    ratio = found["spectral_distance"]["ratio"]
    return [] if _sounds_alike(ratio) else [_likeness(ratio).text]


def _left_out(found: Figures) -> list[str]:
    share = 1 - found["recordings"]["pitched"]
    return [f"What has no pitch is left out: {percent(share)} of the sound."] if share > 1 - MOST else []


def _short(found: Figures, what: str) -> list[str]:
    seconds = found["recordings"]["event_seconds"]
    if seconds >= SHORT_SECONDS:
        return []
    return [f"Hits and words are lost: the recordings' sounds last {seconds:.2f} s each, and {what}."]


def _octave(found: Figures) -> list[str]:
    """A shift down loses nothing."""
    octave, note = found["run"]["octave"], found["recordings"]["note"]
    if octave is None or note is None:
        return []
    lowest, own = 12 * (octave + 1), octave_of(round(note))
    if note >= lowest - BESIDE:
        return []
    away = octave - own
    return [
        f"The recordings lie around {note_name(round(note))} ({midi_to_hz(note):.0f} Hz), and were moved "
        f"{'an octave' if away == 1 else f'{away} octaves'} up, into {note_name(lowest)} to {note_name(lowest + 11)}, "
        f"where {'their highest octave has' if away == 1 else f'their {away} highest octaves have'} no room; "
        f"'timbrel train' with --set frames.octave={own} leaves them where they are."
    ]


def alive(found: Figures) -> bool:
    return not all(dimension["dead"] for dimension in found["latents"]["dimensions"])


def _dead(found: Figures) -> _Said:
    divergence = "divergence" in found["latents"]["dimensions"][0]
    way = "a smaller loss.divergence" if divergence else "another training.seed or learning rate"
    return _Said(f"Its knobs do nothing: every sound gets the same code. Train longer, or again with {way}.", False)


def _knobs(found: Figures) -> _Said:
    dimensions = found["latents"]["dimensions"]
    silent = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    count = len(dimensions)
    if silent:
        return _Said(f"{len(silent)} of {count} knobs do nothing (latent {', '.join(silent)}).", False)
    return _Said({1: "The knob is in use.", 2: "Both knobs are in use."}.get(count, f"All {count} knobs are in use."))


def _sounds_alike(ratio: float | None) -> bool:
    return ratio is None or ratio <= ALIKE


def _likeness(ratio: float | None, faults: Sequence[str] = ()) -> _Said:
    but = f"; what it makes is {' and '.join(faults)}" if faults else ""
    good = _sounds_alike(ratio) and not faults
    if ratio is None:
        return _Said(f"There are no other sounds to compare with{but}.", good)
    how = "sound" if _sounds_alike(ratio) else "do not sound"
    away = f"{ratio:.1f} times as far from unheard ones as training’s"
    return _Said(f"Random codes {how} like the recordings ({away}){but}.", good)


def _came_back(again: Figures) -> _Said:
    off = again["log_mel_db"]["median"]
    error = f", with {again['relative_error']:.0%} of their energy in error" if "relative_error" in again else ""
    good = off <= CAME_BACK_DB
    far = "" if good else f"; more than {CAME_BACK_DB:g} dB is another sound. Train longer, or give more sounds"
    return _Said(f"Recordings come back {off:.1f} dB off{error}{far}.", good)


def _faults(found: Figures) -> list[str]:
    high = found["bands"]["unfiltered"][-1]
    level, added = high["level_db"]["mean"], high["excess_db"]["mean"]
    dull = [f"dull ({-level:.0f} dB too quiet above 3 kHz)"] if level <= -DULL_DB else []
    return dull + ([f"noisy ({_side(added)} above 3 kHz)"] if added >= -NOISY_DB else [])


def _side(added: float) -> str:
    return f"added power {abs(added):.0f} dB {'over' if added >= 0 else 'under'} the sound’s own"


def _space(found: Figures) -> _Said:
    if not found["run"]["adversarial"]:
        return _Said("Codes were trained toward no prior: play those of sounds, as drawn ones may lie between them.")
    codes = found["codes"]
    part = next(part for part in ("held_out", found["split"]) if part in codes)
    spread, wanted = codes[part], codes["normal"]["deviation"][0]
    mean, correlation = spread["largest_mean"]["value"], spread["largest_correlation"]["value"]
    low, high = spread["smallest_std"]["value"], spread["largest_std"]["value"]
    near = mean <= NEAR * wanted and low >= (1 - NEAR) * wanted and high <= (1 + NEAR) * wanted
    good = near and correlation <= CORRELATED
    fills = "Codes fill" if good else "Codes do not quite fill"
    return _Said(f"{fills} the prior: deviations of {low:.2f} to {high:.2f} where {wanted:g} is wanted.", good)


def _keys(found: Figures) -> _Said:
    if not found["run"]["tonal"]:
        return _Said("The recordings have no clear pitch: keys choose colour, not pitch.")
    if found["keys"] is None:
        return _Said(
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    real, anywhere = (found["keys"][place]["sounding"] for place in ("training_codes", "mesh"))
    shares = [place[name] for place in (real, anywhere) for name in ("pitch_class", "octave")]
    least = min(share for share in shares if share is not None)
    how = "obeyed" if least >= OBEYED else "mostly obeyed" if least >= MOSTLY else "not obeyed"
    help_ = "" if least >= OBEYED else " Train longer, or give recordings of single notes."
    return _Said(
        f"Keys are {how}: the note is the key's in {_right(real)} on sounds of the corpus, "
        f"and in {_right(anywhere)} wherever the knobs stand.{help_}",
        least >= OBEYED,
    )


def _right(sounding: Figures) -> str:
    share, octave = sounding["pitch_class"], sounding["octave"]
    if octave is None:
        return f"{percent(share)} of cases"
    return f"{percent(share)} of cases ({'' if octave == share else f'{percent(octave)} '}octave included)"


def _moved(row: Figures) -> float:
    return float("nan") if None in (row["high"], row["low"]) else float(row["high"] - row["low"])
