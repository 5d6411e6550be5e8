"""Strikes of an instrument, as the difference of takes is measured between them."""

import numpy as np
from timbrel.export.fidelity.floors import strikes
from timbrel.host.preset.library import open_patch
from timbrel.host.units import midi_to_hz

HELD = 0.5


def hertz(sound: np.ndarray, rate: int) -> float:
    """The strongest partial's frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * rate / len(sound))


def test_strikes_of_one_note_lie_together_and_last_as_long_as_it_is_held() -> None:
    patch = open_patch("gm-lead")
    rate = patch.model.card.sample_rate
    notes = [(48, 100, HELD), (67, 60, 2 * HELD)]
    low, high = strikes(patch, notes, 3)
    for struck, (key, _, seconds) in zip((low, high), notes, strict=True):
        assert [len(sound) for sound in struck] == [round(seconds * rate)] * 3
        for sound in struck:
            number = hertz(sound, rate) / midi_to_hz(key)
            assert round(number) >= 1
            assert abs(number - round(number)) < 0.04
    assert all(np.abs(sound[: rate // 10]).max() > 1e-3 for sound in low + high)
    assert all(not np.array_equal(low[0], sound) for sound in low[1:])
