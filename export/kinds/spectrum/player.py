"""Spectrum voice in TorchScript: decoded magnitudes with the phases of stored noise, as `NoiseVoicing`."""

import math

import torch
from torch import Tensor, nn

from ....host.contract.model import Model
from ....host.kinds.spectrum.frame_cache import SILENT
from ....host.kinds.spectrum.noise_phase import LOOP_FRAMES, STRIDE, NoiseVoicing, noise_phases
from ....host.units import INAUDIBLE_HZ
from ..frame_player import FramePlayer


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
        rows = [moved(frame, ratios[number], self.silent) for number, frame in enumerate(self.decode(codes, classes))]
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


def moved(frame: Tensor, ratio: float, silent: float) -> Tensor:
    """Shift a spectrum, [bins], as the host's `frames.moved`."""
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
