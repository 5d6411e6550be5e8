"""What CLAP and VST3 have in common, over a core that writes down what it is asked, in hosts of ours."""

import numpy as np
import pytest

from .formats import WRAPPERS, middle, playing


@pytest.fixture(params=WRAPPERS)
def play(request, fake_built, tmp_path):
    """A function that plays events: see `playing`."""
    return playing(request.param, fake_built(request.param), tmp_path)


def test_a_session_begins_and_ends_the_core_once(play):
    _, asked, _ = play(samples=100, rate=44100)
    assert asked == ["new", "activate 44100 64", "deactivate", "free"]


def test_every_value_of_a_block_is_set_at_its_sample(play):
    events = [f"{sample} set 3 {sample / 64}" for sample in range(0, 64, 4)]
    said, _, sound = play(*events, samples=128)
    late = int(said[-1].split()[1])
    expected = np.zeros(128, np.float32)
    expected[late : late + 64 : 4] = np.arange(0, 64, 4) / 64 / 64
    np.testing.assert_array_equal(sound[:, 1], expected)


def test_the_transport_is_told_with_tempo_and_where_it_starts(play):
    _, asked, _ = play("0 tempo 90", "64 play 0", "192 stop", "256 play 2", samples=400)
    assert middle(asked) == ["tempo 0 90", "transport 64 1 1 64", "transport 192 0 0 64", "transport 256 1 0 64"]


def test_a_bounce_is_told_before_the_core_is_active_and_has_no_latency(play):
    said, asked, sound = play("7 midi 90 3c 64", offline="")
    activated = ["activate 48000 64", "activate 48000 64 again"]  # anew, once it is known how late the rack is
    assert asked == ["new", "offline 1", *activated, "midi 7 90 3c 64", "deactivate", "free"]
    assert said == ["latency 0"]
    assert np.flatnonzero(sound[:, 0]).tolist() == [7]


def test_a_bounce_has_the_latency_of_its_rack_from_the_beginning(play, tmp_path):
    (tmp_path / "later").write_bytes(b"fake rack=9")
    said, asked, sound = play("7 midi 90 3c 64", load=tmp_path / "later", offline="")
    assert [line for line in said if line.startswith("latency") and line != "latency changed"] == ["latency 9"]
    assert "midi 7 90 3c 64" in asked
    assert np.flatnonzero(sound[:, 0]).tolist() == [7 + 9]


def test_a_state_comes_back_through_streams_that_take_little_at_once(play, tmp_path):
    state = b"fake rack=0" + bytes(i * i % 251 for i in range(200_003))
    (tmp_path / "state").write_bytes(state)
    for piece in (1000, 65536, 65537, 1 << 20):
        said, asked, _ = play(load=tmp_path / "state", save=tmp_path / "again", piece=piece)
        assert "load taken" in said
        assert f"load {len(state)} good" in asked
        assert (tmp_path / "again").read_bytes() == state


def test_what_is_no_state_is_refused(play, tmp_path):
    for no_state in (b"", b"\0", b"fak", bytes(100_000)):
        (tmp_path / "state").write_bytes(no_state)
        said, _, _ = play(load=tmp_path / "state", save=tmp_path / "again")
        assert "load refused" in said
        assert (tmp_path / "again").read_bytes() == b"fake rack=0"


def test_a_bounce_without_a_server_is_no_success(play, tmp_path):
    (tmp_path / "silent").write_bytes(b"fake rack=0 at=0 late=0 standing=2")
    _, asked, _ = play(load=tmp_path / "silent", offline="", refused="the plugin cannot be activated")
    assert asked[-2:] == ["activate 48000 64", "deactivate"]
    play(f"64 load {tmp_path / 'silent'}", "128 offline", refused="the plugin does not process")
    assert not play(f"64 load {tmp_path / 'silent'}")[2].any()  # live it goes on
