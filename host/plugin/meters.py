"""Meters of a plugin's panel: level, render load, voices and latents, measured on the audio thread."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..dsp import LIMIT_KNEE, limited
from ..events import ControlChange, Event, ParameterChange, Timing
from ..live.messages import LiveStatus
from ..live.render_loop import LOOK_SECONDS, METER_SECONDS, RenderLoad
from ..live.session_state import MOST_HEARD
from ..live.status_report import ahead_ms, what_it_did
from ..play.player import Player
from ..units import gain_to_db
from .loaded_patch import CHANNEL, LoadedPatch, Mode

Array = npt.NDArray[np.float32]
NAME = "plugin"  # shown as the audio device


class Meters:
    """Measures on the audio thread, reports on another."""

    def __init__(self) -> None:
        self._load = RenderLoad()
        self._peak, self._limited = 0.0, 0.0
        self._block = 0
        self._latents: list[float] = []
        self._since_look = 0  # samples
        self._seen: tuple[LoadedPatch, Mode, Player] | None = None
        self._heard: deque[Event] = deque(maxlen=MOST_HEARD)
        self._last: ControlChange | None = None

    def see(
        self, loaded: LoadedPatch, mode: Mode, player: Player, sound: Array, events: Sequence[Event], part: float
    ) -> None:
        count, seen = sound.shape[1], (loaded, mode, player)
        self._load.add(part)
        peak = float(np.abs(sound).max())
        self._peak = max(self._peak, peak)
        now = limited(sound) if peak > LIMIT_KNEE else 0.0
        self._limited += (now - self._limited) * min(1.0, count / (METER_SECONDS * mode.rate))
        self._since_look += count
        if seen != self._seen or self._since_look >= LOOK_SECONDS * mode.rate:
            self._latents, self._since_look = player.rack.current_latents(CHANNEL), 0
        self._seen, self._block = seen, count
        self._heard.extend(event for event in events if not isinstance(event, Timing | ParameterChange))

    def heard(self) -> list[Event]:
        """Return the host's events since the last call, without clock and automation events."""
        heard = [self._heard.popleft() for _ in range(len(self._heard))]
        self._last = next((event for event in reversed(heard) if isinstance(event, ControlChange)), self._last)
        return heard

    def report(self, loaded: LoadedPatch) -> LiveStatus:
        """Return the status of a loaded patch; at rest until the host requests its sound."""
        patch = loaded.patch
        if self._seen is None or self._seen[0] is not loaded:
            return _at_rest(loaded)
        _, mode, player = self._seen
        peak, self._peak = self._peak, 0.0
        p50, p99 = self._load.percentiles(50, 99)
        knobs = player.rack.knobs[CHANNEL]
        headed = player.rack.latent_values(CHANNEL)
        return replace(
            _at_rest(loaded),
            rate=mode.rate,
            block=self._block,
            latency_ms={"instrument": 1000 * player.rack.latency_samples / mode.rate},
            load=(p50, p99),
            voices=player.sounding,
            shed=player.shed,
            held=player.held,
            latents=self._latents,
            peak_db=gain_to_db(peak),
            limited=self._limited,
            last="" if self._last is None else what_it_did(self._last, patch, headed),
            age_ms=player.rack.age_ms,
            values=knobs.values(),
            waiting=knobs.waiting(),
        )


def _at_rest(loaded: LoadedPatch) -> LiveStatus:
    patch = loaded.patch
    return LiveStatus(
        device=NAME,
        rate=0,
        block=0,
        latency_ms={},
        measured_ms=None,
        load=(0.0, 0.0),
        underruns=0,  # the plugin counts them
        voices=0,
        shed=0,
        held=[],
        latents=patch.preset.latent_values(patch.model.card),
        spans=[(latent.low, latent.high) for latent in patch.model.card.latents],
        peak_db=gain_to_db(0.0),
        limited=0.0,
        presets={None: patch.name},
        ports=[],
        last="",
        ahead_ms=ahead_ms(patch),
        channel=CHANNEL,
        values={dial.target: dial.rest for dial in loaded.sheet.dials} | loaded.turned,
    )
