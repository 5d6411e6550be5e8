"""Grains are the same in blocks of any size, and follow their knobs and seeds."""

import numpy as np
import pytest
from timbrel.host.engines.grain.engine import FILL, GrainEngine
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.kinds.grain import GrainSettings

from .grains import LATENTS, LENGTH, RATE, SHARP, Still, grain_instrument, level_db, sound

AWKWARD = [1, 127, 64, 65, 3, 500, 128, 2000, 63]


@pytest.mark.parametrize("domain", ["samples", "noise"])
def test_any_division_into_blocks_gives_the_same_bytes(make_instrument, grain_model, noise, play, domain):
    rng = np.random.default_rng(2)
    model = noise if domain == "noise" else grain_model(rng.normal(size=LENGTH), rng.normal(size=(LATENTS, LENGTH)))
    knobs = {"density": (1, 2000), "length": (0.01, 0.1), "pitch": (-12, 12), "lowpass_hz": (500, 11025)}
    knobs |= {"shape": (0, 1), "jitter": (0, 1), "spread": (0, 1), "level_jitter": (0, 12), "code_jitter": (0, 2)}
    maps = [
        {"number": 70 + place, "target": f"grain.{name}", "low": low, "high": high}
        for place, (name, (low, high)) in enumerate(knobs.items())
    ]
    maps.append({"number": 20, "target": "latent.0", "low": -4, "high": 4})
    keys = {"grain": {"code_jitter": 0.5, "seed": 7}, "cc": maps, "envelope": SHARP, "play": {"voices": 3}}
    events = [NoteOn(0, 0, 60, 100), NoteOn(700, 0, 67, 80), NoteOff(3000, 0, 60), NoteOn(3001, 0, 48, 127)]
    events += [PitchBend(5000, 0, 4000), NoteOn(5500, 0, 50, 90), NoteOn(6000, 0, 52, 90), NoteOff(9000, 0, 67)]
    events += [
        ControlChange(int(time), 0, int(number), int(value))
        for time, number, value in zip(
            rng.integers(0, 15_000, 60), rng.choice([20, *range(70, 79)], 60), rng.integers(0, 128, 60), strict=True
        )
    ]
    events.sort(key=lambda event: event.time)
    whole, cut, small = (
        play(make_instrument(RATE, model, **keys), events, 16_000, sizes) for sizes in ([16_000], AWKWARD, [128])
    )
    assert level_db(whole) > -60
    assert np.array_equal(whole, cut)
    assert np.array_equal(whole, small)


def test_grains_that_nobody_would_hear_are_not_made(noise):
    calls = []
    decode, noise.decode = noise.decode, lambda latent, chroma: calls.append(len(latent)) or decode(latent, chroma)
    try:
        engine = GrainEngine(noise, GrainSettings(density=500.0, code_jitter=0.1))
        stream = engine.start_stream(60, 0)
        stream.end = 500
        engine.render([stream], Still(), 0, 16_000)
    finally:
        noise.decode = decode
    assert sum(calls) <= FILL + 1 + 500 * 500 / RATE + 1


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [
        ("density", 20, 200),
        ("length", 0.05, 0.01),
        ("shape", 1, 0),
        ("jitter", 1, 0),
        ("pitch", 0, 7),
        ("spread", 0, 1),
        ("level_jitter", 0, 12),
        ("code_jitter", 0, 1),
        ("lowpass_hz", 11025, 1000),
        ("overlap", 0.1, 0.8),
    ],
)
def test_a_knob_leads_each_number_to_what_a_preset_can_say(grain_model, tmp_path, play, target, low, high):
    rng = np.random.default_rng(7)
    model = grain_model(rng.normal(size=LENGTH), rng.normal(size=(LATENTS, LENGTH)))
    maps = [{"number": 20, "target": f"grain.{target}", "low": low, "high": high}]
    turned, said, rest = (
        play(grain_instrument(model, tmp_path, {target: value}, cc=maps), events, 12_000, [512])
        for value, events in (
            (low, [ControlChange(0, 0, 20, 127), NoteOn(2000, 0, 60, 100)]),
            (high, [NoteOn(2000, 0, 60, 100)]),
            (low, [NoteOn(2000, 0, 60, 100)]),
        )
    )
    assert not np.allclose(said, rest, atol=1e-4)
    if target not in ("density", "overlap"):  # whose way there has moved the grid
        assert np.array_equal(turned, said)
    else:
        assert level_db(turned - rest) > -60


def test_seeds_differ_and_one_seed_does_not(noise):
    first, again, other = (sound(noise, 0.2, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first[0], other[0])[0, 1]) < 0.2


def test_all_grains_of_a_block_are_decoded_in_one_run_and_equal_codes_once(noise):
    calls = []
    decode, noise.decode = noise.decode, lambda latent, chroma: calls.append(len(latent)) or decode(latent, chroma)
    try:
        engine = GrainEngine(noise, GrainSettings(density=1000.0, code_jitter=0.2))
        streams = [engine.start_stream(60 + n, 0) for n in range(8)]
        for start in range(0, 4096, 256):
            calls.clear()
            engine.render(streams, Still(), start, 256)
            assert len(calls) == 1
            assert calls[0] > 50
        engine = GrainEngine(noise, GrainSettings(density=1000.0))
        calls.clear()
        streams = [engine.start_stream(60 + n, 0) for n in range(8)]
        for start in range(0, 4096, 256):
            engine.render(streams, Still(), start, 256)
        assert calls == [1]
    finally:
        noise.decode = decode
