"""Tables of a model and its settings for the core, taken from the numpy voice: both play with equal numbers."""

import ctypes
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, address_of
from ..engines.spectrum.chord_voicing import ChordVoicing
from ..engines.spectrum.coherent_voicing import (
    APART,
    FORMANT_DB,
    FRAME_SECONDS,
    GOLDEN,
    TOP_BINS,
    CoherentVoicing,
)
from ..engines.spectrum.frames import VoicingSettings
from ..engines.spectrum.noise_voicing import STRIDE, planar_low_frames, planar_white_frames
from ..engines.spectrum.partial_analysis import QUIETEST
from ..kinds.card_fields import KEYS, PITCH_CLASSES
from ..kinds.table import kind_of
from ..model.gesture import band_energy
from ..model.image import noise_angle
from ..model.model import Model
from ..model.partials import HANN_ENERGY
from ..signal import LOBE_STEPS
from ..units import midi_to_hz
from ..voice_library import DECODE_ROWS, Instrument
from .network import Network
from .row_source import RowSource

MOST_BANDS, LANES = 512, 8  # as in core/core.h and core/state.h
BY_KEY, BY_CLASS, UNCONDITIONED = 0, 1, 2  # a row's condition, as in core/core.h
MOST_HOPS = 4  # of the model in a frame: a voice keeps the codes of 16, and receives 8 at a time


class CoreTables:
    """An `Instrument` for the core, and the arrays that it points to."""

    def __init__(self, model: Model, network: Network | None, character: VoicingSettings, chord: bool) -> None:
        """``network`` None: `source` decodes."""
        keyed = model.card.partials is not None
        voicing = ChordVoicing(model, character) if keyed else CoherentVoicing(model, character)
        self.instrument, self._arrays = Instrument(), list[npt.NDArray[Any]]()
        self.hop_length, self.frame_length, self.delay = voicing.hop_length, voicing.frame_length, voicing.delay
        self.moments, self.parts, self.together = voicing.moments, voicing.parts, voicing.together
        self.channels = voicing.channels
        self.source = RowSource(model, voicing.parts_of_frames) if network is None else None
        if network is not None:
            self._set_network(network)
        if self.source is not None:
            # The callback refers to the source alone: live playing disables the garbage collector.
            self._callback = DECODE_ROWS(self.source.answer)
            self.instrument.decode_rows = ctypes.c_void_p.from_buffer(self._callback).value  # a cast makes a cycle
        self._set_sizes(model, voicing, character)
        self._set_partials(model, voicing)
        self._set_noise(voicing, character)
        self.image_curves = voicing.image_curves if voicing.plays_note_images else None
        if voicing.image is not None:
            angle = noise_angle(1 - character.width)
            self._set(image=voicing.image, image_rest=character.image, noise_angle=angle)
        if isinstance(voicing, ChordVoicing):
            self._set_keys(model, voicing, character, chord)

    def _set(self, **values: Any) -> None:
        """Set numbers, or the addresses of arrays."""
        for name, value in values.items():
            setattr(self.instrument, name, self._at(value) if isinstance(value, np.ndarray) else value)

    def _at(self, array: npt.NDArray[Any]) -> int:
        contiguous = np.ascontiguousarray(array)
        self._arrays.append(contiguous)
        return address_of(contiguous)

    def _set_network(self, network: Network) -> None:
        low, high = network.pitch_range
        for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            self.instrument.widths[layer] = weight.shape[1]
            tiles = weight.reshape(len(weight), -1, LANES).swapaxes(0, 1)  # read from first to last
            self.instrument.weights[layer], self.instrument.biases[layer] = self._at(tiles), self._at(bias)
        self._set(
            middles=len(network.pitch_middles),
            slope=network.slope,
            most=network.most,
            pitch_low=low,
            pitch_high=high,
            pitch_unit=network.pitch_unit,
            means=network.means,
            pitch_middles=network.pitch_middles,
        )

    def _set_sizes(self, model: Model, voicing: CoherentVoicing, character: VoicingSettings) -> None:
        card, layout = model.card, voicing.parts_of_frames.layout
        by_class = card.chroma is not None
        self._set(
            latents=len(card.latents),
            directions=0 if model.gestures is None else len(model.gestures.directions),
            spans=np.array(card.spans, np.float64),
            harmonics=layout.harmonics,
            bands=layout.bands,
            bins=voicing.noise_frames.shape[1],
            frame=voicing.frame_length,
            hop=voicing.hop_length,
            taps=voicing.shape.taps,
            lobe_steps=LOBE_STEPS,
            channels=voicing.channels,
            unison=len(voicing.detune),
            keeps_formants=int(character.keep_formants),
            knob_hop=card.hop_length,
            delay=voicing.delay,
            rate=card.sample_rate,
            conditioning=BY_KEY if card.partials is not None else BY_CLASS if by_class else UNCONDITIONED,
            octave=0 if card.chroma is None else card.chroma.octave,
            most_free=layout.most_free,
            model_bins=len(voicing.free_phases) if layout.most_free else 0,
            row_width=layout.width,
            quietest=QUIETEST,
            top_bins=TOP_BINS,
            formant_nepers=FORMANT_DB / 20 * math.log(10),
            golden=GOLDEN,
        )

    def _set_partials(self, model: Model, voicing: CoherentVoicing) -> None:
        card, decoded = model.card, voicing.parts_of_frames
        scale = voicing.frame_length / voicing.model_frame_length
        conditions = KEYS if card.partials is not None else 1 if card.chroma is None else PITCH_CLASSES
        self._set(
            fundamentals=np.nan_to_num(decoded.fundamentals(np.arange(conditions)) * scale),
            orders=decoded.orders,
            orders_by_key=int(decoded.orders.ndim > 1),
            phases=voicing.harmonic_phases,
            free_phases=voicing.free_phases,
            bin_ratio=scale,
            detune=voicing.detune,
            gains=voicing.gains,
            harmonic_signs=voicing.harmonic_signs,
            free_signs=voicing.free_signs,
            lobes=voicing.lobes,
            amplitude=voicing.amplitude,
        )

    def _set_noise(self, voicing: CoherentVoicing, character: VoicingSettings) -> None:
        shape, edges = voicing.shape, voicing.parts_of_frames.low_edges
        low_noise = np.zeros((1, 0, 2, 0), np.float32) if voicing.low_noise is None else planar_low_frames(shape, edges)
        alike = 1 - character.width
        self._set(
            hiss=voicing.hiss,
            lows=low_noise.shape[1],
            low_width=low_noise.shape[3],
            muted_bins=voicing.low_bins,
            lowest_bin=voicing.lowest_bin,
            noise_frames=len(voicing.noise_frames),
            noise_apart=APART,
            noise_stride=STRIDE,
            alike=alike,
            unlike=math.sqrt(1 - alike * alike),
            noise=planar_white_frames(shape),
            low_noise=low_noise,
        )

    def _set_keys(self, model: Model, voicing: ChordVoicing, character: VoicingSettings, chord: bool) -> None:
        """Tables of models of partials alone."""
        layout, scale = model.card.partials, voicing.frame_length / voicing.model_frame_length
        assert layout is not None
        self._set(
            chord=int(chord),
            moves_formants=int(not (character.keep_formants or voicing.transposed)),
            lowest_key=voicing.lowest_key,
            highest_key=voicing.highest_key,
            hann=HANN_ENERGY * scale,
            key_hz=np.array([midi_to_hz(float(key)) for key in range(KEYS)]),
            edges_hz=np.array(layout.edges_hz),
            band_energy=band_energy(model.card),
        )
        self._set_bands(voicing)

    def _set_bands(self, voicing: ChordVoicing) -> None:
        decoded, bins = voicing.decoded, voicing.noise_frames.shape[1]
        counts = np.array([len(bands) for bands, _ in decoded.taps], np.int32)
        tap_bands, tap_shares = np.zeros((len(counts), bins), np.int32), np.zeros((len(counts), bins), np.float32)
        for tap, (bands, shares) in enumerate(decoded.taps):
            tap_bands[tap, : len(bands)] = np.maximum.accumulate(bands)  # shares of 0 may have any band
            tap_shares[tap, : len(bands)] = shares
        self._set(
            spread_taps=len(counts),
            tap_counts=counts,
            tap_bands=tap_bands,
            tap_shares=tap_shares,
            low_spread=decoded.low_spread,
            low_middles=voicing.low_middles.astype(np.int32),
            low_widths=voicing.low_widths,
        )
        if voicing.band_filter is not None:
            self._set(
                filter_bands=voicing.band_filter.bands,
                filter_low=voicing.band_filter.low.astype(np.int32),
                filter_share=voicing.band_filter.share,
            )


def fits_core(model: Model, character: VoicingSettings) -> bool:
    """Return whether the core plays the model's frames so, and its fixed sizes hold its bands and a frame's hops."""
    card, gestures = model.card, model.gestures
    chooses_phase = "phase" in kind_of(card).played
    is_coherent = card.partials is not None or (chooses_phase and character.phase == "coherent")
    bands = max(card.partials.bands if card.partials else 0, len(gestures.bands_hz) if gestures else 0)
    spans_few_hops = FRAME_SECONDS * card.sample_rate <= MOST_HOPS * card.hop_length
    return is_coherent and card.window == "hann" and bands <= MOST_BANDS and spans_few_hops


def decode(library: ctypes.CDLL, memory: int, codes: Array, keys: npt.NDArray[np.int32], width: int) -> Array:
    """Frames of the core's decoder, [rows, width]."""
    frames = np.empty((len(codes), width), np.float32)
    library.core_decode(memory, address_of(codes), address_of(keys), len(codes), address_of(frames))
    return frames
