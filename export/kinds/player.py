"""Base classes of nn~ files: signals, attributes set by messages, gain, and overlap-add voices in TorchScript.

nn~ finds methods by name. A method with ``METHOD_params``, [channels in, ratio in, channels out, ratio out], maps
signals, [batch, channels, samples / ratio], to as many samples. ``get_attributes`` lists attributes; ``get_NAME``
returns a list, ``set_NAME`` 0, and ``NAME_params`` holds the value types as numbers. A failing setter may crash Max or
Pd: setters clamp, and never fail.

Frames start and read controls at the samples of `SpectrumEngine`, so any block size gives its sound.

A model's stereo image is a table, ``image``, that other players lack: TorchScript compiles a branch on
``hasattr(self, "image")`` for stereo models alone.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...host.engines.engine import Engine, EngineRequest, engine_of, voice_gain
from ...host.engines.spectrum.engine import Voicing
from ...host.kinds.card_fields import IMAGE_BANDS
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.preset.preset import PlaySettings
from ...host.ramps import RAMP_SECONDS
from ...host.spectra import mel_edges_hz
from ...host.units import A4_HZ, MIDDLE_C

INT, FLOAT = 1, 2  # type numbers of nn~; 0 is bool, 3 str
STEREO = ["(signal) left", "(signal) right"]  # outlets
TOP_NOTE = 127.0  # pitches are clamped to MIDI's range
TYPE_NAMES = {INT: "int", FLOAT: "float"}
# Reserved knob names: nn~'s own, and those that with get_ or set_ are methods of modules.
RESERVED_NAMES = ("methods", "attributes", "none", "submodule", "parameter", "buffer", "extra_state")


class Attribute(NamedTuple):
    """A number that messages get and set, ``default`` by default."""

    name: str
    kind: int
    low: float
    high: float
    default: float


def list_attributes(card: Card, kind_attributes: Sequence[Attribute] = ()) -> list[Attribute]:
    """Return a model's attributes in the order of `NnPlayer.values`.

    Gain (0), the pitch of A4 (1), the sample rate (2), then a kind's ``kind_attributes``, then the knobs.
    """
    attributes = [
        Attribute("gain_db", FLOAT, -90.0, 24.0, 0.0),
        Attribute("a4_hz", FLOAT, 380.0, 500.0, A4_HZ),  # from below a baroque 392 Hz to above the sharpest organs
        Attribute("sample_rate", INT, 8000.0, 384000.0, card.sample_rate),
        *kind_attributes,
    ]
    for latent_index, knob in enumerate(card.latents):
        plain_name = re.sub(r"\W+", "_", knob.name.lower(), flags=re.ASCII).strip("_")
        plain_name = plain_name if plain_name[:1].isalpha() else f"latent_{latent_index}"
        used_names, suffix_number, name = (
            {*RESERVED_NAMES, *(attribute.name for attribute in attributes)},
            2,
            plain_name,
        )
        while name in used_names:
            name, suffix_number = f"{plain_name}_{suffix_number}", suffix_number + 1
        attributes.append(Attribute(name, FLOAT, knob.low, knob.high, knob.default))
    return attributes


class NnPlayer(nn.Module):
    """Monophonic voices, one per row of signals; subclasses synthesize them.

    Input is [rows, latents + 2, samples]: knobs' offsets, in the card's units; the pitch, as a fractional MIDI note;
    and the level, 0 to 1, a factor. A note lasts while the level is above 0. Block sizes do not change the output.
    """

    forward_params: Tensor
    forward_input_labels: list[str]
    forward_output_labels: list[str]
    names: list[str]
    values: list[float]
    lows: list[float]
    highs: list[float]
    pending: Tensor
    notes: list[int]
    onsets: list[int]
    sounding: list[bool]

    def __init__(self, card: Card, outputs: list[str], kind_attributes: Sequence[Attribute] = ()) -> None:
        super().__init__()
        attributes = list_attributes(card, kind_attributes)
        self.names = [attribute.name for attribute in attributes]
        self.values = [float(attribute.default) for attribute in attributes]
        self.lows = [float(attribute.low) for attribute in attributes]
        self.highs = [float(attribute.high) for attribute in attributes]
        self.forward_input_labels = [
            *(f"(signal) added to {knob.name}, {knob.low:g} to {knob.high:g}" for knob in card.latents),
            "(signal) pitch, a MIDI note",
            "(signal) level, 0 to 1; a note begins where it leaves 0",
        ]
        self.forward_output_labels = outputs
        self.register_buffer("forward_params", torch.tensor([len(card.latents) + 2, 1, len(outputs), 1]))
        for attribute in attributes:
            self.register_buffer(f"{attribute.name}_params", torch.tensor([attribute.kind]))
        self.latents = len(card.latents)
        self.model_rate = card.sample_rate
        self.ramp_seconds = RAMP_SECONDS
        self.plain_gain = voice_gain(card.loudness_lufs)
        self.gain = self.gain_target = self.plain_gain
        self.gain_step = 0.0
        self.top_note = TOP_NOTE
        self.now = 0
        self.notes, self.onsets, self.sounding = [0], [0], [False]  # per row: note count, last onset, active
        self.register_buffer("pending", torch.zeros(1, len(outputs), 0))

    def forward(self, signals: Tensor) -> Tensor:
        """Return samples, [rows, channels, samples]."""
        row_count, sample_count = signals.shape[0], signals.shape[2]
        if row_count != len(self.notes):
            self.now, self.notes, self.onsets, self.sounding = 0, [0] * row_count, [0] * row_count, [False] * row_count
            self.pending = torch.zeros(row_count, self.pending.shape[1], 0, device=signals.device)
            self.begin_rows(row_count, signals.device)
        signals = torch.nan_to_num(signals)
        codes = self.codes(signals)
        pitch = signals[:, self.latents].clamp(0.0, self.top_note)
        level = signals[:, self.latents + 1].clamp(0.0, 1.0)
        tail_samples = max(self.longest(), self.pending.shape[2])
        pending = nn.functional.pad(self.pending, [0, tail_samples + sample_count - self.pending.shape[2]])
        for row in range(row_count):
            self.play(row, row_count, codes[row], pitch[row], level[row], pending[row])
        self.keep(codes)
        self.pending = pending[:, :, sample_count:].clone()
        self.now += sample_count
        return pending[:, :, :sample_count] * (level * self.gains(sample_count, signals.device))[:, None]

    def play(self, row: int, row_count: int, codes: Tensor, pitch: Tensor, level: Tensor, pending: Tensor) -> None:
        """Add new sound to ``pending``, [channels, samples]."""
        is_audible = level > 0
        was_audible = torch.cat([torch.full([1], self.sounding[row], device=is_audible.device), is_audible[:-1]])
        change_offsets: list[int] = torch.nonzero(is_audible != was_audible).flatten().tolist()
        change_offsets.append(is_audible.shape[0])
        for change_offset in change_offsets:
            if self.sounding[row]:
                self.add(row, codes, pitch, pending, self.now + change_offset)
            if change_offset < is_audible.shape[0]:
                self.sounding[row] = not self.sounding[row]
                if self.sounding[row]:
                    pending[:, change_offset:] = 0
                    self.onsets[row] = self.now + change_offset
                    self.begin_note(row, self.notes[row] * row_count + row)
                    self.notes[row] += 1

    def longest(self) -> int:
        """Most samples of one overlapping part."""
        raise NotImplementedError

    def begin_rows(self, rows: int, device: torch.device) -> None:
        """Begin the state of as many ``rows``."""
        raise NotImplementedError

    def begin_note(self, row: int, number: int) -> None:
        """``number`` counts earlier notes, interleaved over rows."""
        raise NotImplementedError

    def add(self, row: int, codes: Tensor, pitch: Tensor, pending: Tensor, end: int) -> None:
        """Add parts before sample ``end``; codes are [latents, samples], pitch [samples]."""
        raise NotImplementedError

    def keep(self, codes: Tensor) -> None:
        """Keep codes, [rows, latents, samples], for the next block."""
        raise NotImplementedError

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return ["forward"]

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return self.names

    @torch.jit.export
    def turn(self, attribute_index: int, value: float) -> int:
        """Set a clamped attribute; skip infinities and NaN."""
        if math.isfinite(value):
            self.values[attribute_index] = min(max(value, self.lows[attribute_index]), self.highs[attribute_index])
        return 0

    def codes(self, signals: Tensor) -> Tensor:
        """Return knob positions, [rows, latents, samples]."""
        first_knob_index = len(self.values) - self.latents
        knob_values = torch.tensor(self.values[first_knob_index:], dtype=signals.dtype, device=signals.device)
        low = torch.tensor(self.lows[first_knob_index:], dtype=signals.dtype, device=signals.device)
        high = torch.tensor(self.highs[first_knob_index:], dtype=signals.dtype, device=signals.device)
        knob_codes = signals[:, : self.latents] + knob_values[:, None]
        return torch.minimum(torch.maximum(knob_codes, low[:, None]), high[:, None])

    def note_at(self, pitch: Tensor, time: int) -> float:
        """Return the pitch under the A4 tuning, as a MIDI note (69 = 440 Hz)."""
        return float(pitch[time - self.now]) + 12.0 * math.log(self.values[1] / 440.0) / math.log(2.0)

    def gains(self, sample_count: int, device: torch.device) -> Tensor:
        """Return gains, [samples], ramped to the attribute."""
        target_gain = self.plain_gain * 10.0 ** (self.values[0] / 20.0)
        if target_gain != self.gain_target:
            self.gain_target = target_gain
            self.gain_step = (target_gain - self.gain) / (self.ramp_seconds * self.values[2])
        if self.gain == target_gain:
            return torch.full([sample_count], target_gain, device=device)
        gliding_gains = self.gain + self.gain_step * torch.arange(1, sample_count + 1, device=device)
        gliding_gains = (
            gliding_gains.clamp(max=target_gain) if self.gain_step > 0 else gliding_gains.clamp(min=target_gain)
        )
        self.gain = target_gain if bool(gliding_gains[-1] == target_gain) else float(gliding_gains[-1])
        return gliding_gains


def engine_of_notes(model: Model) -> Engine[Any]:
    """Return the host engine that equals an nn~ file: phases are noise for spectra, coherent for partials."""
    default_code = [knob.default for knob in model.card.latents]
    return engine_of(model, EngineRequest(default_code, PlaySettings(phase="noise"), None, 0.0))


def add_image(player: NnPlayer, card: Card) -> None:
    """Give a player of a stereo model the tables of `side_curves`."""
    if card.image is not None:
        player.register_buffer("image", torch.from_numpy(np.array(card.image)))
        player.register_buffer("image_hz", torch.from_numpy(mel_edges_hz(card.sample_rate, IMAGE_BANDS)[1:-1]))


def side_curves(image: Tensor, image_hz: Tensor, hertz: Tensor) -> Tensor:
    """Return the gains of the left and the right side and half of their angle in radians, [3, frequencies].

    They equal `timbrel.host.model.image.image_curves` at an amount of 1.

    Args:
        image: by band, [32, 2]: level of the left side over the right one in dB, and correlation of both sides.
        image_hz: the bands' middles, [32].
        hertz: [frequencies].
    """
    lower_bands = (torch.searchsorted(image_hz, hertz, right=True) - 1).clamp(0, image_hz.shape[0] - 2)
    shares = (hertz - image_hz[lower_bands]) / (image_hz[lower_bands + 1] - image_hz[lower_bands])
    values = torch.lerp(image[lower_bands], image[lower_bands + 1], shares.clamp(0.0, 1.0)[:, None])
    ratios = torch.pow(10.0, values[:, 0] / 10)  # of powers
    angles = torch.arccos(values[:, 1].clamp(-1.0, 1.0)) / 2
    return torch.stack([torch.sqrt(2 * ratios / (1 + ratios)), torch.sqrt(2 / (1 + ratios)), angles])


def script(player: NnPlayer) -> torch.jit.ScriptModule:
    """Compile a player, getters and setters included."""
    scripted = torch.jit.script(player)
    for attribute_index, name in enumerate(player.names):
        type_name = TYPE_NAMES[int(getattr(player, f"{name}_params"))]
        scripted.define(
            f"def get_{name}(self) -> List[{type_name}]:\n    return [{type_name}(self.values[{attribute_index}])]\n"
        )
        scripted.define(
            f"def set_{name}(self, value: {type_name}) -> int:\n    return self.turn({attribute_index}, float(value))\n"
        )
    return scripted


class FramePlayer(NnPlayer):
    held: Tensor
    next_frames: list[int]
    moments: list[int]

    def __init__(self, card: Card, voicing: Voicing, outputs: Sequence[str] = ("(signal) sound",)) -> None:
        super().__init__(card, list(outputs))
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
        start_offset = self.moments[number // self.together % len(self.moments)]
        silent_frame_start = self.onsets[row] - self.frame_length
        self.next_frames[row] = (
            silent_frame_start + self.hop_length - (silent_frame_start - start_offset) % self.hop_length
        )
        self.begin_state(row, number + 1)

    def keep(self, codes: Tensor) -> None:
        self.held = torch.cat([self.held, codes], 2)[:, :, -self.history :].clone()

    def add(self, row: int, codes: Tensor, pitch: Tensor, pending: Tensor, end: int) -> None:
        """Frames have codes at multiples of the hop, ``delay`` before."""
        frame_offsets: list[int] = []
        frame_codes: list[Tensor] = []
        ratios: list[float] = []
        keys: list[int] = []
        while self.next_frames[row] < end:
            frame = self.next_frames[row]
            pitch_time = max(frame, self.onsets[row])  # pitch and knobs are not read before the note
            knob_offset = max(frame - self.delay, self.onsets[row])
            knob_offset -= knob_offset % self.knob_hop + self.now
            note = self.note_at(pitch, pitch_time)
            key = math.floor(note + 0.5)
            if self.keyed:
                key = min(max(key, self.lowest), self.highest)
                semitones = note - key
            elif self.conditioned:
                semitones = 12.0 * (key // 12 - 1 - self.octave) + (note - key)
            else:
                semitones = note - self.middle
            frame_offsets.append(frame - self.now)
            frame_codes.append(codes[:, knob_offset] if knob_offset >= 0 else self.held[row, :, knob_offset])
            ratios.append(2.0 ** (semitones / 12.0) * self.model_rate / self.values[2])
            keys.append(key)
            self.next_frames[row] += self.hop_length
        if len(frame_offsets) > 0:
            onset_offset = self.onsets[row] - self.now
            for frame_index, frame in enumerate(self.frames(row, torch.stack(frame_codes), keys, ratios)):
                frame_offset = frame_offsets[frame_index]
                begin_offset = max(frame_offset, onset_offset)
                if hasattr(self, "image"):
                    pending[:, begin_offset : frame_offset + self.frame_length] += frame[
                        :, begin_offset - frame_offset :
                    ]
                else:
                    pending[0, begin_offset : frame_offset + self.frame_length] += frame[begin_offset - frame_offset :]

    def begin_states(self, rows: int) -> None:
        """Begin the voicing state of as many ``rows``."""
        raise NotImplementedError

    def begin_state(self, row: int, number: int) -> None:
        """``number`` is the engine's voice number, from 1."""
        raise NotImplementedError

    def frames(self, row: int, codes: Tensor, keys: list[int], ratios: list[float]) -> Tensor:
        """Return next frames, [frames, frame_length], of codes [frames, latents] decoded at MIDI ``keys``.

        With an image they are [frames, 2, frame_length].
        ``ratios`` are of output frequencies to decoded ones.
        """
        raise NotImplementedError
