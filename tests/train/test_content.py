"""What recordings sound like decides what is made of them: notes, hits and words, or textures."""

import re

import numpy as np
import pytest
from timbrel.train.corpus.content import LOUD_DB, CorpusContent, corpus_content, dying_seconds

from .struck import corpus_of, hat

RATE = 22050


def times(seconds):
    return np.arange(round(seconds * RATE)) / RATE


def harmonic(note, time):
    hz = 440 * 2 ** ((note - 69) / 12)
    return sum(0.6**k * np.sin(2 * np.pi * k * hz * time + k * k) for k in range(1, 6)) / 2


def organ(number):
    """A note that is held, and stops."""
    return 0.3 * harmonic(55 + 3 * number, times(0.8))


def bell(number):
    """A note that dies away."""
    time = times(0.8)
    return 0.5 * np.exp(-6 * time) * harmonic(60 + 2 * number, time)


def kick(number):
    """Low, and of a steady pitch soon after its beginning; all of one, as a machine's are."""
    time = times(0.5)
    return 0.8 * np.exp(-6 * time) * np.sin(2 * np.pi * (55 * time + 0.3 * np.exp(-60 * time)))


def noisy(number):
    return hat(number, 0.3, RATE)


def word(number):
    """Two syllables: a hiss, and two gliding tones with a gap between."""
    time = times(0.5)
    rng = np.random.default_rng(number)
    level = np.exp(-(((time - 0.12) / 0.06) ** 2)) + 0.8 * np.exp(-(((time - 0.36) / 0.05) ** 2))
    glide = harmonic(50 + 6 * np.sin(5 * time + number), time)
    return 0.4 * level * (glide + 0.2 * rng.standard_normal(len(time)))


def loop(number):
    """Eight hits in two seconds."""
    found = np.zeros(2 * RATE)
    for beat in range(8):
        hit = noisy(number + beat)[: RATE // 4]
        found[beat * RATE // 4 :][: len(hit)] += hit
    return found


def rain(number):
    return 0.1 * np.random.default_rng(number).standard_normal(round(1.2 * RATE))


def tick(number):
    """Noise that is cut off at once."""
    return rain(number)[: round(0.04 * RATE)]


def blip(number):
    """A note of ninety milliseconds."""
    return harmonic(72 + number, times(0.09))


def long_hit(number):
    """It dies away, but takes three seconds."""
    return np.exp(-2.3 * times(3.2)) * np.random.default_rng(number).standard_normal(round(3.2 * RATE)) / 4


@pytest.mark.parametrize(
    ("make", "short", "onsets", "held"),
    [
        (organ, False, 1, 1),
        (bell, False, 1, 1),
        (kick, True, 1, None),
        (noisy, True, 1, 0),
        (word, True, 2, None),
        (loop, False, 8, 0),
        (rain, False, 1, 0),
        (long_hit, False, 1, 0),
        (tick, True, 1, 0),
        (blip, True, 1, 1),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_hits_and_words_are_told_from_notes_loops_and_textures(tmp_path, make, short, onsets, held):
    heard = corpus_content(corpus_of(tmp_path / "c", [make(number) for number in range(6)], rate=RATE, pitched=True))
    assert heard.short is short
    assert heard.onsets == onsets
    assert held is None or heard.held_share == held
    assert heard.clips == 6


def test_one_note_struck_again_and_again_is_a_hit_and_a_scale_is_an_instrument(tmp_path):
    one = corpus_content(corpus_of(tmp_path / "one", [bell(4)] * 6, rate=RATE, pitched=True))
    assert (one.held_share, one.notes, one.median_note, one.short) == (1.0, 1, pytest.approx(68, abs=0.1), True)
    scale = corpus_content(
        corpus_of(tmp_path / "scale", [bell(number) for number in range(6)], rate=RATE, pitched=True)
    )
    assert (scale.notes, scale.median_note, scale.short) == (6, pytest.approx(65, abs=0.1), False)


@pytest.mark.parametrize(
    ("makers", "mixed"),
    [
        ([organ] * 6, False),
        ([bell] * 6, False),
        ([kick, noisy] * 3, False),
        ([word] * 6, False),
        ([rain] * 6, False),
        ([organ, bell] * 3, False),
        ([organ, organ, rain, rain, noisy, noisy], True),
        ([rain, rain, noisy, noisy], True),
        ([organ, organ, noisy, noisy], True),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else "-".join(make.__name__ for make in value),
)
def test_a_folder_of_mixed_kinds_is_said_to_be_one(tmp_path, makers, mixed):
    clips = [make(number) for number, make in enumerate(makers)]
    heard = corpus_content(corpus_of(tmp_path / "c", clips, rate=RATE, pitched=True))
    assert bool(heard.mixed) is mixed
    assert not mixed or "sort them into folders" in heard.mixed


def test_the_shares_of_mixed_kinds_add_up_and_a_short_note_counts_once(tmp_path):
    makers = [bell, bell, bell, organ, noisy, noisy, rain, rain, rain]  # bells are notes that die away
    clips = [make(number) for number, make in enumerate(makers)]
    heard = corpus_content(corpus_of(tmp_path / "c", clips, rate=RATE, pitched=True))
    assert (heard.hit_share, heard.held_share) == (pytest.approx(5 / 9), pytest.approx(4 / 9))
    shares = [int(share) for share in re.findall(r"(\d+) %", heard.mixed)]
    assert shares == [44, 23, 33]


def test_why_is_said_in_figures(tmp_path):
    clips = [noisy(number) for number in range(4)] + [bell(number) for number in range(4)]
    heard = corpus_content(corpus_of(tmp_path / "c", clips, rate=RATE, pitched=True))
    assert heard.text() == (
        f"8 clips of {heard.seconds:.2g} s with 1 onset, 50 % of them steady notes, on 4 different pitches"
    )
    assert heard.short
    two = CorpusContent(
        clips=3,
        seconds=0.4567,
        onsets=2.5,
        held_share=0.0,
        notes=0,
        median_note=np.nan,
        dying_share=1.0,
        hit_share=1.0,
        other_share=0.0,
    )
    assert two.text() == "3 clips of 0.46 s with 2.5 onsets, 0 % of them steady notes, on 0 different pitches"


def test_a_clip_has_died_away_when_it_lies_sixty_decibels_under_its_loudest(tmp_path):
    """Exponential decays: of one a second, 60 dB are down after 6.9 s; levels are taken each hundredth."""
    rates = np.array([10.0, 20.0, 40.0, 80.0])
    seconds = LOUD_DB / 20 * np.log(10) / rates
    clips = [np.exp(-rate * times(1.0)) * np.sin(2 * np.pi * 2000 * times(1.0)) for rate in rates]
    corpus = corpus_of(tmp_path / "c", clips, rate=RATE)
    assert corpus_content(corpus).seconds == pytest.approx(np.median(seconds), abs=0.011)
    for share in (0.0, 0.5, 0.9, 1.0):
        assert dying_seconds(corpus, share) == pytest.approx(np.quantile(seconds, share), abs=0.011)


def test_a_sound_that_ends_within_a_step_is_not_dying(tmp_path):
    """A step is a hundredth of a second; the last one has three samples, which are as loud as the others."""
    steady = 0.1 * (-1.0) ** np.arange(100 * round(RATE / 100) + 3)
    assert corpus_content(corpus_of(tmp_path, [steady, steady[::-1] / 2], rate=RATE)).dying_share == 0.0


def test_a_silent_clip_is_no_trouble(tmp_path):
    heard = corpus_content(corpus_of(tmp_path / "c", [np.zeros(5000), *map(noisy, range(4))], rate=RATE))
    assert heard.onsets == 1
    assert heard.short
