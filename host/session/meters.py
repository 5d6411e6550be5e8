"""Meters of a player, and its status: level, spectrum, load, latents, latency, MIDI input; sheds voices under load."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..audio.output import LIMIT_KNEE, limited, peaks_of
from ..events import ControlChange, Event, ParameterChange, Timing
from ..play.player import PlayableRack, Player
from ..preset.library import Patch
from ..preset.preset import CCMap
from ..preset.validation import titled
from ..ramps import knob
from ..units import gain_to_db
from .messages import LiveStatus
from .view import PresetView

TIGHT = 0.85  # of a block's time: rendering that takes more, over about `STRAIN_BLOCKS`, steals a voice
STRAIN_BLOCKS = 8
LONGEST_PART = 2.0  # blocks that one block counts at most: if the machine stalls for twenty, no voice is the cause
REMEMBERED = 4096  # blocks of load history: 11 s at 128 samples and 48 kHz
LOOK_SECONDS = 0.1  # between updates of the displayed latents: each takes time from the sound
METER_SECONDS = 0.5  # averaging time of the limiter's share
SPECTRUM_SAMPLES = 4096  # 85 ms at 48 kHz
SPECTRUM_BANDS = 64
SPECTRUM_HZ = 40.0, 16000.0
SPECTRUM_FLOOR_DB = -90.0
WINDOW = np.hanning(SPECTRUM_SAMPLES).astype(np.float32)
MOST_HEARD = 1024  # events between two reports: eight moving controllers send 40


@dataclass
class RenderLoad:
    """Rendering times relative to a block's duration, of `REMEMBERED` blocks."""

    parts: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(REMEMBERED, np.float32))
    count: int = 0

    def add(self, load_ratio: float) -> None:
        self.parts[self.count % REMEMBERED] = load_ratio
        self.count += 1

    def percentiles(self, *percentages: float) -> list[float]:
        """0 before the first block."""
        recent_ratios = self.parts[: min(self.count, REMEMBERED)]
        return (
            [float(load_ratio) for load_ratio in np.percentile(recent_ratios, percentages)]
            if len(recent_ratios)
            else [0.0] * len(percentages)
        )


class LoadShedding:
    def __init__(self) -> None:
        self._strain = 0.0  # mean load of recent blocks

    def add(self, load_ratio: float, player: Player, limit: float = TIGHT) -> None:
        """Add a block's load; steal a voice if the mean exceeds ``limit``."""
        self._strain += (min(load_ratio, LONGEST_PART) - self._strain) / STRAIN_BLOCKS
        if self._strain > limit:
            player.give_up_a_voice()
            self._strain = 0.5 * TIGHT  # observe the effect before stealing another voice


class SeenBlock(NamedTuple):
    player: Player
    patch: Patch | None
    sample_rate: int  # Hz
    samples: int


class Meters:
    """Measured on the rendering thread, read on others."""

    def __init__(self, channel: int) -> None:
        """``channel``: of the rack, 0 to 15, for latents."""
        self._channel = channel
        self.load = RenderLoad()
        self.limited = 0.0  # recent share of samples that the limiter changed
        self.look_seconds = LOOK_SECONDS
        self.latents: list[float] = []
        self.moved: dict[str, float] = {}  # sounding values of modulated targets
        self.last_block: SeenBlock | None = None
        self.last: ControlChange | None = None
        self._rack: PlayableRack | None = None
        self._peaks = np.zeros(2, np.float32)
        self._recent: Array | None = None  # the last samples, mono, from the first request for a spectrum on
        self._unseen = 0  # samples since the last look at the latents
        self._midi_events: deque[Event] = deque(maxlen=MOST_HEARD)

    def add_events(self, events: Iterable[Event]) -> None:
        """Add MIDI input; skip clock and automation."""
        for event in events:
            if isinstance(event, ControlChange):
                self.last = event
            if not isinstance(event, Timing | ParameterChange):
                self._midi_events.append(event)

    def see(
        self, player: Player, sample_rate: int, sound: Array, load_ratio: float, patch: Patch | None = None
    ) -> None:
        """Add a block, [2, n]; ``load_ratio``: rendering time relative to its duration."""
        self.load.add(load_ratio)
        block_peaks = peaks_of(sound)
        self._peaks = np.maximum(self._peaks, block_peaks)
        if self._recent is not None:
            mono_sound = sound[:, -SPECTRUM_SAMPLES:].mean(0)
            self._recent = np.concatenate([self._recent[len(mono_sound) :], mono_sound])
        self._pass(
            player, sample_rate, sound.shape[1], limited(sound) if block_peaks.max() > LIMIT_KNEE else 0.0, patch
        )

    def see_silence(self, player: Player, sample_rate: int, count: int, patch: Patch | None = None) -> None:
        """Add ``count`` silent samples."""
        if self._recent is not None:
            silent_sound = np.zeros(min(count, SPECTRUM_SAMPLES), np.float32)
            self._recent = np.concatenate([self._recent[len(silent_sound) :], silent_sound])
        self._pass(player, sample_rate, count, 0.0, patch)

    def _pass(self, player: Player, sample_rate: int, count: int, limited_share: float, patch: Patch | None) -> None:
        """Add a block's samples; ``limited_share``: share of samples that the limiter changed."""
        self.limited += (limited_share - self.limited) * min(1.0, count / (METER_SECONDS * sample_rate))
        self._unseen += count
        if player.rack is not self._rack or self._unseen >= self.look_seconds * sample_rate:
            self._rack, self._unseen = player.rack, 0
            self.latents = player.rack.current_latents(self._channel)
            self.moved = player.rack.modulated_values(self._channel)
        self.last_block = SeenBlock(player, patch, sample_rate, count)

    def take_events(self) -> list[Event]:
        """New MIDI input, at most the last `MOST_HEARD` events."""
        return [self._midi_events.popleft() for _ in range(len(self._midi_events))]

    def peaks_db(self) -> tuple[float, float]:
        """Left and right peaks since the last call."""
        (left_peak, right_peak), self._peaks = self._peaks.tolist(), np.zeros(2, np.float32)
        return gain_to_db(left_peak), gain_to_db(right_peak)

    def spectrum_db(self) -> Sequence[int]:
        """Levels of `SPECTRUM_BANDS` bands, evenly spaced in octaves; 0 dB is a sine of full scale.

        Empty before the second call: samples are kept only for a display.
        """
        recent_sound, last_block = self._recent, self.last_block
        if recent_sound is None or last_block is None:
            self._recent = np.zeros(SPECTRUM_SAMPLES, np.float32)
            return ()
        bin_amplitudes = np.abs(np.fft.rfft(recent_sound * WINDOW)) * (2 / WINDOW.sum())
        band_edges_hz = np.geomspace(*SPECTRUM_HZ, SPECTRUM_BANDS + 1)
        band_edge_bins = np.minimum(
            np.round(band_edges_hz * SPECTRUM_SAMPLES / last_block.sample_rate), len(bin_amplitudes) - 1
        ).astype(np.intp)
        band_peaks = np.maximum.reduceat(bin_amplitudes[: band_edge_bins[-1] + 1], band_edge_bins[:-1])
        band_levels_db: list[int] = (
            np.rint(20 * np.log10(np.maximum(band_peaks, 10 ** (SPECTRUM_FLOOR_DB / 20)))).astype(int).tolist()
        )
        return band_levels_db


USUAL = {
    5: "glide time",
    7: "volume",
    10: "pan",
    11: "expression",
    64: "sustain pedal",
    65: "glide",
    66: "sostenuto pedal",
}  # of unmapped controllers


def status_at_rest(view: PresetView, device: str) -> LiveStatus:
    """Before the first block."""
    rests_by_target = {control.target: control.rest for control in view.controls}
    return LiveStatus(
        device=device,
        latents=[rests_by_target[f"latent.{latent_index}"] for latent_index in range(len(view.latents))],
        spans=[(low, high) for _, low, high, *_ in view.latents],
        names=["" if title == f"latent {index}" else title for index, (title, *_) in enumerate(view.latents)],
        presets={None: view.name},
        ahead_ms=view.ahead_ms,
        channel=view.channel,
    )


def status(view: PresetView, device: str, player: Player, meters: Meters, sample_rate: int, block: int) -> LiveStatus:
    """After a block."""
    resting_status = status_at_rest(view, device)
    mapper = player.rack.knobs.get(view.channel)
    median_load, p99_load = meters.load.percentiles(50, 99)
    playing_status = replace(
        resting_status,
        rate=sample_rate,
        block=block,
        latency_ms={"instrument": 1000 * player.rack.latency_samples / sample_rate},
        load=(median_load, p99_load),
        voices=player.sounding,
        shed=player.shed,
        held=player.held,
        sounding=player.sounding_keys,
        latents=meters.latents or resting_status.latents,  # none before the first block
        moved=meters.moved,
        peaks_db=meters.peaks_db(),
        limited=meters.limited,
        age_ms=player.rack.age_ms,
    )
    if mapper is None:
        return playing_status
    macro_positions = [(name, mapper.at(f"macro.{macro_index}")) for macro_index, name in enumerate(view.macros)]
    return replace(playing_status, macros=macro_positions, values=mapper.values(), waiting=mapper.waiting())


def last_moved(event: ControlChange, patch: Patch, values: Sequence[float]) -> str:
    """A controller's move and effect; ``values``: latents' targets."""
    effect_texts = [
        _effect(cc_entry, event, values, titled(cc_entry.target, patch.preset, patch.model.card))
        for cc_entry in patch.preset.cc
        if event.number in (cc_entry.number, (cc_entry.number or 0) + 32 if cc_entry.bits == 14 else None)
        and cc_entry.channel in (None, event.channel + 1)
    ]
    return f"CC {event.number} = {event.value} -> {', '.join(effect_texts) or USUAL.get(event.number, 'nothing')}"


def _effect(cc_map: CCMap, event: ControlChange, latents: Sequence[float], name: str) -> str:
    """Text: what a controller does to a target, ``name``."""
    target_kind, _, target_suffix = cc_map.target.partition(".")
    if target_kind == "latent" and int(target_suffix) < len(latents):  # else a preset swap is in progress
        return f"{name} = {latents[int(target_suffix)]:.3g}"
    if cc_map.takeover == "jump" and cc_map.bits == 7:
        return f"{name} = {knob(event.value, *cc_map.ends, cc_map.curve):.3g}"
    return name
