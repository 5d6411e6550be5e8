"""First presets and demos of spectra, their amplitudes for code searches, and their voice in TorchScript."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.spectrum.frames import SILENT
from ...host.engines.spectrum.magnitude_voicing import NoiseVoicing
from ...host.engines.spectrum.noise_voicing import LOOP_FRAMES, STRIDE, noise_phases
from ...host.engines.spectrum.partial_analysis import fundamentals
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.card_fields import PITCH_CLASSES
from ...host.kinds.spectrum import VIBRATO, SpectrumKind
from ...host.model.card import Card, in_deviations
from ...host.model.gesture import instrument_of
from ...host.model.model import Model
from ...host.preset.library import FIRST_MACRO_CC, Patch
from ...host.preset.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from ...host.signal import chroma, window
from ...host.units import INAUDIBLE_HZ, semitones_to_ratio
from .kind import LEAST_POWER, RATE, ExportKind, TargetSound, View, image_knob, preset_of
from .player import FramePlayer


class SpectraView(View):
    def target_sound(self, frames: Array) -> TargetSound:
        card, length = self.card, self.length
        middles = frames[:, (frames.shape[1] - length) // 2 :][:, :length]
        spectra = np.abs(np.fft.rfft(middles * window(card.window, length))).astype(np.float32)
        if not card.keyed:
            return TargetSound(_combine_spectra(spectra))
        frame_notes = fundamentals(spectra, card.sample_rate) if card.window == "hann" else np.full(len(frames), np.nan)
        if np.isnan(frame_notes).all():
            return TargetSound(_combine_spectra(spectra), self.unpitched(spectra))
        median_note = float(np.nanquantile(frame_notes, 0.5, method="lower"))  # of a frame, not between two notes
        condition, target_note = self.place(math.floor(median_note + 0.5))
        # Others are detection errors, or of another note.
        note_frame_indices = np.flatnonzero(np.abs(frame_notes - median_note) < 1)
        shifted_spectra = [
            self._shifted_spectrum(frames[frame_index], target_note - float(frame_notes[frame_index]))
            for frame_index in note_frame_indices
        ]
        return TargetSound(_combine_spectra(np.stack(shifted_spectra)), condition)

    def decoded(self, frames: Tensor) -> Tensor:
        return frames[:, None]

    def unpitched(self, spectra: Array) -> int:
        """Return a condition for spectra without a pitch."""
        mean_spectrum = np.sqrt(np.square(spectra).mean(0))
        return int(chroma(mean_spectrum, self.card.sample_rate, self.length).argmax())

    def place(self, key: int) -> tuple[int, int]:
        """Return a key's condition for the model, and the note to transpose to."""
        assert self.card.chroma is not None
        pitch_class = key % PITCH_CLASSES
        return pitch_class, PITCH_CLASSES * (self.card.chroma.octave + 1) + pitch_class

    def _shifted_spectrum(self, frame: Array, semitones: float) -> Array:
        """Return the amplitude spectrum of a frame, transposed by resampling its middle."""
        stretched_length = min(round(self.length * semitones_to_ratio(semitones)), len(frame))
        start = (len(frame) - stretched_length) // 2
        spectrum = np.abs(
            np.fft.rfft(frame[start : start + stretched_length] * window(self.card.window, stretched_length))
        )
        bin_count = self.length // 2 + 1
        return np.pad(spectrum[:bin_count], (0, max(0, bin_count - len(spectrum)))).astype(np.float32)


def _combine_spectra(spectra: Array) -> Tensor:
    """Return the root mean power of spectra, each scaled to a peak of 1."""
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
        pitch_classes, phase_index = torch.tensor(keys, device=codes.device) % 12, self.next_phases[row]
        magnitude_rows = [
            shift_spectrum(frame, ratios[frame_index], self.silent)
            for frame_index, frame in enumerate(self.decode(codes, pitch_classes))
        ]
        phase_indices = (phase_index + torch.arange(len(magnitude_rows), device=codes.device)) % self.loop_frames
        self.next_phases[row] = (phase_index + len(magnitude_rows)) % self.loop_frames
        spectra = self.phases[phase_indices] * torch.stack(magnitude_rows)
        lowest_bin = math.ceil(self.inaudible * self.frame_length / self.values[2])
        spectra[:, :lowest_bin] = 0
        if lowest_bin == 1:
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
    shifted_count = min(bins, math.ceil(bins * ratio) + 1)
    tap_count = min(bins, math.floor(1.0 / ratio) + 2)
    # A shifted bin covers a span of the old ones: it takes the share of each that lies in its span.
    edge_bins = ((torch.arange(shifted_count + 1, dtype=torch.float64) - 0.5) / ratio + 0.5).clamp(0.0, float(bins))
    low_bins, high_bins = edge_bins[:-1], edge_bins[1:]
    covered_bins = torch.minimum(low_bins.long(), torch.tensor(bins - tap_count)) + torch.arange(tap_count)[:, None]
    shares = (torch.minimum(high_bins, covered_bins + 1.0) - torch.maximum(low_bins, covered_bins.double())).clamp_min(
        0.0
    )
    shifted_magnitudes = (frame[covered_bins.to(frame.device)] * shares.to(frame.device, frame.dtype)).sum(0)
    source_magnitudes = frame[: int(torch.ceil(edge_bins[-1]))]
    energy = torch.dot(source_magnitudes, source_magnitudes) / torch.dot(
        shifted_magnitudes, shifted_magnitudes
    ).clamp_min(silent)
    return nn.functional.pad(shifted_magnitudes * torch.sqrt(energy), [0, bins - shifted_count])


SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
NOTE_SECONDS = 0.5


# Sound controllers with these meanings in General MIDI 2; 70, "sound variation", is variety. 76, the vibrato's rate, is
# free: a recorded one has its own.
BRIGHTNESS_CC, TIMBRE_CC, ATTACK_CC, VIBRATO_CC, VARIETY_CC, IMAGE_CC = 74, 71, 73, 77, 70, 76
FREE_CC = (*range(70, 80), *range(20, 26))  # eight-knob keyboards send 70 to 77; MIDI leaves 20 to 25 free
LONGEST_ATTACK_SECONDS, ATTACK_CURVE = 2.0, 3.0  # half of the knob is a quarter of a second


def knobs(model: Model) -> list[CCMap]:
    """Return maps in display order: brightness, noise, attack, vibrato, variety and image, if present, then latents.

    Brightness and noise are on general purpose controllers too, as the macros of older models.
    """
    card, gestures = model.card, model.gestures
    indices = {latent.name: index for index, latent in enumerate(card.latents)}
    named_maps = [
        latent_knob(card, indices[name], number)
        for name, number in (("brightness", BRIGHTNESS_CC), ("noise", TIMBRE_CC))
        if name in indices
    ]
    attack = "envelope.attack_seconds"
    control_maps = [CCMap(number=ATTACK_CC, target=attack, low=0.0, high=LONGEST_ATTACK_SECONDS, curve=ATTACK_CURVE)]
    if gestures is not None and gestures.vibrates:
        control_maps.append(CCMap(number=VIBRATO_CC, target=VIBRATO, low=0.0, high=2.0))
    if gestures is not None:
        control_maps.append(CCMap(number=VARIETY_CC, target="gesture.variety", low=0.0, high=1.0))
    control_maps += image_knob(card, IMAGE_CC)
    first_maps = [*named_maps, *control_maps]
    used_numbers, used_targets = {entry.number for entry in first_maps}, {entry.target for entry in first_maps}
    free_numbers = [number for number in FREE_CC if number not in used_numbers]
    free_indices = [index for index, target in enumerate(card.latent_targets) if target not in used_targets]
    other_maps = [latent_knob(card, *pair) for pair in zip(free_indices, free_numbers, strict=False)]
    general_maps = [
        entry.model_copy(update={"number": FIRST_MACRO_CC + place}) for place, entry in enumerate(named_maps)
    ]
    return [*first_maps, *other_maps, *general_maps]


def latent_knob(card: Card, index: int, number: int) -> CCMap:
    low, high = card.spans[index]
    return CCMap(number=number, target=f"latent.{index}", low=low, high=high)


def preset(model: Model) -> Preset:
    # Notes with gestures have their own: an attack of 0 keeps theirs.
    edge_seconds = {"attack_seconds": 0.0} if model.gestures else {"attack_seconds": 0.005, "release_seconds": 0.2}
    play: dict[str, Any] = {"mode": "poly", "voices": 16}
    if model.gestures:
        default_code = np.array([latent.default for latent in model.card.latents])
        instrument = instrument_of(model.gestures, default_code, in_deviations(model.card))
        play |= {"velocity_levels": instrument.velocity_levels} if instrument.velocity_levels else {}
    return preset_of(
        model,
        play=PlaySettings(**play),
        envelope=EnvelopeSettings(decay_seconds=0.1, sustain=1.0, **edge_seconds),
        cc=knobs(model),
    )


def scale(lowest_key: int, velocity: int) -> tuple[list[Event], int]:
    """Return the events of a major scale and its length in samples."""
    note_samples = round(NOTE_SECONDS * RATE)
    events: list[Event] = []
    for note_index, semitones in enumerate(SCALE):
        events.append(NoteOn(note_index * note_samples, 0, lowest_key + semitones, velocity))
        events.append(NoteOff((note_index + 1) * note_samples - note_samples // 8, 0, lowest_key + semitones))
    return events, len(SCALE) * note_samples


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    chroma = patch.model.card.chroma
    return scale(12 * ((chroma.octave if chroma else 4) + 1), velocity)


KIND = ExportKind(SpectrumKind.name, preset, _demo, view=SpectraView, player=SpectrumPlayer)
