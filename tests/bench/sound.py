"""How the shipped models and presets sound: are keys obeyed, are scales right, does anything click, clip or drift?"""

from pathlib import Path

import numpy as np
from listening import listen
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.kinds.spectrum import GestureSettings
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument, Rack
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.preset import EnvelopeSettings, LatentSettings, PlaySettings, Preset
from timbrel.host.preset.shipped import shipped_models, shipped_presets
from timbrel.host.signal import sounding_note
from timbrel.host.units import note_name

RATE = 44100
CODES = 200
FEW_CODES, KEYS_APART = 100, 7  # for models of partials
LOWEST = 36  # C2: `sounding_note` reads lower ones to half a semitone
DARK_HZ, CLICK_HZ = 8000.0, 10000.0
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


class DarkModel(Model):
    """A model whose frames end at `DARK_HZ`: what then sounds above `CLICK_HZ` is a click."""

    def decode(self, latent, chroma):
        frame = super().decode(latent, chroma).copy()
        frame[:, round(DARK_HZ * self.card.frame_length / self.card.sample_rate) :] = 0
        return frame


def uniform_codes(model: Model, count: int) -> np.ndarray:
    """Codes drawn uniformly over each knob's span, [count, n_latents]."""
    low, high = ([getattr(latent, end) for latent in model.card.latents] for end in ("low", "high"))
    return np.random.default_rng(0).uniform(low, high, (count, len(low))).astype(np.float32)


def obedience(name: str, path: Path) -> None:
    model = Model(path)
    marks = model.card.landmarks
    codes = np.array([mark.latent for mark in marks[:: max(1, len(marks) // CODES)]], np.float32)
    for what, chosen in (("training codes", codes), ("uniform codes", uniform_codes(model, CODES))):
        found = listen(model, chosen)
        print(
            f"{name:<14}{what:<16}{found.notes} notes: pitch class right {100 * found.pitch_class:.1f} %, "
            f"octave too {100 * found.octave:.1f} %"
        )


def partials_obedience(name: str, path: Path) -> None:
    """Keys of a model of partials, which states its pitch and need not obey."""
    model = Model(path)
    span = model.card.partials
    keys = np.arange(max(np.ceil(span.low), LOWEST), span.high + 1, KEYS_APART).astype(int).tolist()
    marks = np.array([mark.latent for mark in model.card.landmarks], np.float32)
    played = marks[:: max(1, len(marks) // FEW_CODES)]
    for what, codes in (("training codes", played), ("uniform codes", uniform_codes(model, FEW_CODES))):
        away = np.concatenate([heard_notes(name, model, code, keys) - keys for code in codes])
        octaves = np.abs(away - 12 * np.round(away / 12)) < 0.5
        print(
            f"{name:<14}{what:<16}{len(away)} notes: pitch class right {100 * octaves.mean():.1f} %, "
            f"octave too {100 * (np.abs(away) < 0.5).mean():.1f} %"
        )


def heard_notes(name: str, model: Model, code: np.ndarray, keys: list[int]) -> np.ndarray:
    """Play keys one after the other at a code; returns the MIDI notes that sound, NaN for none."""
    preset = Preset(
        format=1,
        model=name,
        latent=LatentSettings(values=code.tolist()),
        envelope=EnvelopeSettings(attack_seconds=0.005, release_seconds=0.005),
        gesture=GestureSettings(amount=0.0),
    )
    instrument = ChannelInstrument(Patch("measured", preset, model, Path()), RATE)
    heard = []
    for index, key in enumerate(keys):
        begin = index * RATE
        sound = instrument.process([NoteOn(begin, 0, key, 100), NoteOff(begin + RATE // 2, 0, key)], RATE)
        heard.append(sounding_note(sound[0, RATE // 8 : RATE // 2], RATE))
    return np.array(heard)


def scale(name: str) -> None:
    """A C major scale through a preset: every note right, no clipping, no NaN, no DC."""
    patch = open_patch(name)
    envelope = patch.preset.envelope
    seconds = envelope.attack_seconds + max(0.8, envelope.attack_seconds + 0.5)
    rack = Rack({0: patch}, RATE)
    length = round(seconds * RATE)
    notes, pieces = [], []
    for index, key in enumerate(SCALE):
        start = index * 2 * length
        events = [NoteOn(start, 0, key, 100), NoteOff(start + length, 0, key)]
        sound, _ = rack.process(events, 2 * length)
        pieces.append(sound)
        begun = round(envelope.attack_seconds * RATE) + rack.latency_samples
        notes.append(sounding_note(sound.sum(0)[begun : length + rack.latency_samples], RATE))
    sound = np.concatenate(pieces, axis=1)
    wrong = [f"{note_name(k)} sounds {n:.1f}" for k, n in zip(SCALE, notes, strict=True) if not abs(n - k) < 0.5]
    level = np.sqrt(np.mean(np.square(sound)))
    dc = 20 * np.log10(max(abs(float(sound.mean())), 1e-12) / level)
    print(
        f"{name:<14}scale {len(SCALE) - len(wrong)} of {len(SCALE)} right{''.join(', ' + w for w in wrong)}; "
        f"peak {np.abs(sound).max():.2f}, finite {bool(np.isfinite(sound).all())}, DC {dc:.0f} dB"
    )


def click(name: str, path: Path, steal: bool) -> float:
    """Energy above 10 kHz in the 20 ms after a voice is stolen or released, against the sound's before, in dB."""
    model = DarkModel(path)
    preset = Preset(
        format=1,
        model=name,
        play=PlaySettings(voices=1),
        envelope=EnvelopeSettings(attack_seconds=0.005, release_seconds=0.005),
        gesture=GestureSettings(amount=0.0),
    )
    worst, lowest = -200.0, 12 * (model.card.chroma.octave + 1)
    for key in range(lowest, lowest + 5):  # with the fifth above, in the octave where frames stay where they are
        instrument = ChannelInstrument(Patch("measured", preset, model, Path()), RATE)
        event_time = RATE // 2
        second = NoteOn(event_time, 0, key + 7, 127) if steal else NoteOff(event_time, 0, key)
        sound = instrument.process([NoteOn(0, 0, key, 127), second], RATE)[0].astype(np.float64)
        around = sound[event_time - 512 : event_time + 1024]
        before = sound[event_time - 8192 : event_time]
        spectrum = np.abs(np.fft.rfft(around * np.blackman(len(around)))) ** 2
        hz = np.fft.rfftfreq(len(around), 1 / RATE)
        total = np.sum(np.abs(np.fft.rfft(before[-1536:] * np.blackman(1536))) ** 2)
        worst = max(worst, 10 * np.log10(spectrum[hz > CLICK_HZ].sum() / total))
    return worst


def main() -> None:
    models = {name: path for name, path in shipped_models().items() if Model(path).card.chroma is not None}
    of_partials = {name: path for name, path in shipped_models().items() if Model(path).card.partials is not None}
    for name, path in models.items():
        obedience(name, path)
    for name, path in of_partials.items():
        partials_obedience(name, path)
    for name in shipped_presets():
        if open_patch(name).model.path in (*models.values(), *of_partials.values()):
            scale(name)
    for name, path in models.items():
        print(
            f"{name:<14}clicks: {click(name, path, True):.0f} dB stealing, {click(name, path, False):.0f} dB note-off"
        )


if __name__ == "__main__":
    main()
