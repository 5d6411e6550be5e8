"""Messages through a pipe whose reader is slow."""

import multiprocessing

from timbrel.host.panel.pipe_writer import MOST_WAITING, PipeWriter

MUCH = "x" * (1 << 20)  # more than a pipe holds: whoever sends it waits until it is read


def test_nobody_waits_for_a_slow_reader_and_what_waits_is_replaced_by_what_is_newer():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    post = PipeWriter(ours)
    post.put(MUCH)
    while not theirs.poll(0):
        pass
    for number in range(10 * MOST_WAITING):
        post.put(number, replaces="value")
    post.put("note")
    post.put(-1, replaces="value")  # after the note that is: its value is that which counts
    assert theirs.recv() == [MUCH]
    assert theirs.recv() == [-1, "note"]
    post.put(1, replaces="value")
    assert theirs.recv() == [1]
    post.close()


def test_what_is_fenced_is_not_replaced():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    post = PipeWriter(ours)
    post.put(MUCH)
    while not theirs.poll(0):
        pass
    post.put("first", replaces="value")
    post.fence()
    post.put("second", replaces="value")
    assert [theirs.recv() for _ in range(2)] == [[MUCH], ["first", "second"]]
    post.close()


def test_no_more_than_so_many_messages_wait_and_the_oldest_go():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    post = PipeWriter(ours)
    post.put(MUCH)
    while not theirs.poll(0):
        pass
    for number in range(MOST_WAITING + 100):
        post.put(number)
    theirs.recv()
    assert theirs.recv() == list(range(100, MOST_WAITING + 100))
    post.close()


def test_what_comes_after_something_long_stays_behind_it():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    post = PipeWriter(ours)
    sent = [MUCH if number % 7 == 3 else number for number in range(100)]
    for message in sent:
        post.put(message)
    got = []
    while len(got) < len(sent):
        got += theirs.recv()
    assert got == sent
    post.close()
