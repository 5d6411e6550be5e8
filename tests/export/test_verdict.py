"""What figures mean is said in words, and nothing else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from timbrel.export.reports.verdict import percent, shortcomings, verdict

# ---- words


def lacking(
    error=0.2, anywhere=0.99, seconds=1.0, pitched=1.0, note=65.0, tonal=True, dead=(), keys=True, octave=4, ratio=1.0
):
    place = heard(anywhere) if tonal else {"sounding": None}
    return shortcomings(
        {
            "run": {"tonal": tonal, "octave": octave if tonal else None},
            "recordings": {"event_seconds": seconds, "pitched": pitched, "note": note},
            "reconstruction": {"same_key": {"relative_error": {"value": error}}},
            "spectral_distance": {"ratio": ratio},
            "keys": {"mesh": place} if keys else None,
            "latents": {"dimensions": [{"dead": i in dead} for i in range(8)]},
        }
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"error": 1.0}, "It has learned nothing: spectra of the recordings are no nearer than their mean"),
        ({"ratio": 1.51}, "Random codes do not sound like the recordings (1.5 times as far from unheard ones as"),
        ({"anywhere": 0.79}, "keys are not obeyed: 79.0 % of notes are right there"),
        ({"seconds": 0.3}, "Hits and words are lost: the recordings' sounds last 0.30 s each"),
        ({"pitched": 0.6}, "What has no pitch is left out: 40.0 % of the sound."),
        ({"note": 36.0}, "around C2 (65 Hz), and were moved 2 octaves up, into C4 to B4"),
        ({"note": 36.0}, "where their 2 highest octaves have no room; 'timbrel train' with --set frames.octave=2"),
        ({"note": 40.0, "octave": 3}, "around E2 (82 Hz), and were moved an octave up, into C3 to B3"),
        ({"dead": (1, 2)}, "2 of 8 knobs do nothing (latent 1, 2)."),
        ({"dead": range(8)}, "This model cannot be played"),
    ],
)
def test_each_shortcoming_is_said_and_nothing_else(found, words):
    [line] = lacking(**found)
    assert words in line


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"error": 0.999, "anywhere": 0.81, "seconds": 0.51, "pitched": 0.81},
        {"note": 57.0},
        {"note": 76.0},  # down: nothing is lost
        {"note": 100.0, "octave": 3},
        {"note": 74.0},
        {"note": None, "pitched": 0.0, "tonal": False},
        {"keys": False},
        {"ratio": 1.49},
        {"ratio": None},
    ],
)
def test_an_instrument_without_shortcomings_has_none_said(found):
    assert lacking(**found) == []


def heard(share, octave=None):
    return {"sounding": {"notes": 100, "pitch_class": share, "octave": octave}}


def told(real, anywhere, dead=(), latents=3, tonal=True):
    return verdict(
        {
            "run": {"tonal": tonal},
            "keys": {"training_codes": real, "mesh": anywhere},
            "latents": {"dimensions": [{"dead": i in dead} for i in range(latents)]},
        }
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (told(heard(0.998), heard(0.96)), "Keys are obeyed: the note is the key's in 99.8 % of cases on sounds"),
        (told(heard(1.0), heard(0.85)), "Keys are mostly obeyed"),
        (told(heard(0.55), heard(1.0)), "Keys are not obeyed"),
        (
            told(heard(1.0, 0.3), heard(1.0, 1.0)),
            "Keys are not obeyed: the note is the key's in 100 % of cases (30.0 %",
        ),
        (told(heard(1.0, 1.0), heard(1.0, 1.0)), "100 % of cases (octave included) wherever the knobs stand"),
        (told(heard(1.0), heard(1.0)), "All 3 knobs are in use."),
        (told(heard(1.0), heard(1.0), latents=2), "Both knobs are in use."),
        (told(heard(1.0), heard(1.0), latents=1), "The knob is in use."),
        (told(heard(1.0), heard(1.0), dead=(0, 2)), "2 of 3 knobs do nothing (latent 0, 2)."),
        (told(heard(1.0), heard(1.0), dead=(0, 1, 2)), "This model cannot be played"),
        (told(heard(1.0), heard(1.0), tonal=False), "no clear pitch"),
    ],
)
def test_the_verdict_says_what_the_figures_mean(text, words):
    assert words in text


@given(st.integers(0, 10**6))
@example(999_999)
def test_a_share_reads_100_percent_only_where_nothing_is_missing(millionths):
    share = millionths / 10**6
    text = percent(share)
    assert text.startswith("100") == (share == 1)
    assert float(text.removesuffix(" %")) == pytest.approx(100 * share, abs=0.1001)
