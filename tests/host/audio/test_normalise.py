"""Sound that is kept until its true peak is known."""

import numpy as np
import pytest
from timbrel.host.audio.output import KeptSound

RATE = 48_000


@pytest.mark.parametrize("size", [480, 4800])
def test_the_true_peak_lies_between_samples_and_blocks_come_back_amplified(size):
    quarter = 0.5 * np.sin(np.pi / 2 * np.arange(4800) + np.pi / 4)  # a quarter of the rate: its samples are at 0.354
    sound = np.stack([0.1 * quarter, quarter * np.hanning(4800)]).astype(np.float32)
    assert np.abs(sound).max() < 0.36
    with KeptSound(RATE) as kept:
        for at in range(0, 4800, size):
            kept.write(sound[:, at : at + size])
        assert kept.true_peak() == pytest.approx(0.5, rel=0.01)
        assert np.array_equal(np.concatenate(list(kept.blocks(2.0)), axis=1), 2 * sound)
