"""Says in words what figures mean for the one who plays the model."""

from typing import Any

from ...host.units import midi_to_hz, note_name, octave_of

Figures = dict[str, Any]

OBEYED, MOSTLY = 0.95, 0.8  # of the notes: a wrong one in twenty is heard now and then, one in five all the time
ALIKE = 1.5  # times the distance of training windows from unheard ones, up to which random codes sound alike
DULL_DB = 6.0  # a missing half of the amplitude is heard at once
NOISY_DB = 6.0  # noise so far under the sound is heard beside it
NOTHING = 1.0  # of relative error: always answering the mean is as near
SHORT_SECONDS = 0.5  # of an event: drums and words are shorter, held notes longer
BESIDE = 3  # semitones from an octave, so near that the move changes no colour
MOST = 0.8  # of the sound: what is left out under this is missed
NEAR, CORRELATED = 0.05, 0.15  # of the prior's deviation; of two latents: a walk meets every sound that was trained


def verdict(found: Figures) -> str:
    """Return what the figures mean for who plays the model: do the keys and the knobs do what they should?"""
    return f"{_keys_verdict(found)} {_knobs(found)}" if _alive(found) else _dead(found)


def texture(found: Figures) -> str:
    """The same of grains: does what random codes give sound like the recordings, and do the codes fill their space?"""
    return f"{_texture_likeness(found)} {_space(found)} {_knobs(found)}" if _alive(found) else _dead(found)


def shortcomings(found: Figures) -> list[str]:
    """Return what a player should not expect of a chroma instrument: a sentence each, the worst first."""
    if not _alive(found):
        return [_dead(found)]
    error = found["reconstruction"]["same_key"]["relative_error"]["value"]
    said = _learned(error, "spectra of the recordings are no nearer than their mean would be")
    if (found["spectral_distance"]["ratio"] or 0) > ALIKE:
        said.append(_likeness(found["spectral_distance"]["ratio"], []))
    if found["keys"] is not None and found["run"]["tonal"]:
        share = found["keys"]["mesh"]["sounding"]["pitch_class"]
        if share < MOSTLY:
            said.append(
                f"Between the recordings' sounds keys are not obeyed: {percent(share)} of notes are right there."
            )
    said += _short(found, "a key holds one moment of a sound, and knobs go from colour to colour")
    said += _octave(found)
    left_out = 1 - found["recordings"]["pitched"]
    if found["run"]["tonal"] and left_out > 1 - MOST:
        said.append(f"What has no pitch is left out: {percent(left_out)} of the sound.")
    return said + _silent(found)


def texture_shortcomings(found: Figures) -> list[str]:
    """Return the same of a texture."""
    if not _alive(found):
        return [_dead(found)]
    said = _learned(found["relative_error"], "grains of the recordings are no nearer than their mean would be")
    ratio = found["spectral_distance"]["ratio"]
    if (ratio is not None and ratio > ALIKE) or _faults(found):
        said.append(_texture_likeness(found))
    said += _short(found, "grains keep the colour of a sound and scatter its moments")
    pitched = found["recordings"]["pitched"]
    if found["run"]["tonal"]:
        said.append(f"Melodies are lost: {percent(pitched)} of the sound has a pitch, and keys do not choose it.")
    return said + _silent(found)


def _learned(error: float, what: str) -> list[str]:
    if error < NOTHING:
        return []
    return [f"It has learned nothing: {what} (relative error {error:.2f}). Train longer, or give more sounds."]


def _short(found: Figures, what: str) -> list[str]:
    seconds = found["recordings"]["event_seconds"]
    if seconds >= SHORT_SECONDS:
        return []
    return [f"Hits and words are lost: the recordings' sounds last {seconds:.2f} s each, and {what}."]


def _octave(found: Figures) -> list[str]:
    """Return how far the recordings were moved up: what is moved down loses nothing."""
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


def _silent(found: Figures) -> list[str]:
    return [_knobs(found)] if any(dimension["dead"] for dimension in found["latents"]["dimensions"]) else []


def _alive(found: Figures) -> bool:
    return not all(dimension["dead"] for dimension in found["latents"]["dimensions"])


def _dead(found: Figures) -> str:
    divergence = "divergence" in found["latents"]["dimensions"][0]
    way = "a smaller loss.divergence" if divergence else "another training.seed or learning rate"
    return f"This model cannot be played: every sound gets the same code. Train again with {way}."


def _knobs(found: Figures) -> str:
    dimensions = found["latents"]["dimensions"]
    silent = [str(i) for i, dimension in enumerate(dimensions) if dimension["dead"]]
    count = len(dimensions)
    if silent:
        return f"{len(silent)} of {count} knobs do nothing (latent {', '.join(silent)})."
    return {1: "The knob is in use.", 2: "Both knobs are in use."}.get(count, f"All {count} knobs are in use.")


def _texture_likeness(found: Figures) -> str:
    return _likeness(found["spectral_distance"]["ratio"], _faults(found))


def _likeness(ratio: float | None, faults: list[str]) -> str:
    but = f"what it makes is {' and '.join(faults)}" if faults else ""
    if ratio is None:
        return f"There are no other sounds to compare with{'; ' + but if but else ''}."
    if ratio <= ALIKE:
        how = f"Random codes sound like the recordings ({ratio:.1f} times as far from unheard ones as training’s"
    else:
        how = f"Random codes do not sound like the recordings ({ratio:.1f} times as far from unheard ones as training’s"
    return f"{how}){'; ' + but if but else ''}."


def _faults(found: Figures) -> list[str]:
    high = found["bands"]["unfiltered"][-1]
    level, added = high["level_db"]["mean"], high["excess_db"]["mean"]
    dull = [f"dull ({-level:.0f} dB too quiet above 3 kHz)"] if level <= -DULL_DB else []
    return dull + ([f"noisy ({_side(added)} above 3 kHz)"] if added >= -NOISY_DB else [])


def _side(added: float) -> str:
    """Say in words how much power is added."""
    return f"added power {abs(added):.0f} dB {'over' if added >= 0 else 'under'} the sound’s own"


def _space(found: Figures) -> str:
    if not found["run"]["adversarial"]:
        return "Codes were trained toward no prior: play those of sounds, as drawn ones may lie between them."
    codes = found["codes"]
    part = next(part for part in ("held_out", found["split"]) if part in codes)
    spread, wanted = codes[part], codes["normal"]["deviation"][0]
    mean, correlation = spread["largest_mean"]["value"], spread["largest_correlation"]["value"]
    low, high = spread["smallest_std"]["value"], spread["largest_std"]["value"]
    near = mean <= NEAR * wanted and low >= (1 - NEAR) * wanted and high <= (1 + NEAR) * wanted
    fills = "Codes fill" if near and correlation <= CORRELATED else "Codes do not quite fill"
    return f"{fills} the prior: deviations of {low:.2f} to {high:.2f} where {wanted:g} is wanted."


def _keys_verdict(found: Figures) -> str:
    if not found["run"]["tonal"]:
        return "The recordings have no clear pitch: keys choose colour, not pitch."
    if found["keys"] is None:
        return (
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    real, anywhere = (found["keys"][place]["sounding"] for place in ("training_codes", "mesh"))
    shares = [place[name] for place in (real, anywhere) for name in ("pitch_class", "octave")]
    least = min(share for share in shares if share is not None)
    how = "obeyed" if least >= OBEYED else "mostly obeyed" if least >= MOSTLY else "not obeyed"
    return (
        f"Keys are {how}: the note is the key's in {_right(real)} on sounds of the corpus, "
        f"and in {_right(anywhere)} wherever the knobs stand."
    )


def _right(sounding: Figures) -> str:
    share, octave = sounding["pitch_class"], sounding["octave"]
    if octave is None:
        return f"{percent(share)} of cases"
    return f"{percent(share)} of cases ({'' if octave == share else f'{percent(octave)} '}octave included)"


def percent(share: float) -> str:
    """Return a share as people read it; 100 % only where nothing at all is missing."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"
