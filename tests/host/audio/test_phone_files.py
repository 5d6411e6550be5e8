"""Every command that reads sounds reads the recordings of phones, or its message names the cure."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from timbrel.host.audio.sound_files import read_sound, sound_reader
from timbrel.host.errors import UserError
from timbrel.train.corpus.sound_files import find_sounds

av = pytest.importorskip("av")

RATE = 44100
KINDS = {
    "memo.m4a": ("aac", RATE),
    "CLIP.3GP": ("aac", 22050),
    "page.webm": ("libopus", 48000),
    "old.amr": (None, 8000),  # no longer written by PyAV: `TONE`
}
TONE = Path(__file__).with_name("tone.amr")  # as `save` wrote it with PyAV 18


def tone(rate=RATE, seconds=1.0):
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def save(path, codec="aac", rate=RATE, channels=1, container=None):
    """Write a second of a tone of 440 Hz as phones do."""
    container = container or {".3gp": "3gp"}.get(path.suffix.lower())
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(np.stack([tone(rate)] * channels), "fltp", stream.layout.name)
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return path


@pytest.fixture(scope="module")
def memos(tmp_path_factory):
    """A folder of nothing but a phone's recordings."""
    folder = tmp_path_factory.mktemp("memos")
    for name, (codec, rate) in KINDS.items():
        if codec:
            save(folder / name, codec, rate)
        else:
            shutil.copy(TONE, folder / name)
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_a_phones_recording_is_read_at_its_own_rate(memos, name):
    sound, rate = read_sound(memos / name)
    assert rate == KINDS[name][1]
    assert sound.shape[0] == 1
    assert sound.shape[1] == pytest.approx(rate, abs=0.07 * rate)  # encoders fill whole frames
    middle = sound[0, rate // 4 : 3 * rate // 4]
    strongest = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax() * rate / len(middle)
    assert strongest == pytest.approx(440, abs=3)
    assert 0.2 < np.sqrt(2 * np.square(middle).mean()) < 0.6


def test_a_title_that_is_not_in_utf_8_hides_no_sound(memos, tmp_path):
    with av.open(str(memos / "memo.m4a")) as plain, av.open(str(tmp_path / "plain.m4a"), "w") as titled:
        titled.metadata["title"] = "a tone, e, a"
        copy = titled.add_stream_from_template(plain.streams.audio[0])
        for packet in plain.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copy
                titled.mux(packet)
    data = (tmp_path / "plain.m4a").read_bytes()
    assert data.count(b"a tone, e, a") == 1
    (tmp_path / "memo.m4a").write_bytes(data.replace(b"a tone, e, a", "ä tone, é, à".encode("latin-1")))
    assert np.array_equal(read_sound(tmp_path / "memo.m4a")[0], read_sound(memos / "memo.m4a")[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["take.wav", "take.mp3", "take.ogg", "take.flac", "take.raw", "take"])
def test_the_content_decides_under_any_name(memos, tmp_path, kind, name, monkeypatch):
    path = tmp_path / name
    path.write_bytes((memos / kind).read_bytes())
    assert np.array_equal(read_sound(path)[0], read_sound(memos / kind)[0])
    assert [*find_sounds([tmp_path])] == [name]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"take\S*: it needs PyAV: pip install 'timbrel\[phone\]'"):
        read_sound(path)


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\2\0" + bytes(256)])
def test_aac_without_a_container_is_not_taken_for_mpeg_audio(tmp_path, tag):
    save(tmp_path / "stream.aac", container="adts")
    path = tmp_path / "take.mp3"
    path.write_bytes(tag + (tmp_path / "stream.aac").read_bytes())
    sound, rate = read_sound(path)
    assert (rate, sound.shape[1]) == (RATE, pytest.approx(RATE, abs=0.07 * RATE))


@pytest.mark.parametrize("name", ["take.m4a", "take.raw", "take.ogg", "take"])
def test_a_wav_under_another_name_is_read(tmp_path, name):
    soundfile.write(tmp_path / "take.wav", tone(), RATE, "FLOAT")
    (tmp_path / "take.wav").rename(tmp_path / name)
    assert np.array_equal(read_sound(tmp_path / name)[0][0], tone())


def test_channels_are_kept_and_blocks_are_those_of_the_whole(tmp_path):
    path = save(tmp_path / "stereo.m4a", channels=2)
    whole, _ = read_sound(path)
    assert whole.shape[0] == 2
    with sound_reader(path) as reader:
        assert reader.length == pytest.approx(RATE, abs=0.05 * RATE)
        blocks = list(reader)
    assert np.array_equal(np.concatenate(blocks, axis=1), whole)
    assert np.array_equal(read_sound(path, path.read_bytes())[0], whole)


def test_a_folder_of_a_phones_recordings_is_a_corpus(memos, tmp_path, timbrel):
    ended = timbrel("corpus", "build", memos, "-o", tmp_path / "corpus", "--split", "1/0/0")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("clips            4 ")


def test_a_phones_recording_goes_through_a_model(memos, tmp_path, timbrel):
    ended = timbrel("process", memos / "memo.m4a", "--preset", "gm-chroma-2", "-o", tmp_path / "out.wav")
    assert ended.status == 0, ended.err
    assert soundfile.info(tmp_path / "out.wav").duration == pytest.approx(1, abs=0.07)


def test_without_pyav_the_message_says_what_helps(memos, tmp_path, timbrel, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    cure = "it needs PyAV: pip install 'timbrel[phone]'; or convert it: ffmpeg -i memo.m4a memo.wav"
    with pytest.raises(UserError, match=r"cannot read .*memo\.m4a: it needs PyAV"):
        read_sound(memos / "memo.m4a")
    ended = timbrel("process", memos / "memo.m4a", "--preset", "gm-chroma-2", "-o", tmp_path / "out.wav")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert cure in ended.err
    ended = timbrel("corpus", "build", memos, "-o", tmp_path / "corpus")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert "4 unreadable" in ended.err
    assert "pip install 'timbrel[phone]'" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [b"", b"words", b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:1/a.ts\n", b"ffconcat version 1.0\nfile '/etc/hostname'\n"],
)
def test_what_is_no_recording_is_refused_and_leads_to_no_other_file_and_no_address(tmp_path, content):
    path = tmp_path / "memo.m4a"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*memo\.m4a: it cannot be decoded \(.+\); give a sound file"):
        read_sound(path)


def test_a_recording_that_is_cut_off_is_refused_or_read_as_far_as_it_goes(memos, tmp_path):
    whole = (memos / "memo.m4a").read_bytes()
    for kept in (40, len(whole) // 2, len(whole) - 30):
        path = tmp_path / "cut.m4a"
        path.write_bytes(whole[:kept])
        try:
            sound, rate = read_sound(path)
        except UserError:
            continue
        assert rate == RATE
        assert np.isfinite(sound).all()
