"""The picture as dots: its size, and what moves in each panel when the performance changes."""

import subprocess
import sys
import threading

import matplotlib
import numpy as np
import pytest
import scipy.signal
from matplotlib.image import imread
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.resynthesis import picture
from timbrel.host.resynthesis.picture import COLUMNS, LOWEST_HZ, ROWS, draw_performance, note_spans, spectrogram

from ..patience import PATIENCE_SECONDS

RATE = 44100
# of the picture's height, from the top: the waveform, the spectrogram, the keys, the latents
PANELS = {"waveform": (0.08, 0.18), "spectrogram": (0.22, 0.5), "keys": (0.54, 0.74), "latents": (0.78, 0.93)}


def tone(frequency_hz, seconds=2.0):
    wave = 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE)) / RATE)
    return np.stack([wave, wave]).astype(np.float32)


NOTES = [NoteOn(0, 0, 60, 100), NoteOff(40_000, 0, 60), NoteOn(30_000, 0, 67, 30), NoteOff(80_000, 0, 67)]
PATHS = np.stack([np.linspace(0, 1, 50), np.linspace(1, 0.5, 50)], axis=1).astype(np.float32)


def draw(path, audio=None, events=NOTES, latents=PATHS, names=("brightness", "breath"), title="A picture"):
    draw_performance(path, tone(440) if audio is None else audio, RATE, events, latents, names, title, overwrite=True)
    return imread(path)[:, :, :3]


def panel(dots, name):
    """The dots of a panel between its time axis' ends."""
    top, bottom = (round(part * dots.shape[0]) for part in PANELS[name])
    return dots[top:bottom, round(0.07 * dots.shape[1]) : round(0.89 * dots.shape[1])]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The dots of the picture in which nothing is changed."""
    return draw(tmp_path_factory.mktemp("drawn") / "picture.png")


def test_the_picture_has_its_size_and_no_panel_is_blank(drawn):
    assert drawn.shape == (1275, 1800, 3)
    paper = drawn[2, 2]
    for name in PANELS:
        inked = np.abs(panel(drawn, name) - paper).max(axis=2) > 0.15
        assert 0.005 < inked.mean() < 0.95, name


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("waveform", {"audio": tone(440) * np.linspace(1, 0, 2 * RATE, dtype=np.float32)}),
        ("spectrogram", {"audio": tone(1000)}),
        ("keys", {"events": NOTES[:2]}),
        ("latents", {"latents": PATHS[::-1]}),
    ],
)
def test_a_change_shows_in_its_own_panel(tmp_path, drawn, name, change):
    after = draw(tmp_path / "after.png", **change)
    changed = {other: np.abs(panel(drawn, other) - panel(after, other)).max(axis=2).mean() for other in PANELS}
    assert changed[name] > 0.001
    if name in ("keys", "latents"):
        assert [other for other in PANELS if changed[other] > 0] == [name]


def test_a_second_thread_waits_until_a_picture_is_drawn(tmp_path, drawn, monkeypatch):
    """Matplotlib's settings are those of the process: the second thread would take the first one's for the user's."""
    second_comes, order = threading.Event(), []

    def is_second():
        return threading.current_thread() is second

    class Watched:
        def __enter__(self):
            if is_second():
                second_comes.set()
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    def draw_waveform(*arguments):
        order.append(is_second())
        if is_second():
            second_comes.set()
        else:
            second.start()
            assert second_comes.wait(PATIENCE_SECONDS)
        original(*arguments)
        order.append(is_second())

    lock, original = picture.DRAWING, picture._draw_waveform
    monkeypatch.setattr(picture, "DRAWING", Watched())
    monkeypatch.setattr(picture, "_draw_waveform", draw_waveform)
    settings = dict(matplotlib.rcParams)
    second = threading.Thread(target=draw, args=[tmp_path / "second.png"])
    assert np.array_equal(draw(tmp_path / "first.png"), drawn)
    second.join()
    assert order == [False, False, True, True]
    assert np.array_equal(imread(tmp_path / "second.png")[:, :, :3], drawn)
    assert dict(matplotlib.rcParams) == settings


def test_a_note_is_drawn_as_long_as_it_sounds(tmp_path):
    dots = draw(tmp_path / "notes.png", events=[NoteOn(RATE // 2, 0, 60, 127), NoteOff(RATE, 0, 60)])
    keys = panel(dots, "keys")
    deep = (keys[:, :, 0] - keys[:, :, 2] > 0.1) & (keys[:, :, 1] < 0.3)  # the colour of the loudest
    columns = np.flatnonzero(deep.any(axis=0))
    assert columns.size / keys.shape[1] == pytest.approx(0.25, abs=0.02)
    assert columns[0] / keys.shape[1] == pytest.approx(0.25, abs=0.02)


def test_a_tone_lies_at_its_pitch_in_the_spectrogram():
    for frequency in (55.0, 440.0, 5000.0, 20_000.0):
        levels = spectrogram(tone(frequency), RATE)
        row = levels[:, 100:-100].mean(axis=1).argmax()
        place = np.log(frequency / LOWEST_HZ) / np.log(RATE / 2 / LOWEST_HZ) * ROWS
        bin_width = RATE / 4096 / frequency / np.log(RATE / 2 / LOWEST_HZ) * ROWS
        assert abs(row + 0.5 - place) <= 1 + bin_width / 2


def test_the_spectrogram_holds_the_mean_power_of_its_bands():
    noise = np.random.default_rng(2).normal(0, 0.1, (2, 4 * RATE)).astype(np.float32)
    noise = scipy.signal.lfilter([1], [1, -0.9], noise).astype(np.float32)  # falls towards high frequencies
    levels = 10 * np.log10(np.mean(10 ** (spectrogram(noise, RATE)[:, 50:-50] / 10), axis=1))
    frequencies, power = scipy.signal.welch(noise.mean(axis=0), RATE, nperseg=4096)
    centres = LOWEST_HZ * (RATE / 2 / LOWEST_HZ) ** ((np.arange(ROWS) + 0.5) / ROWS)
    expected = 10 * np.log10(np.interp(centres, frequencies, power))
    heard = slice(100, -10)
    difference = (levels - expected)[heard]
    assert np.abs(difference - difference.mean()).max() < 1.5


@pytest.mark.parametrize("length", [0, 100])
def test_short_sounds_and_silence_are_drawn(tmp_path, length):
    silence = np.zeros((2, length), np.float32)
    dots = draw(tmp_path / "short.png", audio=silence, events=[], latents=np.zeros((0, 2), np.float32))
    assert dots.shape == (1275, 1800, 3)
    levels = spectrogram(silence, RATE)
    assert levels.shape[0] == ROWS
    assert levels.shape[1] <= COLUMNS
    assert (levels == -80).all()


def test_a_model_without_latents_and_one_with_a_hundred_of_long_names_are_drawn(tmp_path):
    draw(tmp_path / "none.png", latents=np.zeros((5, 0), np.float32), names=[])
    many = np.random.default_rng(0).random((20, 100), dtype=np.float32)
    dots = draw(tmp_path / "many.png", latents=many, names=[f"{index} of a hundred knobs" for index in range(100)])
    assert (dots[:, -5:] == dots[2, 2]).all()  # no name runs off the page


def test_a_note_spans_from_its_start_to_its_release_or_the_next_or_the_end():
    events = [NoteOn(0, 0, 60, 90), NoteOn(10, 0, 60, 80), NoteOff(20, 0, 60), NoteOn(5, 1, 60, 70), NoteOff(7, 0, 61)]
    assert note_spans(events, 100) == [(0, 10, 60, 90), (5, 100, 60, 70), (10, 20, 60, 80)]


def test_an_existing_picture_is_kept_and_other_suffixes_are_refused(tmp_path):
    (tmp_path / "picture.png").write_text("a picture")
    arguments = (tone(440), RATE, NOTES, PATHS, ("a", "b"), "title")
    with pytest.raises(UserError, match=r"picture\.png exists"):
        draw_performance(tmp_path / "picture.png", *arguments)
    with pytest.raises(UserError, match=r"picture\.jpg: give a name ending in \.png"):
        draw_performance(tmp_path / "picture.jpg", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    assert (tmp_path / "picture.png").read_text() == "a picture"


def test_without_matplotlib_the_user_is_told_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"needs matplotlib; install it with: pip install 'timbrel\[picture\]'"):
        draw(tmp_path / "picture.png")


def test_importing_the_module_imports_no_matplotlib_and_drawing_opens_no_window(tmp_path):
    code = (
        "import sys, numpy as np, pathlib, timbrel.host.resynthesis.picture as p; print('matplotlib' in sys.modules);"
        f"p.draw_performance(pathlib.Path({str(tmp_path / 'a.png')!r}), np.zeros((2, 9), 'f4'), 9000, [], "
        "np.zeros((1, 0), 'f4'), [], ''); print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\nFalse\n"
