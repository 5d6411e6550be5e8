from pathlib import Path

import pytest
from timbrel.export.samples.strikes import (
    KeyZone,
    KnobLayer,
    VelocityZone,
    key_zones,
    knob_layers,
    recorded_keys,
    velocity_zones,
)
from timbrel.host.preset.library import open_patch


def test_velocities_are_covered_once() -> None:
    assert velocity_zones(4) == [VelocityZone(1, 32), VelocityZone(33, 64), VelocityZone(65, 95), VelocityZone(96, 127)]
    assert velocity_zones(1) == [VelocityZone(1, 127)]


@pytest.mark.parametrize("every", [1, 2, 3, 5, 12])
def test_keys_are_covered_once_each_by_a_near_sample(every: int) -> None:
    zones = key_zones(open_patch("gm-oboe"), every, alike=False)
    covered = [key for zone in zones for key in range(zone.low, zone.high + 1)]
    assert covered == list(range(covered[0], covered[-1] + 1))
    assert all(zone.low <= zone.key <= zone.high for zone in zones)
    apart = [abs(key - zone.key) for zone in zones[:-1] for key in range(zone.low, zone.high + 1)]
    assert max(apart) <= every // 2 + 1  # the last one reaches beyond the recorded notes


def test_a_kit_has_its_keys_and_a_sound_of_one_pitch_one_zone() -> None:
    kit = open_patch("drum-kit")
    assert key_zones(kit, 3, alike=False) == [KeyZone(e.key, e.key, e.key, False, e.label) for e in kit.preset.keys]
    assert key_zones(open_patch("lakeside-knobs"), 3, alike=True) == [KeyZone(60, 0, 127, False)]


def test_knobs_have_layers_at_ends_and_rest() -> None:
    assert knob_layers([]) == [KnobLayer()]
    one = knob_layers([0.25])
    assert [(layer.positions, layer.cc_values) for layer in one] == [((0.0,), (0,)), ((0.25,), (32,)), ((1.0,), (127,))]
    assert [(layer.lower_cc_values, layer.upper_cc_values) for layer in one] == [
        ((None,), (32,)),
        ((0,), (127,)),
        ((32,), (None,)),
    ]
    both = knob_layers([0.5, 0.0])
    assert len(both) == 6
    assert len({layer.suffix for layer in both}) == 6


@pytest.mark.parametrize(("rest", "expected"), [(0.001, [0.001, 1.0]), (0.999, [0.0, 0.999]), (0.0, [0.0, 1.0])])
def test_a_rest_near_an_end_is_the_layer_of_that_end(rest: float, expected: list[float]) -> None:
    assert [layer.positions[0] for layer in knob_layers([rest])] == expected


def test_keys_that_are_no_semitones_apart_are_sampled_each(tmp_path: Path) -> None:
    steps = "".join(f" {1200 * step / 19:.4f}\n" for step in range(1, 20))
    (tmp_path / "19.scl").write_text(f"! 19.scl\nnineteen\n 19\n!\n{steps}")
    (tmp_path / "x.toml").write_text('format = 1\nmodel = "gm-partials-8"\n[tuning]\nscale = "19.scl"\n')
    zones = key_zones(open_patch(str(tmp_path / "x.toml")), 3, alike=False)
    assert all(zone.low == zone.key == zone.high and not zone.tracked for zone in zones)
    patch = open_patch(str(tmp_path / "x.toml"))
    lowest, highest = recorded_keys(patch)
    heard = [key for key, pitch in patch.tuning.items() if lowest - 0.5 <= pitch <= highest + 0.5]
    assert [zone.key for zone in zones] == sorted(heard)
    assert len(zones) > 1.5 * (highest - lowest)  # 19 keys an octave, where there are so many
    (tmp_path / "x.toml").write_text('format = 1\nmodel = "gm-partials-8"\n[tuning]\na4_hz = 415.0\n')
    assert all(zone.tracked for zone in key_zones(open_patch(str(tmp_path / "x.toml")), 3, alike=False))


@pytest.mark.parametrize("every", [2, 3, 5, 7])
def test_the_highest_recorded_keys_have_a_near_sample_too(every: int) -> None:
    patch = open_patch("gm-oboe")
    low, high = recorded_keys(patch)
    samples = [zone.key for zone in key_zones(patch, every, alike=False)]
    assert max(min(abs(key - sample) for sample in samples) for key in range(low, high + 1)) <= every // 2
    assert samples[0] == low
    assert samples[-1] <= high
