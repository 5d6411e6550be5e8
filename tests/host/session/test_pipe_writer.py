"""Messages through a pipe whose reader is slow: nobody waits, and of many moves only the last goes."""

import multiprocessing
import random
import threading

import pytest
from timbrel.host.events import NoteOff, NoteOn, ParameterChange
from timbrel.host.session.messages import Events, Load, Report, Stop
from timbrel.host.session.panel_process import MOST_WAITING, MessageQueue, PipeWriter

MUCH = "x" * (1 << 20)  # more than a pipe holds: whoever sends it waits until it is read
MOVES = 20_000


@pytest.fixture
def blocked():
    """A writer whose reader has not read a long message yet, and the reader's end."""
    theirs, ours = multiprocessing.Pipe(duplex=False)
    writer = PipeWriter(ours)
    writer.put(MUCH)
    while not theirs.poll(0):
        pass
    yield writer, theirs
    writer.close()


def test_turns_that_are_overtaken_change_nothing_of_what_each_note_meets():
    """Compared with every turn in its place: the same notes, each with the same values in force."""
    drawn = random.Random(5)
    events = [
        drawn.choice([ParameterChange(0, drawn.randrange(2), drawn.choice("xyz"), drawn.random()), NoteOn(0, 0, 60, 1)])
        for _ in range(500)
    ]

    def met(played):
        stands, found = {}, []
        for event in played:
            if isinstance(event, ParameterChange):
                stands[event.channel, event.target] = event.value
            else:
                found.append(dict(stands))
        return [*found, stands]

    queue = MessageQueue()
    queue.put(Events(events))
    lasting = [event for command in queue.take_all() for event in command.events]
    assert met(lasting) == met(events)
    assert len(lasting) < len(events)
    assert not queue


def test_a_value_that_was_renewed_is_not_the_oldest_where_room_ends():
    def change(target, value):
        return Events([ParameterChange(0, 0, target, value)])

    queue = MessageQueue()
    for message in (change("x", 0.1), *(change(str(number), 0.5) for number in range(MOST_WAITING - 1))):
        queue.put(message)
    queue.put(change("x", 0.9))
    queue.put(change("y", 0.5))
    waiting = queue.take_all()
    assert len(waiting) == MOST_WAITING
    assert waiting[-2:] == [change("x", 0.9), change("y", 0.5)]


def test_commands_wait_in_their_order():
    queue = MessageQueue()
    queue.put(Events([NoteOn(0, 0, 60, 1), NoteOff(0, 0, 60)]))
    queue.put(Load(1))
    assert queue.take_all() == [Events([NoteOn(0, 0, 60, 1)]), Events([NoteOff(0, 0, 60)]), Load(1)]


def test_of_values_that_wait_only_the_newest_is_sent(blocked):
    writer, theirs = blocked
    for number in range(10 * MOST_WAITING):
        writer.put(Report(number))
    assert [theirs.recv() for _ in range(2)] == [[MUCH], [Report(10 * MOST_WAITING - 1)]]
    writer.put(Report(1))
    assert theirs.recv() == [Report(1)]


def test_a_value_stays_on_its_side_of_another_message(blocked):
    writer, theirs = blocked
    for message in (Report("first"), "note", Report("second"), Report("third")):
        writer.put(message)
    assert [theirs.recv() for _ in range(2)] == [[MUCH], [Report("first"), "note", Report("third")]]


def test_thousands_of_moves_to_one_who_does_not_read_are_sent_at_once_and_end_in_the_last(blocked):
    writer, theirs = blocked
    for number in range(MOVES):
        turns = [ParameterChange(0, 0, "pan", number / MOVES), ParameterChange(0, 0, "gain", -number / MOVES)]
        writer.put(Events(turns))
    writer.put(Stop())
    assert theirs.recv() == [MUCH]
    assert theirs.recv() == [*(Events([turn]) for turn in turns), Stop()]


def test_no_more_than_so_many_messages_wait_and_the_oldest_go(blocked):
    writer, theirs = blocked
    for number in range(MOST_WAITING + 100):
        writer.put(number)
    theirs.recv()
    assert theirs.recv() == list(range(100, MOST_WAITING + 100))


def test_messages_after_a_long_one_stay_behind_it():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    writer = PipeWriter(ours)
    sent = [MUCH if number % 7 == 3 else number for number in range(100)]
    for message in sent:
        writer.put(message)
    got = []
    while len(got) < len(sent):
        got += theirs.recv()
    assert got == sent
    writer.close()


def test_messages_to_one_who_has_gone_are_dropped():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    writer = PipeWriter(ours)
    stuck = threading.Thread(target=lambda: [writer.put(Load("x" * 100_000)) for _ in range(100)])
    stuck.start()
    stuck.join()
    theirs.close()
    writer.put(Events([NoteOn(0, 0, 60, 1)]))
    writer.close()
    writer._thread.join()
