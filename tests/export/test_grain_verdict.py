"""The verdict on a texture says what its figures mean."""

import pytest
from timbrel.export.families import grain_tables as grain


def figures_of(ratio=1.1, level=-0.5, excess=-20.0, std=(4.9, 5.1), adversarial=True, dead=()):
    spread = {
        "largest_mean": {"value": 0.1},
        "smallest_std": {"value": std[0]},
        "largest_std": {"value": std[1]},
        "largest_correlation": {"value": 0.1},
    }
    return {
        "run": {"adversarial": adversarial},
        "split": "test",
        "floors": {},
        "spectral_distance": {"ratio": ratio},
        "bands": {"unfiltered": [{"level_db": {"mean": level}, "excess_db": {"mean": excess}}]},
        "codes": {"held_out": spread, "normal": {"deviation": [5.0, 5.0]}},
        "latents": {"dimensions": [{"dead": i in dead} for i in range(2)]},
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (figures_of(), ["sound like the recordings (1.1 times", "Codes fill the prior", "Both knobs are in use"]),
        (figures_of(ratio=23.0, level=-25.0), ["do not sound like the recordings", "dull (25 dB too quiet"]),
        (figures_of(excess=2.0), ["noisy (added power 2 dB over the sound’s own above 3 kHz)"]),
        (figures_of(excess=-3.0), ["noisy (added power 3 dB under"]),
        (figures_of(std=(4.0, 5.0)), ["do not quite fill the prior: deviations of 4.00 to 5.00 where 5 is wanted"]),
        (figures_of(adversarial=False), ["trained toward no prior"]),
        (figures_of(dead=[1]), ["1 of 2 knobs do nothing (latent 1)"]),
        (figures_of(dead=[0, 1]), ["knobs do nothing", "another training.seed"]),
        (figures_of(ratio=None), ["no other sounds to compare with"]),
    ],
)
def test_the_verdict_says_what_the_figures_mean(found, words):
    recordings = {"event_seconds": 2.0, "pitched": 0.1, "note": None}
    run = found["run"] | {"tonal": False}
    text = grain.verdict(found | {"run": run, "recordings": recordings, "relative_error": 0.2}).text
    assert all(part in text for part in words), text


def lacking(error=0.2, seconds=2.0, tonal=False, **figures):
    recordings = {"event_seconds": seconds, "pitched": 0.7 if tonal else 0.1, "note": None}
    return grain.verdict(
        figures_of(**figures)
        | {"recordings": recordings, "relative_error": error}
        | {"run": {"adversarial": True, "tonal": tonal}}
    ).shortcomings


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"error": 1.2}, "It has learned nothing: grains of the recordings are no nearer than their mean"),
        ({"ratio": 1.6}, "Random codes do not sound like the recordings (1.6 times"),
        ({"level": -9.0}, "what it makes is dull (9 dB too quiet above 3 kHz)"),
        ({"seconds": 0.2}, "Hits and words are lost: the recordings' sounds last 0.20 s each, and grains keep"),
        ({"tonal": True}, "Melodies are lost: 70.0 % of the sound has a pitch, and keys do not choose it."),
        ({"std": (4.0, 5.0)}, "Codes do not quite fill the prior: deviations of 4.00 to 5.00 where 5 is wanted."),
        ({"dead": [1]}, "1 of 2 knobs do nothing (latent 1)."),
        ({"dead": [0, 1]}, "Its knobs do nothing"),
    ],
)
def test_each_shortcoming_is_said_and_nothing_else(found, words):
    [line] = lacking(**found)
    assert words in line


@pytest.mark.parametrize("found", [{}, {"ratio": None}, {"ratio": 1.5, "error": 0.99, "seconds": 0.5}])
def test_a_texture_without_shortcomings_has_none_said(found):
    assert lacking(**found) == []
