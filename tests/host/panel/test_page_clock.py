"""Times of a page's messages beside those of their arrival."""

import pytest
from timbrel.host.panel.server import PINGS, PageClock


@pytest.fixture
def clock():
    """A clock of a page that started 100 s after this machine, and whose pings take 10 to 200 ms."""
    clock = PageClock()
    for beat in range(PINGS):
        clock.add_ping(250.0 * beat, 100.0 + 0.25 * beat + (0.01 if beat == 3 else 0.2))
    return clock


@pytest.mark.parametrize(("seconds", "late"), [(0.01, False), (0.5, False), (0.52, True), (12.0, True)])
def test_a_message_is_late_half_a_second_after_the_quickest_ping(clock, seconds, late):
    assert clock.is_late(3000.0, 103.0 + seconds) is late


def test_pings_that_hung_with_the_notes_make_none_of_them_early(clock):
    for beat in range(4):  # all that a page sends before it gives up
        clock.add_ping(3000.0 + 250 * beat, 115.0)
        assert clock.is_late(3010.0 + 250 * beat, 115.0)


def test_after_a_page_slept_its_notes_are_in_time_again_within_two_seconds(clock):
    for beat in range(PINGS):
        clock.add_ping(3000.0 + 250 * beat, 133.0 + 0.25 * beat)
    assert not clock.is_late(6000.0, 136.0)


def test_nothing_is_late_without_a_ping_or_a_time(clock):
    assert not PageClock().is_late(0.0, 1e6)
    assert not clock.is_late(None, 1e6)
