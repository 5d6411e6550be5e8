"""What is written is read back by scipy and by soundfile itself; full disks are made with RLIMIT_FSIZE."""

import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from timbrel.host.audio import sound_files
from timbrel.host.audio.sound_files import mp3_bytes, read_sound, sound_writer
from timbrel.host.errors import Failure, UserError

from ...patience import PATIENCE_SECONDS

RATE = 48000
STEP_24 = 2.0**-23  # of a 24-bit sample


@pytest.fixture
def noise():
    return np.random.default_rng(7).uniform(-0.9, 0.9, (2, 3 * 65536 + 17)).astype(np.float32)


def write(path, audio, *, blocks=(), rate=RATE, overwrite=False, as_float=False):
    with sound_writer(path, rate, audio.shape[0], overwrite, as_float) as writer:
        for block in np.split(audio, blocks, axis=1):
            writer.write(block)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_and_flac_hold_24_bits_of_what_was_written(tmp_path, noise, suffix, channels):
    path = tmp_path / f"sound{suffix}"
    write(path, noise[:channels], blocks=[0, 1, 65, 8193, 8193])
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (RATE, channels, "PCM_24", noise.shape[1])
    audio, rate = read_sound(path)
    assert (rate, audio.dtype, audio.shape) == (RATE, np.float32, noise[:channels].shape)
    assert np.abs(audio - noise[:channels]).max() <= STEP_24


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_an_mp3_has_112_kilobits_a_second_and_is_none_at_other_rates(noise, channels, rate):
    data = mp3_bytes(noise[:channels], rate)
    seconds = noise.shape[1] / rate
    assert len(data) * 8 / seconds == pytest.approx(112_000, rel=0.03)
    assert read_sound(Path("noise.mp3"), data)[0].shape == noise[:channels].shape
    assert mp3_bytes(noise[:channels], 2 * rate) is None


def test_scipy_reads_the_wav_and_finds_the_channels_in_order(tmp_path, noise):
    write(tmp_path / "sound.wav", noise)
    rate, samples = scipy.io.wavfile.read(tmp_path / "sound.wav")  # 24 bits at the top of 32
    assert rate == RATE
    assert np.abs(samples.T / 2.0**31 - noise).max() <= STEP_24


def test_a_wav_of_floats_holds_every_bit_of_what_was_written_beyond_full_scale_too(tmp_path, noise):
    noise[:, :3] = [[1e-38, -3.5, 0.1], [1 + 2.0**-23, -1, -0.0]]
    write(tmp_path / "sound.wav", noise, blocks=[0, 1, 65, 8193], as_float=True)
    with warnings.catch_warnings(action="ignore"):  # scipy passes the count of samples over, and says so
        rate, samples = scipy.io.wavfile.read(tmp_path / "sound.wav")
    assert (rate, samples.dtype) == (RATE, np.float32)
    assert samples.T.tobytes() == noise.tobytes()


def test_a_wav_of_floats_tells_nothing_of_the_time_it_was_written_at(tmp_path, noise):
    write(tmp_path / "sound.wav", noise, as_float=True)
    assert b"PEAK" not in (tmp_path / "sound.wav").read_bytes()[:200]


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_a_format_without_floats_is_refused_and_nothing_is_made(tmp_path, noise, suffix):
    with pytest.raises(UserError, match=rf"as 32-bit float: \{suffix} has none; give a name ending in \.wav$"):
        write(tmp_path / f"sound{suffix}", noise, as_float=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_ogg_holds_the_sound_and_its_exact_length(tmp_path, rate):
    time = np.arange(200_000) / rate
    tone = np.stack([0.5 * np.sin(2 * np.pi * 440 * time), 0.25 * np.sin(2 * np.pi * 660 * time)]).astype(np.float32)
    write(tmp_path / "tone.ogg", tone, rate=rate)
    assert soundfile.info(tmp_path / "tone.ogg").subtype == "VORBIS"
    audio, read_rate = read_sound(tmp_path / "tone.ogg")
    assert (read_rate, audio.shape) == (rate, tone.shape)
    assert np.abs(audio - tone).max() < 0.03


def test_four_minutes_of_ogg_in_one_block_are_written(tmp_path):
    silence = np.zeros((1, 240 * RATE), np.float32)  # one call of this size ends libsndfile 1.2 with a stack overflow
    write(tmp_path / "long.ogg", silence)
    assert soundfile.info(tmp_path / "long.ogg").frames == silence.shape[1]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_the_same_sound_gives_the_same_bytes_in_any_blocks(tmp_path, noise, suffix):
    write(tmp_path / f"one{suffix}", noise)
    write(tmp_path / f"two{suffix}", noise, blocks=[100, 4096, 70000])
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_the_same_sound_decodes_to_the_same_samples_from_ogg(tmp_path, noise):
    write(tmp_path / "one.ogg", noise)
    write(tmp_path / "two.ogg", noise, blocks=[100, 4096, 70000])
    np.testing.assert_array_equal(read_sound(tmp_path / "one.ogg")[0], read_sound(tmp_path / "two.ogg")[0])


@pytest.mark.parametrize(("suffix", "frames"), [(".wav", 0), (".flac", 1), (".ogg", 0)])
def test_a_file_without_samples_is_whole(tmp_path, suffix, frames):
    """One of FLAC holds a silent sample: with none in its header its length is unknown."""
    path = tmp_path / f"nothing{suffix}"
    write(path, np.zeros((2, 0), np.float32))
    samples, rate = soundfile.read(path)
    assert (samples.shape, rate) == ((frames, 2), RATE)
    assert not samples.any()


def test_samples_beyond_full_scale_are_clipped_and_do_not_wrap(tmp_path):
    write(tmp_path / "loud.wav", np.array([[-2.0, -1.0, 1.0, 2.0]], np.float32))
    np.testing.assert_allclose(read_sound(tmp_path / "loud.wav")[0], [[-1, -1, 1, 1]], atol=2 * STEP_24)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_sample_that_is_not_finite_ends_the_writing_and_nothing_is_kept(tmp_path, noise, bad, suffix):
    noise[1, 100_000] = bad
    with pytest.raises(Failure, match=r"sound\.\w+: its sound is not finite"):
        write(tmp_path / f"sound{suffix}", noise, blocks=[50_000])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_writing_leaves_what_was_there(tmp_path, noise):
    (tmp_path / "sound.wav").write_bytes(b"mine")

    def interrupted():
        with sound_writer(tmp_path / "sound.wav", RATE, overwrite=True) as writer:
            writer.write(noise)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("sound.wav", b"mine")]


@pytest.mark.parametrize(("name", "reason"), [("sound.mp3", r"suffix '\.mp3'"), ("sound", "a name without suffix")])
def test_other_suffixes_are_refused_with_those_that_work(tmp_path, noise, name, reason):
    with pytest.raises(UserError, match=rf"{reason} names no format; give one of \.wav, \.flac, \.ogg$"):
        write(tmp_path / name, noise)


def test_an_existing_file_is_refused_before_anything_is_written(tmp_path, noise):
    write(tmp_path / "sound.wav", noise)
    with pytest.raises(UserError, match="exists; give another name"):
        write(tmp_path / "sound.wav", noise)
    write(tmp_path / "sound.wav", noise[:1], overwrite=True)
    assert soundfile.info(tmp_path / "sound.wav").channels == 1


def test_a_wav_is_refused_where_its_sizes_would_overflow(tmp_path, noise, monkeypatch):
    monkeypatch.setattr(sound_files, "WAV_BYTES", 6 * 100_000)
    with pytest.raises(UserError, match=r"at most 4 GiB; give a name ending in \.flac"):
        write(tmp_path / "sound.wav", noise, blocks=[50_000, 100_000])
    write(tmp_path / "fits.wav", noise[:, :100_000])
    assert [path.name for path in tmp_path.iterdir()] == ["fits.wav"]


def test_a_wav_of_floats_is_refused_where_its_own_sizes_would_overflow(tmp_path, noise, monkeypatch):
    monkeypatch.setattr(sound_files, "WAV_BYTES", 8 * 100_000)
    with pytest.raises(UserError, match=r"leave out --float, and give a name ending in \.flac"):
        write(tmp_path / "sound.wav", noise[:, :100_001], as_float=True)
    write(tmp_path / "fits.wav", noise[:, :100_000], as_float=True)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_rates_from_8_to_192_khz_are_written_and_others_refused(tmp_path, noise, suffix):
    for rate in (6000, 192_000):
        write(tmp_path / f"{rate}{suffix}", noise[:, :20_000], rate=rate)
        assert soundfile.info(tmp_path / f"{rate}{suffix}").samplerate == rate
    for rate in (5999, 192_001):
        with pytest.raises(UserError, match=rf"at {rate} Hz; give 6000 to 192000 Hz"):
            write(tmp_path / f"sound{suffix}", noise, rate=rate)
    assert len(list(tmp_path.iterdir())) == 2


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from timbrel.host.audio.sound_files import sound_writer
    from timbrel.host.errors import Failure

    noise = np.random.default_rng(7).uniform(-0.9, 0.9, (2, 3000)).astype(np.float32)
    silent = []
    for limit in map(int, sys.argv[2].split()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            with sound_writer(Path(sys.argv[1]), 48000) as writer:
                for block in np.split(noise, 10, axis=1):
                    writer.write(block)
            silent.append(limit)
        except Failure as failure:
            message = str(failure)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(silent, message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_disk_that_fills_anywhere_in_the_file_is_noticed_and_nothing_is_kept(tmp_path, suffix):
    rng = np.random.default_rng(7)
    write(tmp_path / f"whole{suffix}", rng.uniform(-0.9, 0.9, (2, 3000)).astype(np.float32))
    size = (tmp_path / f"whole{suffix}").stat().st_size
    (tmp_path / f"whole{suffix}").unlink()
    slack = 200 if suffix == ".ogg" else 1  # two Ogg files of one sound differ by a few bytes
    limits = [0, 10, 50, 1000, size // 2, size - 1000, size - slack]
    path = tmp_path / f"sound{suffix}"
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path), " ".join(map(str, limits))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert run.stdout == f"[] cannot write {path}: File too large; nothing was kept of it\n", run.stderr
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "subtype"), [("a.aiff", "PCM_16"), ("a.au", "FLOAT"), ("a.mp3", None)])
def test_other_formats_and_rates_are_read(tmp_path, noise, name, subtype):
    soundfile.write(tmp_path / name, noise.T, 44100, subtype)
    audio, rate = read_sound(tmp_path / name)
    assert rate == 44100
    assert audio.shape == noise.shape
    assert audio.flags.c_contiguous


def broken(tmp_path, noise):
    """Files that hold no sound, with the reason that each is refused for."""
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.0]), RATE, "FLOAT")
    soundfile.write(tmp_path / "cut.flac", noise.T, RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "cut.flac").read_bytes()[:5000])
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("these are words\n" * 100)
    (tmp_path / "samples.raw").write_bytes(bytes(1000))
    return {
        "none.wav": "there is no such file",
        ".": "it is a folder",
        "empty.wav": "it holds no sound",
        "nan.wav": "not finite",
        "cut.flac": "give a sound file",
        "zero.wav": "give a sound file",
        "text.wav": "give a sound file",
        "samples.raw": "raw samples do not say their rate",
    }


def test_files_without_sound_are_refused_by_name_in_one_line(tmp_path, noise):
    for name, reason in broken(tmp_path, noise).items():
        with pytest.raises(UserError, match=rf"^cannot read [^\n]*{reason}[^\n]*$") as refusal:
            read_sound(tmp_path / name)
        assert str(tmp_path / name) in str(refusal.value)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, noise, monkeypatch):
    write(tmp_path / "sound.wav", noise)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", denied)
    with pytest.raises(UserError, match=r"sound\.wav: Permission denied"):
        read_sound(tmp_path / "sound.wav")


@pytest.mark.parametrize("loud", [1e11, -3e38])
def test_a_sample_beyond_all_sound_is_refused(tmp_path, noise, loud):
    noise[0, 100_000] = loud
    soundfile.write(tmp_path / "loud.wav", noise.T, RATE, subtype="FLOAT")
    with pytest.raises(
        UserError, match=rf"loud\.wav: it holds a sample of {re.escape(f'{abs(loud):.1g}')}, where 1 is"
    ):
        read_sound(tmp_path / "loud.wav")


def test_a_sound_in_whole_numbers_as_floats_is_read(tmp_path, noise):
    soundfile.write(tmp_path / "loud.wav", noise.T * 2.0**31, RATE, subtype="FLOAT")
    assert read_sound(tmp_path / "loud.wav")[0] == pytest.approx(noise * 2.0**31)


def test_what_a_library_in_c_says_of_a_broken_file_is_not_seen(tmp_path, noise):
    path = tmp_path / "broken.mp3"
    soundfile.write(path, noise.T, RATE, subtype="MPEG_LAYER_III")
    data = bytearray(path.read_bytes())
    for at in range(2000, len(data), 97):
        data[at] ^= 0x55
    path.write_bytes(data)
    code = f"import soundfile; soundfile.read({str(path)!r})"
    assert "libmpg123" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    code = (
        "import sys\nfrom pathlib import Path\nfrom timbrel.host.audio.sound_files import read_sound\n"
        f"from timbrel.host.errors import UserError\ntry: read_sound(Path({str(path)!r}))\n"
        "except UserError: pass\nprint('still heard', file=sys.stderr)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == "still heard\n"
