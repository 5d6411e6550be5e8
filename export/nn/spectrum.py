"""A voice of models that give spectra, with the phases of stored noise: what `SpectrumEngine` sounds, in TorchScript.

Frames begin on the samples on which those of the engine's first, second, third … voice would, have its phases, and read
knobs and pitch where it does. So the sound is the engine's, whatever the division into blocks.
"""

import math

import torch
from torch import Tensor, nn

from ...host.contract.model import Model
from ...host.engines.frames import SILENT
from ...host.engines.phase import LOOP_FRAMES, STRIDE, NoiseVoicing, noise_phases
from ...host.engines.protocol import MIDDLE_C
from ...host.units import INAUDIBLE_HZ
from .player import Player


class SpectrumPlayer(Player):
    """Voices that decode a frame a hop, with the phases of stored noise."""

    window: Tensor
    phases: Tensor
    held: Tensor
    next_frames: list[int]
    next_phases: list[int]
    moments: list[int]

    def __init__(self, model: Model, decoder: nn.Module) -> None:
        """Make the tables; ``decoder`` gives magnitudes, [rows, bins], of latents and chroma, [rows, 12]."""
        card = model.card
        super().__init__(card, ["(signal) sound"])
        voicing = NoiseVoicing(model)
        self.decoder = decoder
        self.frame_length, self.hop_length = voicing.frame_length, voicing.hop_length
        self.register_buffer("window", torch.from_numpy(voicing.window.copy()))
        self.register_buffer("phases", torch.from_numpy(noise_phases(self.frame_length, self.hop_length).copy()))
        self.conditioned = card.chroma is not None
        self.octave = card.chroma.octave if card.chroma is not None else 0
        self.middle = float(MIDDLE_C)
        self.leakage, self.inaudible, self.silent = voicing.leakage, INAUDIBLE_HZ, float(SILENT)
        self.loop_frames, self.stride = LOOP_FRAMES, STRIDE
        self.moments = [place * self.hop_length // voicing.parts for place in voicing.moments]
        self.together = voicing.together
        self.next_frames, self.next_phases = [0], [0]
        self.register_buffer("held", torch.zeros(1, self.latents))

    def longest(self) -> int:
        """See `Player.longest`."""
        return self.frame_length

    def begin_rows(self, rows: int, device: torch.device) -> None:
        """See `Player.begin_rows`."""
        self.next_frames, self.next_phases = [0] * rows, [0] * rows
        self.held = torch.zeros(rows, self.latents, device=device)

    def begin_note(self, row: int, number: int) -> None:
        """See `Player.begin_note`: the frames that overlap its first sample are due, as in `SpectrumEngine.begin`."""
        moment = self.moments[number // self.together % len(self.moments)]
        silent = self.onsets[row] - self.frame_length
        self.next_frames[row] = silent + self.hop_length - (silent - moment) % self.hop_length
        self.next_phases[row] = (number + 1) * self.stride % self.loop_frames

    def keep(self, codes: Tensor) -> None:
        """See `Player.keep`: the code at the last multiple of the hop."""
        last = self.now + codes.shape[2] - 1
        last -= last % self.hop_length
        if last >= self.now:
            self.held = codes[:, :, last - self.now].clone()

    def add(self, row: int, codes: Tensor, pitch: Tensor, pending: Tensor, end: int) -> None:
        """See `Player.add`: frames, each of the code at the last multiple of the hop before it."""
        places: list[int] = []
        read: list[Tensor] = []
        ratios: list[float] = []
        classes: list[int] = []
        phases: list[int] = []
        while self.next_frames[row] < end:
            frame = self.next_frames[row]
            heard = max(frame, self.onsets[row])  # neither pitch nor knobs are read before the note
            knobs = heard - heard % self.hop_length - self.now
            note = self.note_at(pitch, heard)
            key = math.floor(note + 0.5)
            away = 12.0 * (key // 12 - 1 - self.octave) + (note - key) if self.conditioned else note - self.middle
            places.append(frame - self.now)
            read.append(codes[:, knobs] if knobs >= 0 else self.held[row])
            ratios.append(2.0 ** (away / 12.0) * self.model_rate / self.values[2])
            classes.append(key % 12)
            phases.append(self.next_phases[row])
            self.next_phases[row] = (self.next_phases[row] + 1) % self.loop_frames
            self.next_frames[row] += self.hop_length
        if len(places) > 0:
            first = self.onsets[row] - self.now
            for number, frame in enumerate(self.frames(torch.stack(read), classes, ratios, phases)):
                place = places[number]
                begin = max(place, first)
                pending[0, begin : place + self.frame_length] += frame[begin - place :]

    def frames(self, codes: Tensor, classes: list[int], ratios: list[float], phases: list[int]) -> Tensor:
        """Return frames of codes, [rows, latents], [rows, frame_length]; see `NoiseVoicing.make`."""
        magnitudes = self.decode(codes, torch.tensor(classes, device=codes.device))
        rows = [moved(row, ratios[number], self.silent) for number, row in enumerate(magnitudes)]
        spectra = self.phases[phases] * torch.stack(rows)
        lowest = math.ceil(self.inaudible * self.frame_length / self.values[2])
        spectra[:, :lowest] = 0
        if lowest == 1:
            spectra[:, 0] = self.leakage * torch.real(spectra[:, 1])
        frames: Tensor = torch.fft.irfft(spectra, self.frame_length, 1) * self.window
        return frames

    @torch.jit.export
    def decode(self, codes: Tensor, classes: Tensor) -> Tensor:
        """Return the magnitudes of codes, [rows, latents], in pitch classes, [rows]: [rows, bins]."""
        magnitudes: Tensor = self.decoder(codes, nn.functional.one_hot(classes, 12).to(codes.dtype))
        return magnitudes


def moved(frame: Tensor, ratio: float, silent: float) -> Tensor:
    """Return a spectrum, [bins], moved along the frequency axis: `timbrel.host.engines.frames.moved` of one row."""
    if ratio == 1.0:
        return frame
    bins = frame.shape[0]
    count = min(bins, math.ceil(bins * ratio) + 1)
    taps = min(bins, math.floor(1.0 / ratio) + 2)
    edge = ((torch.arange(count + 1, dtype=torch.float64) - 0.5) / ratio + 0.5).clamp(0.0, float(bins))
    low, high = edge[:-1], edge[1:]
    indices = torch.minimum(low.long(), torch.tensor(bins - taps)) + torch.arange(taps)[:, None]
    shares = (torch.minimum(high, indices + 1.0) - torch.maximum(low, indices.double())).clamp_min(0.0)
    covered = (frame[indices.to(frame.device)] * shares.to(frame.device, frame.dtype)).sum(0)
    kept = frame[: int(torch.ceil(edge[-1]))]
    energy = torch.dot(kept, kept) / torch.dot(covered, covered).clamp_min(silent)
    return nn.functional.pad(covered * torch.sqrt(energy), [0, bins - count])
