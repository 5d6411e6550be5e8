"""A parameter of the plugin moves its target over its span, and at its rest to exactly the rest."""

import numpy as np
import pytest
from timbrel.host.plugin.wire import PluginParameter


@pytest.mark.parametrize(("low", "high", "rest"), [(0.0, 1.0, 0.3), (-7.3, 2.1, -0.7), (0.0, 3e4, 1234.567)])
def test_the_place_that_a_host_is_told_of_is_exactly_the_rest(low, high, rest):
    slot = PluginParameter("brightness", "latent.0", low, high, rest)
    told = np.float32(slot.place(rest))
    assert slot.turn(7, float(told)).value == rest
    for beside in (np.nextafter(told, np.float32(0)), np.nextafter(told, np.float32(1))):
        assert slot.turn(7, float(beside)).value == low + float(beside) * (high - low) != rest
    assert [slot.turn(7, place).value for place in (-1.0, 0.0, 1.0, 9.0)] == pytest.approx([low, low, high, high])
