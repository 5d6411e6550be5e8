"""Mail to a process that does not read keeps nobody waiting, and of many moves only the last goes."""

import random
import threading
from multiprocessing import Pipe

from timbrel.host.events import NoteOff, NoteOn, ParameterChange
from timbrel.host.live.command_writer import CommandQueue, CommandWriter, lasting

MOVES = 20_000  # more than a pipe holds


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

    assert met(lasting(events)) == met(events)
    assert len(lasting(events)) < len(events)


def test_commands_wait_in_their_order_and_events_that_follow_each_other_go_together():
    waiting = CommandQueue()
    for command, what in [("events", [NoteOn(0, 0, 60, 1)]), ("events", [NoteOff(0, 0, 60)]), ("load", 1)]:
        waiting.add(command, what)
    assert waiting.take() == [("events", [NoteOn(0, 0, 60, 1), NoteOff(0, 0, 60)]), ("load", 1)]
    assert not waiting


def test_thousands_of_moves_to_one_who_does_not_read_are_sent_at_once_and_end_in_the_last():
    ours, theirs = Pipe()
    mail = CommandWriter(ours)
    for number in range(MOVES):
        mail.send(
            "events", [ParameterChange(0, 0, "pan", number / MOVES), ParameterChange(0, 0, "gain", -number / MOVES)]
        )
    mail.send("stop")
    assert len(mail._waiting._commands) <= 3  # of which none is longer than the targets are many
    found = []
    while (command := theirs.recv())[0] != "stop":
        found += command[1]
    assert found[-2:] == [
        ParameterChange(0, 0, "pan", (MOVES - 1) / MOVES),
        ParameterChange(0, 0, "gain", -(MOVES - 1) / MOVES),
    ]
    assert len(found) < 2 * MOVES
    mail.close()


def test_mail_to_one_who_has_gone_is_dropped_and_it_can_be_closed():
    ours, theirs = Pipe()
    mail = CommandWriter(ours)
    stuck = threading.Thread(target=lambda: [mail.send("load", "x" * 100_000) for _ in range(100)])
    stuck.start()
    stuck.join()
    theirs.close()
    mail.close()
    mail.send("events", [NoteOn(0, 0, 60, 1)])
