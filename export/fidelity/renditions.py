"""What a model makes of a recorded note: played by its key, of its one code, and of the codes of all its frames."""

import contextlib

import numpy as np
import numpy.typing as npt

from ...host.contract.card import Card
from ...host.contract.encoder import Encoder, encoder_path
from ...host.dsp import medoid
from ...host.events import Event, NoteOff, NoteOn
from ...host.midi.file import Performance
from ...host.patch.library import Patch
from ...host.patch.preset import LatentSettings, Preset
from ...host.play.rack import Rack
from ...host.render import blocks
from ...host.through.bend import Codes
from ...host.through.codes import Through, latency_of
from ...host.through.spans import in_deviations
from ...host.through.track import QUIET

Array = npt.NDArray[np.float32]


def played(patch: Patch, key: int, velocity: int, held_seconds: float, length: int) -> Array:
    """Return a key as a patch plays it, [length] at the model's rate, both channels mixed; it goes down at once."""
    rate = patch.model.card.sample_rate
    events: list[Event] = [NoteOn(0, 0, key, velocity), NoteOff(max(1, round(held_seconds * rate)), 0, key)]
    performance = Performance(events=events, length=length, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, rate)) as rack:
        parts = [mix for _, mix, _ in blocks(rack, performance, 0.0, rate)]
    sound = np.concatenate([np.zeros((2, 0), np.float32), *parts], axis=1).mean(0)[:length]
    return np.pad(sound, (0, length - len(sound)))


class Coded:
    """Makes notes anew of their codes: what the decoder can do, were codes always right."""

    def __init__(self, patch: Patch) -> None:
        """Open the encoder.

        Raises:
            UserError: the model's encoder cannot be used.
        """
        self._model, self._folder = patch.model, patch.folder
        self._encoder = Encoder(patch.model)

    def one(self, sound: Array, key: int) -> Array:
        """Return the key held as long as a note sounds, at the note's one code: [samples] for as many.

        The code is the one that `timbrel recover --method network` rests at: of all frames' codes that which is nearest
        to their median. The key is played by a plain preset.
        """
        card = self._model.card
        codes = self._encoder.encode(_frames(sound, card)).astype(np.float64)
        code = codes[medoid(codes * in_deviations(card))]
        preset = self._plain(LatentSettings(values=code.tolist()))
        return played(preset, key, 100, len(sound) / card.sample_rate, len(sound))

    def each(self, sound: Array) -> Array:
        """Return a note whose every frame was encoded and decoded, with its own phases and level: as `process` does."""
        patch = self._plain(LatentSettings())
        latency = latency_of(self._model.card)
        return Through(self._model, Codes(patch), "original").process(np.pad(sound, (0, latency)))[latency:]

    def _plain(self, latent: LatentSettings) -> Patch:
        preset = Preset(format=1, model=self._model.path.name, latent=latent)
        return Patch("plain", preset, self._model, self._folder)


def has_encoder(patch: Patch) -> bool:
    """Return whether the model's encoder lies beside it."""
    return encoder_path(patch.model.path).exists()


def _frames(sound: Array, card: Card) -> Array:
    """Return the frames of a sound that lie within 50 dB of its loudest: [frames, frame_length]."""
    padded = np.pad(sound, (0, max(0, card.frame_length - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, card.frame_length)[:: card.hop_length]
    levels = frames.std(axis=1)
    loud: Array = frames[levels >= QUIET * levels.max()]
    return loud
