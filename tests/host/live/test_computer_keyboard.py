"""Typed keys are told from sequences that terminals send, and play notes that end."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.live.terminal import NOTE_SECONDS, Typist, can_type

ARROWS = ["\x1b[A", "\x1b[1;5D", "\x1bOB", "\x1b[15~", "\x1b[3;2~", "\x1bOP", "\x1bq", "\x1b[200~"]


@pytest.mark.parametrize("piano", [False, True])
@pytest.mark.parametrize("sequence", ARROWS)
@pytest.mark.parametrize("cut", range(1, 7))
def test_arrow_and_function_keys_neither_quit_nor_play_even_in_pieces(piano, sequence, cut):
    typist = Typist(piano)
    pieces = [sequence[:cut], sequence[cut:]] if cut < len(sequence) else [sequence]
    for time_, piece in enumerate([*pieces, "", ""]):
        assert typist.read(piece, float(time_)) == []
    assert typist.read("\x1b" if piano else "q", 9.0) == ([] if piano else ["quit"])
    assert typist.read("", 10.0) == (["quit"] if piano else [])


def test_q_quits_but_in_a_piano_only_esc_does():
    assert Typist(False).read("xq", 0) == ["quit"]
    assert Typist(False).read("\x1b", 0) == []
    piano = Typist(True)
    assert piano.read("q", 0) == []
    assert piano.read("\x1b", 0) == []
    assert piano.read("", 0.05) == ["quit"]


def test_letters_are_keys_that_last_as_long_as_they_repeat():
    typist = Typist(True)
    assert typist.read("aw", 0.0) == [(60, True), (61, True)]
    assert typist.read("a", 0.3) == []
    assert typist.read("", NOTE_SECONDS + 0.01) == [(61, False)]
    assert typist.read("", 0.3 + NOTE_SECONDS + 0.01) == [(60, False)]
    assert typist.read("xp", 2.0) == [(60 + 12 + 15, True)]
    assert typist.read("zzA", 2.1) == [(48, True)]


@given(st.lists(st.text("azx\x1b[OA;5~", max_size=6), max_size=20))
def test_every_key_that_goes_down_comes_up(pieces):
    typist, down = Typist(True), set()
    for turn in range(len(pieces) + 20):
        for move in typist.read(pieces[turn] if turn < len(pieces) else "", turn / 10):
            if move != "quit":
                key, goes_down = move
                assert (key in down) != goes_down
                assert 0 <= key <= 127
                down ^= {key}
    assert not down


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["closed", "file"])
def test_where_nothing_can_be_typed_it_is_known(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdin", stream)
    assert not can_type()
