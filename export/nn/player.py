"""The base of every file for nn~: signals in and out, attributes that messages set, and a level.

nn~ reads a TorchScript file by names. A method plays where there is ``METHOD_params``, [channels in, ratio in, channels
out, ratio out]: it is given signals, [batch, channels, samples / ratio], and gives as many samples back. What
``get_attributes`` lists is got by ``get_NAME``, a list, and set by ``set_NAME``, which gives 0; ``NAME_params`` has the
types of its values by number. A setter that fails may end Max or Pd: here all keep within their range, and succeed.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...host.contract.card import Card
from ...host.controls import RAMP_SECONDS
from ...host.engines.request import VOICE_LUFS
from ...host.units import A4_HZ, db_to_gain

INT, FLOAT = 1, 2  # as nn~ numbers types; 0 is bool, 3 str
TOP_NOTE = 127.0  # pitches are kept between MIDI's ends
WRITTEN = {INT: "int", FLOAT: "float"}
# Names that no knob may have: nn~'s own, and those that after get_ or set_ are methods of modules already.
TAKEN = ("methods", "attributes", "none", "submodule", "parameter", "buffer", "extra_state")


class Attribute(NamedTuple):
    """A number that messages get and set: its name, its type, its range and where it rests."""

    name: str
    kind: int
    low: float
    high: float
    rest: float


def named(card: Card, own: Sequence[Attribute] = ()) -> list[Attribute]:
    """Return the attributes of a model's file, in the order of `NnPlayer.values`.

    The first three are of all files: gain (0), the pitch of A4 (1) and the sample rate (2). Then come a kind's ``own``,
    from 3 on, and the knobs.
    """
    found = [
        Attribute("gain_db", FLOAT, -90.0, 24.0, 0.0),
        Attribute("a4_hz", FLOAT, 380.0, 500.0, A4_HZ),  # from below a baroque 392 to above the sharpest of organs
        Attribute("sample_rate", INT, 8000.0, 384000.0, card.sample_rate),
        *own,
    ]
    for place, knob in enumerate(card.latents):
        plain = re.sub(r"\W+", "_", knob.name.lower(), flags=re.ASCII).strip("_")
        plain = plain if plain[:1].isalpha() else f"latent_{place}"
        names, number, name = {*TAKEN, *(attribute.name for attribute in found)}, 2, plain
        while name in names:
            name, number = f"{plain}_{number}", number + 1
        found.append(Attribute(name, FLOAT, knob.low, knob.high, knob.default))
    return found


class NnPlayer(nn.Module):
    """Voices of one note at a time, one for each row of signals; a kind of models says what they sound.

    Signals in are [rows, latents + 2, samples]: what is added to each knob, in the card's units; the pitch, a MIDI note
    with fractions; and the level, 0 to 1, by which the sound is multiplied. A note begins where the level leaves 0, and
    ends where it is 0 again. All that moves is a function of samples: any division into blocks gives the same.
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

    def __init__(self, card: Card, outputs: list[str], own: Sequence[Attribute] = ()) -> None:
        """Take the knobs of a card.

        Args:
            outputs: the names of the channels of its sound.
            own: attributes of its kind, whose values begin at ``values[3]``.
        """
        super().__init__()
        attributes = named(card, own)
        self.names = [attribute.name for attribute in attributes]
        self.values = [float(attribute.rest) for attribute in attributes]
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
        self.plain_gain = db_to_gain(VOICE_LUFS - card.loudness_lufs)
        self.gain = self.gain_target = self.plain_gain
        self.gain_step = 0.0
        self.top_note = TOP_NOTE
        self.now = 0
        self.notes, self.onsets, self.sounding = [0], [0], [False]  # of each row: notes so far, and the last one
        self.register_buffer("pending", torch.zeros(1, len(outputs), 0))

    def forward(self, signals: Tensor) -> Tensor:
        """Return the sound of the next samples, [rows, channels, samples]."""
        rows, count = signals.shape[0], signals.shape[2]
        if rows != len(self.notes):
            self.now, self.notes, self.onsets, self.sounding = 0, [0] * rows, [0] * rows, [False] * rows
            self.pending = torch.zeros(rows, self.pending.shape[1], 0, device=signals.device)
            self.begin_rows(rows, signals.device)
        signals = torch.nan_to_num(signals)
        codes = self.codes(signals)
        pitch = signals[:, self.latents].clamp(0.0, self.top_note)
        level = signals[:, self.latents + 1].clamp(0.0, 1.0)
        kept = max(self.longest(), self.pending.shape[2])
        pending = nn.functional.pad(self.pending, [0, kept + count - self.pending.shape[2]])
        for row in range(rows):
            self.play(row, rows, codes[row], pitch[row], level[row], pending[row])
        self.keep(codes)
        self.pending = pending[:, :, count:].clone()
        self.now += count
        return pending[:, :, :count] * (level * self.gains(count, signals.device))[:, None]

    def play(self, row: int, rows: int, codes: Tensor, pitch: Tensor, level: Tensor, pending: Tensor) -> None:
        """Add what is new of a row's voice to ``pending``, [channels, samples] from this block's first on."""
        heard = level > 0
        before = torch.cat([torch.full([1], self.sounding[row], device=heard.device), heard[:-1]])
        turns: list[int] = torch.nonzero(heard != before).flatten().tolist()
        turns.append(heard.shape[0])
        for turn in turns:
            if self.sounding[row]:
                self.add(row, codes, pitch, pending, self.now + turn)
            if turn < heard.shape[0]:
                self.sounding[row] = not self.sounding[row]
                if self.sounding[row]:
                    pending[:, turn:] = 0
                    self.onsets[row] = self.now + turn
                    self.begin_note(row, self.notes[row] * rows + row)
                    self.notes[row] += 1

    def longest(self) -> int:
        """Return how many samples one sound of many that overlap may last."""
        raise NotImplementedError

    def begin_rows(self, rows: int, device: torch.device) -> None:
        """Be ready for as many voices, of which none sounds."""
        raise NotImplementedError

    def begin_note(self, row: int, number: int) -> None:
        """Begin a note of a row at its onset; ``number`` is how many began before it, by turns in all rows."""
        raise NotImplementedError

    def add(self, row: int, codes: Tensor, pitch: Tensor, pending: Tensor, end: int) -> None:
        """Add to ``pending`` what begins before sample ``end``; codes are [latents, samples], the pitch [samples]."""
        raise NotImplementedError

    def keep(self, codes: Tensor) -> None:
        """Keep what the next block needs of this one's codes, [rows, latents, samples]."""
        raise NotImplementedError

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return ["forward"]

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return self.names

    @torch.jit.export
    def turn(self, place: int, value: float) -> int:
        """Set an attribute, within its range; what is no number leaves it. Return 0, as nn~ asks of setters."""
        if math.isfinite(value):
            self.values[place] = min(max(value, self.lows[place]), self.highs[place])
        return 0

    def codes(self, signals: Tensor) -> Tensor:
        """Return where the knobs stand, [rows, latents, samples]."""
        first = len(self.values) - self.latents
        rest = torch.tensor(self.values[first:], dtype=signals.dtype, device=signals.device)
        low = torch.tensor(self.lows[first:], dtype=signals.dtype, device=signals.device)
        high = torch.tensor(self.highs[first:], dtype=signals.dtype, device=signals.device)
        code = signals[:, : self.latents] + rest[:, None]
        return torch.minimum(torch.maximum(code, low[:, None]), high[:, None])

    def note_at(self, pitch: Tensor, time: int) -> float:
        """Return the pitch at a sample of this block as A4 is tuned, a MIDI note where 69 is 440 Hz."""
        return float(pitch[time - self.now]) + 12.0 * math.log(self.values[1] / 440.0) / math.log(2.0)

    def gains(self, count: int, device: torch.device) -> Tensor:
        """Return the gain of the next samples, [samples]: it glides to where its attribute was sent."""
        wanted = self.plain_gain * 10.0 ** (self.values[0] / 20.0)
        if wanted != self.gain_target:
            self.gain_target = wanted
            self.gain_step = (wanted - self.gain) / (self.ramp_seconds * self.values[2])
        if self.gain == wanted:
            return torch.full([count], wanted, device=device)
        glide = self.gain + self.gain_step * torch.arange(1, count + 1, device=device)
        glide = glide.clamp(max=wanted) if self.gain_step > 0 else glide.clamp(min=wanted)
        self.gain = wanted if bool(glide[-1] == wanted) else float(glide[-1])
        return glide


def script(player: NnPlayer) -> torch.jit.ScriptModule:
    """Return a player as TorchScript, with a getter and a setter for each attribute."""
    scripted = torch.jit.script(player)
    for place, name in enumerate(player.names):
        kind = WRITTEN[int(getattr(player, f"{name}_params"))]
        scripted.define(f"def get_{name}(self) -> List[{kind}]:\n    return [{kind}(self.values[{place}])]\n")
        scripted.define(f"def set_{name}(self, value: {kind}) -> int:\n    return self.turn({place}, float(value))\n")
    return scripted
