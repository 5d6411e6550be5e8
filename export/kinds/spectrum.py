"""First presets and demos of spectra, their amplitudes for code searches, and their voice in TorchScript."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.spectrum.frames import SILENT
from ...host.engines.spectrum.noise_voicing import LOOP_FRAMES, STRIDE, NoiseVoicing, noise_phases
from ...host.engines.spectrum.partial_analysis import fundamentals
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.spectrum import SpectrumKind
from ...host.model.card import PITCH_CLASSES
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs, default_macros, macro_knobs
from ...host.preset.preset import EnvelopeSettings, PlaySettings, Preset
from ...host.signal import chroma, window
from ...host.units import INAUDIBLE_HZ, semitones_to_ratio
from .kind import RATE, ExportKind, preset_of
from .player import FramePlayer
from .search_view import LEAST_POWER, TargetSound, View


class SpectraView(View):
    def target_sound(self, frames: Array) -> TargetSound:
        card, length = self.card, self.length
        middles = frames[:, (frames.shape[1] - length) // 2 :][:, :length]
        spectra = np.abs(np.fft.rfft(middles * window(card.window, length))).astype(np.float32)
        if not card.keyed:
            return TargetSound(_combine_spectra(spectra))
        notes = fundamentals(spectra, card.sample_rate) if card.window == "hann" else np.full(len(frames), np.nan)
        if np.isnan(notes).all():
            return TargetSound(_combine_spectra(spectra), self.unpitched(spectra))
        note = float(np.nanmedian(notes))
        key, target = self.place(math.floor(note + 0.5))
        note_rows = np.flatnonzero(np.abs(notes - note) < 1)  # others are detection errors, or of another note
        shifted_spectra = [self._shifted_spectrum(frames[row], target - float(notes[row])) for row in note_rows]
        return TargetSound(_combine_spectra(np.stack(shifted_spectra)), key)

    def decoded(self, frames: Tensor) -> Tensor:
        return frames[:, None]

    def unpitched(self, spectra: Array) -> int:
        mean_spectrum = np.sqrt(np.square(spectra).mean(0))
        return int(chroma(mean_spectrum, self.card.sample_rate, self.length).argmax())

    def place(self, key: int) -> tuple[int, int]:
        """Return a key's condition for the model, and the note to transpose to."""
        assert self.card.chroma is not None
        pitch_class = key % PITCH_CLASSES
        return pitch_class, PITCH_CLASSES * (self.card.chroma.octave + 1) + pitch_class

    def _shifted_spectrum(self, piece: Array, semitones: float) -> Array:
        length = min(round(self.length * semitones_to_ratio(semitones)), len(piece))
        first = (len(piece) - length) // 2
        spectrum = np.abs(np.fft.rfft(piece[first : first + length] * window(self.card.window, length)))
        bins = self.length // 2 + 1
        return np.pad(spectrum[:bins], (0, max(0, bins - len(spectrum)))).astype(np.float32)


def _combine_spectra(spectra: Array) -> Tensor:
    normalised = spectra / np.maximum(spectra.max(1, keepdims=True), LEAST_POWER)
    combined_spectrum = np.sqrt(np.square(normalised).mean(0, keepdims=True))
    return torch.from_numpy((combined_spectrum / np.maximum(combined_spectrum.max(), LEAST_POWER)).astype(np.float32))


class SpectrumPlayer(FramePlayer):
    window: Tensor
    phases: Tensor
    next_phases: list[int]

    def __init__(self, model: Model, decoder: nn.Module) -> None:
        """``decoder``: latents and chroma, [rows, 12], → magnitudes, [rows, bins]."""
        voicing = NoiseVoicing(model)
        super().__init__(model.card, voicing)
        self.decoder = decoder
        self.register_buffer("window", torch.from_numpy(voicing.window.copy()))
        self.register_buffer("phases", torch.from_numpy(noise_phases(self.frame_length, self.hop_length).copy()))
        self.leakage, self.inaudible, self.silent = voicing.leakage, INAUDIBLE_HZ, float(SILENT)
        self.loop_frames, self.stride = LOOP_FRAMES, STRIDE
        self.next_phases = [0]

    def begin_states(self, rows: int) -> None:
        self.next_phases = [0] * rows

    def begin_state(self, row: int, number: int) -> None:
        self.next_phases[row] = number * self.stride % self.loop_frames

    def frames(self, row: int, codes: Tensor, keys: list[int], ratios: list[float]) -> Tensor:
        classes, phases = torch.tensor(keys, device=codes.device) % 12, self.next_phases[row]
        rows = [
            shift_spectrum(frame, ratios[number], self.silent)
            for number, frame in enumerate(self.decode(codes, classes))
        ]
        turns = (phases + torch.arange(len(rows), device=codes.device)) % self.loop_frames
        self.next_phases[row] = (phases + len(rows)) % self.loop_frames
        spectra = self.phases[turns] * torch.stack(rows)
        lowest = math.ceil(self.inaudible * self.frame_length / self.values[2])
        spectra[:, :lowest] = 0
        if lowest == 1:
            spectra[:, 0] = self.leakage * torch.real(spectra[:, 1])
        frames: Tensor = torch.fft.irfft(spectra, self.frame_length, 1) * self.window
        return frames

    @torch.jit.export
    def decode(self, codes: Tensor, classes: Tensor) -> Tensor:
        magnitudes: Tensor = self.decoder(codes, nn.functional.one_hot(classes, 12).to(codes.dtype))
        return magnitudes


def shift_spectrum(frame: Tensor, ratio: float, silent: float) -> Tensor:
    """Shift a spectrum, [bins], as the host's `frames.shift_spectra`."""
    if ratio == 1.0:
        return frame
    bins = frame.shape[0]
    count = min(bins, math.ceil(bins * ratio) + 1)
    taps = min(bins, math.floor(1.0 / ratio) + 2)
    # A shifted bin covers a span of the old ones: it takes the share of each that lies in its span.
    edge = ((torch.arange(count + 1, dtype=torch.float64) - 0.5) / ratio + 0.5).clamp(0.0, float(bins))
    low, high = edge[:-1], edge[1:]
    indices = torch.minimum(low.long(), torch.tensor(bins - taps)) + torch.arange(taps)[:, None]
    shares = (torch.minimum(high, indices + 1.0) - torch.maximum(low, indices.double())).clamp_min(0.0)
    covered = (frame[indices.to(frame.device)] * shares.to(frame.device, frame.dtype)).sum(0)
    remaining = frame[: int(torch.ceil(edge[-1]))]
    energy = torch.dot(remaining, remaining) / torch.dot(covered, covered).clamp_min(silent)
    return nn.functional.pad(covered * torch.sqrt(energy), [0, bins - count])


SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
NOTE_SECONDS = 0.5


def preset(model: Model) -> Preset:
    edges = {} if model.gestures else {"attack_seconds": 0.005, "release_seconds": 0.2}  # notes have their own
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=16),
        envelope=EnvelopeSettings(decay_seconds=0.1, sustain=1.0, **edges),
        cc=[*default_knobs(model.card), *macro_knobs(model.card)],
        macro=default_macros(model.card),
    )


def scale(lowest: int, velocity: int) -> tuple[list[Event], int]:
    length = round(NOTE_SECONDS * RATE)
    events: list[Event] = []
    for index, step in enumerate(SCALE):
        events.append(NoteOn(index * length, 0, lowest + step, velocity))
        events.append(NoteOff((index + 1) * length - length // 8, 0, lowest + step))
    return events, len(SCALE) * length


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    chroma = patch.model.card.chroma
    return scale(12 * ((chroma.octave if chroma else 4) + 1), velocity)


KIND = ExportKind(SpectrumKind.name, preset, _demo, view=SpectraView, player=SpectrumPlayer)
