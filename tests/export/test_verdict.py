"""What figures mean is said in words, and nothing else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from timbrel.export.families import chroma_tables as chroma
from timbrel.export.families import classifier as classifier
from timbrel.export.families import clip as clip
from timbrel.export.families import loops as loops
from timbrel.export.reports import measure
from timbrel.export.reports.measure import percent

# ---- words


def lacking(
    error=0.2, anywhere=0.99, seconds=1.0, pitched=1.0, note=65.0, tonal=True, dead=(), keys=True, octave=4, ratio=1.0
):
    place = heard(anywhere) if tonal else {"sounding": None}
    return chroma.verdict(
        {
            "run": {"tonal": tonal, "octave": octave if tonal else None},
            "recordings": {"event_seconds": seconds, "pitched": pitched, "note": note},
            "reconstruction": {"same_key": {"relative_error": {"value": error}}},
            "spectral_distance": {"ratio": ratio},
            "floors": {},
            "keys": {"training_codes": place, "mesh": place} if keys else None,
            "latents": {"dimensions": [{"dead": i in dead} for i in range(8)]},
        }
    ).shortcomings


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"error": 1.0}, "It has learned nothing: spectra of the recordings are no nearer than their mean"),
        ({"ratio": 1.51}, "Random codes do not sound like the recordings (1.5 times as far from unheard ones as"),
        ({"anywhere": 0.79}, "Keys are not obeyed: the note is the key's in 79.0 % of cases"),
        ({"anywhere": 0.94}, "Keys are mostly obeyed: the note is the key's in 94.0 % of cases"),
        ({"seconds": 0.3}, "Hits and words are lost: the recordings' sounds last 0.30 s each"),
        ({"pitched": 0.6}, "What has no pitch is left out: 40.0 % of the sound."),
        ({"note": 36.0}, "around C2 (65 Hz), and were moved 2 octaves up, into C4 to B4"),
        ({"note": 36.0}, "where their 2 highest octaves have no room; 'timbrel train' with --set frames.octave=2"),
        ({"note": 40.0, "octave": 3}, "around E2 (82 Hz), and were moved an octave up, into C3 to B3"),
        ({"dead": (1, 2)}, "2 of 8 knobs do nothing (latent 1, 2)."),
        ({"dead": range(8)}, "Its knobs do nothing"),
    ],
)
def test_each_shortcoming_is_said_and_nothing_else(found, words):
    [line] = lacking(**found)
    assert words in line


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"error": 0.999, "anywhere": 0.95, "seconds": 0.51, "pitched": 0.81},
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
    return chroma.verdict(
        {
            "run": {"tonal": tonal, "octave": None},
            "recordings": {"event_seconds": 1.0, "pitched": 1.0, "note": None},
            "reconstruction": {"same_key": {"relative_error": {"value": 0.2}}},
            "spectral_distance": {"ratio": 1.0},
            "floors": {},
            "keys": {"training_codes": real, "mesh": anywhere},
            "latents": {"dimensions": [{"dead": i in dead} for i in range(latents)]},
        }
    ).text


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
        (told(heard(1.0), heard(1.0), dead=(0, 1, 2)), "Its knobs do nothing"),
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


# ---- clips


def kit(off=4.0, ratio=1.2, error=None, collapsed=False, split="test", trained=20, nearest=7.0, within=(None, None)):
    again = None if off is None else {"log_mel_db": {"median": off}}
    made = {"ratio": ratio, "diversity_db": 0.1, "test_diversity_db": 17.0}
    made |= dict(zip(("label_diversity_db", "test_label_diversity_db"), within, strict=True))
    return clip.verdict(
        {
            "split": split,
            "floors": {},
            "trained": trained,
            "collapsed": collapsed,
            "reconstruction": again if error is None else again | {"relative_error": error},
            "generated": made | {"nearest": {"median": nearest}, "test_nearest": {"median": 6.0}},
        }
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            {"off": 12.5},
            "The network brings recordings back 12.5 dB off; more than 6 dB is another sound. Train longer",
        ),
        ({"ratio": 1.51}, "Random codes do not sound like the recordings (1.5 times as far"),
        ({"error": 1.1}, "It has learned nothing: silence would be nearer"),
        ({"collapsed": True}, "It has collapsed: whatever the code"),
        ({"nearest": 5.9}, "some are remembered"),
        ({"within": (3.9, 8.0)}, "Its codes change little: clips of one label lie 3.9 dB apart, recordings 8.0 dB."),
        ({"trained": 1}, "It was trained on one recording"),
    ],
)
def test_each_shortcoming_of_a_kit_is_said_and_nothing_else(found, words):
    [line] = kit(**found).shortcomings
    assert words in line


@pytest.mark.parametrize(
    "found", [{}, {"off": 6.0, "ratio": 1.5, "error": 1.0}, {"off": None}, {"split": "train", "ratio": 1e9}]
)
def test_a_kit_without_shortcomings_has_none_said(found):
    assert kit(**found).shortcomings == []


# ---- all families


def loops_told(within=1.0, beat=1.0):
    row = {"within": within, "beat": beat, "copied_beats": {"waveform": 0.0, "levels": 1.9}}
    return loops.verdict(
        {"floors": {}, "played_on": [row], "endless": {"in_range": 1.0, "constant": 0.0, "repeating": 0.0}, "knobs": []}
    )


def judged(accuracy):
    return classifier.verdict(
        {"floors": {}, "accuracy": accuracy, "clips": 100, "split": "test", "confusion": [[100]], "words": ["kick"]}
    )


@pytest.mark.parametrize(
    ("given", "limit", "step"),
    [
        (lambda off: kit(off=off), measure.CAME_BACK_DB, 0.1),
        (lambda ratio: kit(ratio=ratio), measure.ALIKE, 0.1),
        (lambda share: loops_told(within=share), loops.ALIKE.least, -0.01),
        (lambda share: loops_told(beat=share), loops.BEAT.least, -0.01),
        (judged, classifier.HIGH_ACCURACY, -0.01),
    ],
)
def test_the_sentence_that_a_verdict_says_badly_is_a_shortcoming_from_the_same_figure_on(given, limit, step):
    assert given(limit).shortcomings == []
    bad = given(limit + step)
    [line] = bad.shortcomings
    assert line in bad.text
    assert (
        measure.good_news(dict(zip(("verdict", "shortcomings"), bad, strict=True)))
        == bad.text.replace(line, "").strip()
    )
