"""Overlap-add voice in TorchScript: base class of players of frames.

Frames start and read controls at the samples of `SpectrumEngine`, so any block size gives its sound.
"""

import math

import torch
from torch import Tensor

from ...host.contract.card import Card
from ...host.kinds.spectrum.engine import Voicing
from ...host.units import MIDDLE_C
from .player import NnPlayer


class FramePlayer(NnPlayer):
    held: Tensor
    next_frames: list[int]
    moments: list[int]

    def __init__(self, card: Card, voicing: Voicing) -> None:
        super().__init__(card, ["(signal) sound"])
        self.frame_length, self.hop_length = voicing.frame_length, voicing.hop_length
        self.knob_hop, self.delay = card.hop_length, voicing.delay
        self.keyed, self.conditioned = card.partials is not None, card.chroma is not None
        layout = card.partials
        self.lowest, self.highest = (0, 127) if layout is None else (round(layout.low), round(layout.high))
        self.octave = card.chroma.octave if card.chroma is not None else 0
        self.middle = float(MIDDLE_C)
        self.moments = [place * self.hop_length // voicing.parts for place in voicing.moments]
        self.together = voicing.together
        self.history = self.knob_hop + self.delay  # samples of codes before a block that its frames may read
        self.next_frames = [0]
        self.register_buffer("held", torch.zeros(1, self.latents, self.history))

    def longest(self) -> int:
        return self.frame_length

    def begin_rows(self, rows: int, device: torch.device) -> None:
        self.next_frames = [0] * rows
        self.held = torch.zeros(rows, self.latents, self.history, device=device)
        self.begin_states(rows)

    def begin_note(self, row: int, number: int) -> None:
        """Schedule frames that overlap the first sample, as `SpectrumEngine.start_stream`."""
        moment = self.moments[number // self.together % len(self.moments)]
        silent = self.onsets[row] - self.frame_length
        self.next_frames[row] = silent + self.hop_length - (silent - moment) % self.hop_length
        self.begin_state(row, number + 1)

    def keep(self, codes: Tensor) -> None:
        self.held = torch.cat([self.held, codes], 2)[:, :, -self.history :].clone()

    def add(self, row: int, codes: Tensor, pitch: Tensor, pending: Tensor, end: int) -> None:
        """Frames have codes at multiples of the hop, ``delay`` before."""
        places: list[int] = []
        read: list[Tensor] = []
        ratios: list[float] = []
        keys: list[int] = []
        while self.next_frames[row] < end:
            frame = self.next_frames[row]
            heard = max(frame, self.onsets[row])  # pitch and knobs are not read before the note
            knobs = max(frame - self.delay, self.onsets[row])
            knobs -= knobs % self.knob_hop + self.now
            note = self.note_at(pitch, heard)
            key = math.floor(note + 0.5)
            if self.keyed:
                key = min(max(key, self.lowest), self.highest)
                away = note - key
            elif self.conditioned:
                away = 12.0 * (key // 12 - 1 - self.octave) + (note - key)
            else:
                away = note - self.middle
            places.append(frame - self.now)
            read.append(codes[:, knobs] if knobs >= 0 else self.held[row, :, knobs])
            ratios.append(2.0 ** (away / 12.0) * self.model_rate / self.values[2])
            keys.append(key)
            self.next_frames[row] += self.hop_length
        if len(places) > 0:
            first = self.onsets[row] - self.now
            for number, frame in enumerate(self.frames(row, torch.stack(read), keys, ratios)):
                place = places[number]
                begin = max(place, first)
                pending[0, begin : place + self.frame_length] += frame[begin - place :]

    def begin_states(self, rows: int) -> None:
        raise NotImplementedError

    def begin_state(self, row: int, number: int) -> None:
        """``number`` is the engine's voice number, from 1."""
        raise NotImplementedError

    def frames(self, row: int, codes: Tensor, keys: list[int], ratios: list[float]) -> Tensor:
        """Return next frames, [frames, frame_length], of codes [frames, latents] decoded at MIDI ``keys``.

        ``ratios`` are of output frequencies to decoded ones.
        """
        raise NotImplementedError
