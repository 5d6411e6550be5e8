import numpy as np
import pytest
from timbrel.export.samples.strikes import Loop, find_loop, joined

RATE = 44_100


def levels(sound: np.ndarray, frame: int = 1024) -> np.ndarray:
    count = sound.shape[1] // frame
    power = np.square(sound[:, : count * frame]).reshape(len(sound), count, frame).mean(axis=(0, 2))
    return 10 * np.log10(power + 1e-12)


def repeated(sound: np.ndarray, loop: Loop, times: int = 3) -> np.ndarray:
    body = sound[:, loop.start : loop.end]
    return np.concatenate([sound[:, : loop.end], *[body] * times], axis=1)


def test_a_vibrato_loops_over_whole_periods() -> None:
    times = np.arange(5 * RATE) / RATE
    phase = 2 * np.pi * 220 * times + 3 * np.sin(2 * np.pi * 5 * times)
    sound = (0.2 * np.sin(phase))[np.newaxis].astype(np.float32)
    loop = find_loop(sound, RATE)
    assert loop is not None
    assert loop.likeness > 0.999
    assert (loop.end - loop.start) / RATE * 5 == pytest.approx(round((loop.end - loop.start) / RATE * 5), abs=0.01)
    again = repeated(joined(sound, loop, RATE), loop)
    curve = np.abs(np.diff(again[0], 2))
    assert curve[loop.end - 50 : loop.end + 50].max() <= 1.05 * curve[: loop.end - 100].max()


def test_noise_keeps_its_level_over_the_joint() -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, (2, 5 * RATE)).astype(np.float32)
    loop = find_loop(sound, RATE)
    assert loop is not None
    again = repeated(joined(sound, loop, RATE), loop, 1)
    level = levels(again, 4096)
    assert level.max() - level.min() < 1.0


def test_a_loop_avoids_the_attack_and_is_not_short() -> None:
    times = np.arange(4 * RATE) / RATE
    sound = (0.2 * np.sin(2 * np.pi * 100 * times))[np.newaxis].astype(np.float32)
    sound[:, :RATE] *= 5
    loop = find_loop(sound, RATE)
    assert loop is not None
    assert loop.start >= RATE
    assert loop.end - loop.start >= RATE


@pytest.mark.parametrize("seconds", [0.1, 1.5])
def test_a_short_sound_has_no_loop(seconds: float) -> None:
    assert find_loop(np.ones((1, round(seconds * RATE)), np.float32), RATE) is None


def test_a_loop_of_alike_places_keeps_its_level_where_they_are_joined() -> None:
    sound = (0.2 * np.sin(2 * np.pi * 441 * np.arange(2 * RATE) / RATE))[np.newaxis].astype(np.float32)
    loop = Loop(300 * 100, 700 * 100, 1.0)  # whole periods of 100 samples
    assert np.abs(joined(sound, loop, RATE) - sound[:, : loop.end]).max() < 1e-5
