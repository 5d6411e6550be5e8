"""Sounds that make no instrument are refused at once, by headers and few samples, before torch is loaded."""

import subprocess
import sys

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.train.corpus.content import survey_sounds

from .sounds import sine, write
from .struck import tom


def rise(seconds=1.0):
    """A glide: a sound of no one note."""
    time = np.arange(round(seconds * 44100)) / 44100
    return 0.3 * np.sin(2 * np.pi * (200 * time + 300 * time**2))


@pytest.mark.parametrize(
    ("sounds", "words"),
    [
        ({}, "no sounds in"),
        ({"a.wav": np.zeros(44100), "b.wav": np.zeros(900)}, "can be used: 2 silent (a.wav); a clip needs 0.02 s"),
        ({"a.wav": rise()[:400], "b.wav": rise()[:800]}, "can be used: 2 too short (a.wav); a clip needs 0.02 s"),
        ({"a.wav": sine(220, 1.5)}, "a.wav is the only sound, and one note: A3, 1.5 s; add notes of two other keys"),
        ({"Für Élise ♯.wav": sine(220, 4.0)}, "a dozen is better, or give --family grain for a texture of this sound"),
        ({"a.wav": sine(), "b.wav": sine()}, "a.wav is the only sound (copies count once), and one note"),
        ({"a.wav": rise(), "b.wav": np.zeros(9000)}, "a.wav is the only sound, 1.0 s long; a kit needs two hits"),
    ],
)
def test_what_cannot_become_an_instrument_is_refused_with_what_to_do(tmp_path, sounds, words):
    (tmp_path / "sounds").mkdir()
    for name, samples in sounds.items():
        write(tmp_path / "sounds" / name, samples)
    with pytest.raises(UserError) as caught:
        survey_sounds([tmp_path / "sounds"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_refused_with_their_reason(tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    with pytest.raises(UserError, match=r"1 unreadable \(text\.wav: "):
        survey_sounds([tmp_path])


@pytest.mark.parametrize(
    ("sounds", "line"),
    [
        ({"a.wav": rise(3.0)}, "1 sound, 3.0 s, 44100 Hz"),
        ({"a.wav": sine(), "b.wav": sine(330)}, "2 sounds, 1.0 s, 44100 Hz"),
        ({"ä ö.wav": np.stack([sine(), sine(330)], 1), "b.wav": sine()}, "2 sounds, 1.0 s, 44100 Hz, some in stereo"),
    ],
)
def test_sounds_that_can_be_used_are_counted(tmp_path, sounds, line):
    for name, samples in sounds.items():
        write(tmp_path / name, samples)
    assert survey_sounds([tmp_path]) == line


def test_rates_are_named(tmp_path):
    for rate in (96000, 22050):
        write(tmp_path / f"{rate}.wav", rate=rate)
    assert survey_sounds([tmp_path]) == "2 sounds, 1.0 s, 22050 Hz and 96000 Hz"


def test_one_note_alone_can_become_a_texture(tmp_path):
    write(tmp_path / "a.wav", sine(220, 4.0))
    assert survey_sounds([tmp_path], alone=True) == "1 sound, 4.0 s, 44100 Hz"


def test_only_as_many_files_are_decoded_as_it_takes(tmp_path, monkeypatch):
    for number in range(6):
        write(tmp_path / f"{number}.wav", tom(number))
    decoded = []
    decode = survey_sounds.__globals__["SoundFile"].decode
    monkeypatch.setattr(
        survey_sounds.__globals__["SoundFile"], "decode", lambda self, rate: decoded.append(self) or decode(self, rate)
    )
    survey_sounds([tmp_path])
    assert len(decoded) == 2


def test_make_refuses_before_torch_is_loaded_and_leaves_nothing(tmp_path):
    write(tmp_path / "sounds" / "a.wav", sine(220, 1.5))
    call = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'timbrel'; from timbrel.__main__ import main; main()"
    given = ["make", str(tmp_path / "sounds"), "-o", str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, "-c", call, *given], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "a.wav is the only sound, and one note: A3, 1.5 s" in ended.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"sounds"}
