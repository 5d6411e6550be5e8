"""Sound cards by name, rate and block; a JACK server is one, and what PortAudio would say is made up where needed."""

from types import SimpleNamespace

import numpy as np
import pytest
from timbrel.host.audio import sound_card
from timbrel.host.audio.sound_card import CardSink, NullSink, SoundCard, cards, check_block, find_card
from timbrel.host.errors import UserError

from ...patience import until

KNOWN = [
    SoundCard(0, "HDA Intel PCH: ALC295 Analog", "ALSA", 44100, 2, False),
    SoundCard(1, "Scarlett 2i2 USB", "ALSA", 48000, 2, True),
    SoundCard(2, "Scarlett 18i8 USB", "ALSA", 48000, 8, False),
    SoundCard(3, "system", "JACK Audio Connection Kit", 96000, 2, False, True),
    SoundCard(4, "system monitor", "PulseAudio", 48000, 2, False),
    SoundCard(5, "jack", "ALSA", 48000, 2, False),
    SoundCard(6, "Ardour", "JACK Audio Connection Kit", 96000, 8, False),
    SoundCard(7, "default", "ALSA", 48000, 2, False, True),
    SoundCard(8, "Speakers", "Windows WASAPI", 48000, 2, False),
]


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(sound_card, "cards", lambda: KNOWN)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        (None, 1),
        ("2i2", 1),
        ("intel", 0),
        ("scarlett 18", 2),
        ("system", 3),  # the whole name of one goes before a part of another
        ("JACK", 3),  # a system's name goes before a card's, and means its own default
        ("jack audio connection kit", 3),
        ("jack (alsa)", 5),
        ("alsa", 7),
        ("WASAPI", 8),  # without a default, the first
        ("pulse", 4),
    ],
)
def test_a_card_is_named_by_any_distinctive_part_or_is_the_default(known, name, index):
    assert find_card(name).index == index


def test_a_part_of_several_names_lists_them(known):
    with pytest.raises(UserError, match=r"^--device 'scarlett' fits 2 cards: 'Scarlett 2i2 USB \(ALSA\)', 'Scar.*more"):
        find_card("scarlett")


def test_an_unknown_card_names_the_nearest(known):
    with pytest.raises(UserError, match=r"^no sound card is named 'Scarlet 2i2 USB'; did you mean 'Scarlett 2i2 USB'"):
        find_card("Scarlet 2i2 USB")


def test_without_any_card_null_is_offered(monkeypatch):
    monkeypatch.setattr(sound_card, "cards", list)
    with pytest.raises(UserError, match=r"^no sound card was found; .*--null"):
        find_card(None)


@pytest.mark.parametrize("block", [-1, 0, 15, 8193, 100_000])
def test_a_block_that_no_card_plays_well_is_refused_with_the_range(block):
    with pytest.raises(UserError, match=rf"^--block {block} is out of range \[16, 8192\] samples"):
        check_block(block)
    with pytest.raises(UserError, match="out of range"):
        NullSink(48000, block, 2)


@pytest.mark.parametrize("block", [16, 63, 8192])
def test_blocks_of_the_range_are_taken_as_they_are(block):
    check_block(block)
    assert NullSink(48000, block, 2).block == block


class Stream:
    """A stream that its system calls active, whether or not it calls back."""

    active = True

    def __init__(self):
        self.actions, self.began = set(), 0

    def play_ringbuffer(self, ring):
        self.began += 1
        self.actions.add(self.began)
        return self.began


class Ring:
    read_available = 256

    def write(self, data):
        pass


@pytest.fixture
def sink(monkeypatch):
    """A card of a system that is not there, in a time that is set by hand."""
    monkeypatch.setattr(sound_card, "time", hours := Hours())
    made = object.__new__(CardSink)
    made._stream, made._ring, made._watch, made.ear = Stream(), Ring(), sound_card.ProgressWatch(), None
    made.written, made.underruns, made.hours = 0, 0, hours
    made._action = made._stream.play_ringbuffer(made._ring)
    return made


def looked(sink, seconds, step=0.01, taken=0):
    """Whether it is alive after looks for so long, while it takes so many samples at each."""
    for _ in range(round(seconds / step)):
        sink.hours.now += step
        sink.written += taken
        if not sink.alive:
            return False
    return True


def test_a_card_that_is_called_active_and_takes_nothing_for_a_second_is_lost(sink):
    assert looked(sink, 3, taken=128)
    assert looked(sink, 0.9)
    assert looked(sink, 0.1, taken=128)
    assert looked(sink, 0.9)
    assert not sink.stuck
    assert not looked(sink, 0.3)
    assert sink.stuck
    assert not looked(sink, 1, taken=128)  # its driver is not to be trusted any more


def test_a_card_that_is_slow_to_begin_or_a_process_that_stood_still_is_not_lost(sink):
    assert looked(sink, 15)
    assert looked(sink, 1, taken=128)
    assert looked(sink, 60, step=15, taken=128)
    sink.hours.now += 3600  # the machine slept
    assert sink.alive


def test_a_ring_that_holds_sound_but_is_not_played_begins_again(sink):
    looked(sink, 0.1, taken=128)
    sink._stream.actions.clear()
    looked(sink, 0.1)
    assert sink._stream.actions == {2}
    looked(sink, 0.1)
    assert sink._stream.actions == {2}


class Hours:
    """A clock that is set by hand."""

    now = 5.0

    def perf_counter(self):
        return self.now


def test_nowhere_takes_a_block_a_period_silence_first_and_counts_what_came_too_late(monkeypatch):
    hours = Hours()
    monkeypatch.setattr(sound_card, "time", hours)
    sink = NullSink(48000, 480, 2)
    hours.now += 3
    sink.start()
    assert sink.taken == -960
    hours.now += 0.0101
    assert sink.taken == -480
    for _ in range(2):
        sink.write(np.zeros((2, 480), np.float32))
    hours.now += 0.03
    assert (sink.taken, sink.underruns) == (960, 0)
    hours.now += 0.05
    assert sink.taken == 960  # of those that were written
    sink.write(np.zeros((2, 480), np.float32))
    assert (sink.taken, sink.written, sink.underruns) == (1440, 1440, 1)
    assert sink.alive


def jack_card():
    found = [card for card in cards() if "JACK" in card.api]
    if not found:
        pytest.skip("PortAudio is missing, or built without JACK")
    return found[0]


@pytest.fixture
def portaudio(jack_server):
    """PortAudio that has found the server: it looks for cards when it is initialised, and only then."""
    try:
        import sounddevice
    except (ImportError, OSError):
        pytest.skip("sounddevice or PortAudio is not installed")
    if not sounddevice._initialized:
        sounddevice._initialize()
    sound_card._portaudio.cache_clear()
    sound_card._portaudio()
    yield
    sound_card._portaudio.cache_clear()
    while sounddevice._initialized:  # while the server is there: without it PortAudio aborts the process
        sounddevice._terminate()


def test_a_jack_server_is_a_card_of_its_own_rate(portaudio):
    assert jack_card().rate == 48000


def test_a_rate_that_a_card_does_not_do_lists_those_it_does(portaudio):
    with pytest.raises(
        UserError, match=r"^--rate 44100: sound card 'system' does not play at this rate; it does 48000"
    ):
        CardSink(jack_card(), 44100, 128, 2)


def test_a_card_that_goes_between_opening_and_starting_is_not_alive(monkeypatch):
    class Lost(Exception):
        pass

    class Stream:
        active = False

        def start(self):
            raise Lost("Unanticipated host error")

    monkeypatch.setattr(sound_card, "_portaudio", lambda: SimpleNamespace(PortAudioError=Lost))
    sink = object.__new__(CardSink)
    sink._stream, sink.ear = Stream(), None
    sink.start()
    assert not sink.alive
    sink.close()


def test_a_card_takes_silence_then_what_was_written_and_an_empty_ring_is_counted_once(portaudio, jack_rig):
    sink = CardSink(jack_card(), 48000, 128, 3)
    try:
        assert not sink.underruns
        sink.start()
        ramp = np.arange(1, 128 * 40 + 1, dtype=np.float32).reshape(40, 1, 128) / 8192
        for block in ramp:
            until(lambda: sink.written - sink.taken <= 2 * 128, "room")
            sink.write(np.concatenate([block, -block]))
        assert sink.written == 40 * 128
        assert sink.alive
        assert 0 < sink.latency_seconds < 0.1
        until(lambda: sink.taken == sink.written and sink._action not in sink._stream.actions, "an empty ring")
        before = sink.underruns
        sink.write(np.zeros((2, 128), np.float32))
        assert sink.underruns == before + 1
    finally:
        sink.close()


def test_silence_far_ahead_is_left_out_when_a_sound_comes(portaudio):
    sink = CardSink(jack_card(), 48000, 128, 2)
    try:
        sink.start()
        sink.fill_with_silence()
        until(lambda: sink.taken > 0, "the first block")
        sink.fill_with_silence()
        assert sink.queued_samples > 9600
        sink.leave_out_silence(0)
        assert sink.queued_samples <= 2 * 128
        before = sink.written
        sink.write(np.full((2, 128), 0.5, np.float32))
        assert sink.written == before + 128
        until(lambda: sink.taken == sink.written, "the sound's block")
    finally:
        sink.close()
