"""Channels in antiphase are mixed without cancelling, others to their mean, bit by bit; corpora keep two sides."""

import numpy as np
import pytest
import soundfile
from timbrel.host.audio.mono_mix import mix_to_mono
from timbrel.host.audio.sound_files import end_of, mix_signs, mono, opened, sum_products
from timbrel.train.corpus.sound_files import SoundFile

RATE = 8000
RNG = np.random.default_rng(1)
LEFT, OTHER = RNG.uniform(-0.5, 0.5, (2, 3000)).astype(np.float32)


def save(path, *channels):
    soundfile.write(path, np.stack(channels, 1), RATE, "FLOAT")
    return path


def mixes(path):
    """The mix as commands make it, the channels of corpora, and the corpus's remarks."""
    with opened(path) as reader:
        first = np.concatenate([*mono(reader, RATE)])
    file = SoundFile(path)
    return first, np.concatenate([*file.decode(RATE)]), file.remarks


@pytest.mark.parametrize(
    ("channels", "inverted"),
    [
        ((LEFT, -LEFT), "channel 2 of 2"),
        ((-0.8 * LEFT, LEFT), "channel 1 of 2"),
        ((LEFT, 0.2 * OTHER - 0.9 * LEFT), "channel 2 of 2"),
        ((LEFT, -0.6 * LEFT, -0.4 * LEFT), "channels 2, 3 of 3"),
    ],
)
def test_channels_in_antiphase_keep_their_power_and_are_named(tmp_path, channels, inverted, caplog):
    path = save(tmp_path / "take.wav", *channels)
    first, second, remarks = mixes(path)
    powers = [np.square(channel).mean() for channel in channels]
    assert np.square(first).mean() > 0.5 * np.mean(powers)
    (message,) = caplog.messages
    assert message.startswith(f"{path}: its channels are in antiphase")
    assert message.endswith(f": mixed with {inverted} inverted")
    if len(channels) == 2:
        assert np.array_equal(second, np.stack(channels, 1))
        assert [remark.partition(": ")[2] for remark in remarks] == [
            "both sides are kept, and mono has the power of both"
        ]
    else:
        assert np.array_equal(second[:, 0], first)
        assert [f"{path}: {remark}" for remark in remarks] == [message]
    assert np.array_equal(end_of(path, RATE, 100), first[-100:])
    with opened(path, path.read_bytes()) as reader:
        assert np.array_equal(np.concatenate([*mono(reader, RATE)]), first)


@pytest.mark.parametrize(
    "channels",
    [
        (LEFT, LEFT),
        (LEFT, OTHER),
        (LEFT, -0.5 * LEFT),  # the mean of one that is much weaker keeps a quarter
        (LEFT, OTHER - 0.5 * LEFT),
        (LEFT, *[np.zeros(3000, np.float32)] * 15),
        (np.zeros(3000, np.float32), np.zeros(3000, np.float32)),
    ],
)
def test_other_channels_are_mixed_to_their_mean_bit_by_bit_and_sides_with_the_power_of_both(tmp_path, channels, caplog):
    first, second, remarks = mixes(save(tmp_path / "take.wav", *channels))
    is_stereo = len(channels) == 2 and not np.array_equal(*channels)
    mean = np.stack(channels).mean(axis=0)
    assert np.array_equal(first, mix_to_mono(np.stack(channels), RATE) if is_stereo else mean)
    assert np.array_equal(second, np.stack(channels, 1) if is_stereo else np.stack(channels, 1).mean(1, keepdims=True))
    assert (remarks, caplog.messages) == ([], [])


def test_a_moment_of_antiphase_does_not_invert_a_sound():
    blocks = [np.stack([LEFT, LEFT], 1), np.stack([LEFT, -LEFT], 1)]
    assert mix_signs(sum_products(blocks, 2)) is None


def test_the_end_of_a_sound_is_whole_at_another_rate(tmp_path):
    path = save(tmp_path / "take.wav", np.full(3000, 0.5, np.float32))
    with opened(path) as reader:
        sound = np.concatenate([*mono(reader, 3 * RATE)])
    assert len(sound) == pytest.approx(9000, abs=3)
    assert sound[200:-200] == pytest.approx(0.5, abs=1e-3)
