"""The core plays spectra, and networks that it does not know, by rows of the model's graph, as the numpy voice does."""

import ctypes
import itertools

import numpy as np
import pytest
from timbrel.host import voice_library as library
from timbrel.host.engines.spectrum.frames import FrameDecoder
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.midi.arrival import Arrival
from timbrel.host.model.model import Model
from timbrel.host.play import core_synthesis
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import MODELS
from timbrel.host.unattended import unattended_run
from timbrel.host.voice import core_voices
from timbrel.host.voice.row_source import RowSource

from .rigs import needs_core, rack_of, sound_of
from .test_core_synthesis import COUNT, GESTURES, PRESETS, RATE, differences, performance
from .test_unattended import Ring, asked_for, player_of

pytestmark = needs_core

CHORD = [48, 55, 60, 64, 67, 76]


@pytest.fixture(scope="module")
def spectra():
    return Model(MODELS / "gm-chroma-8.onnx")


@pytest.fixture
def other_graph(monkeypatch):
    """The core knows no network."""
    monkeypatch.setattr(core_voices, "network_of", lambda model: None)


def is_alike(difference, known):
    return difference < 1e-5 * np.abs(known).max()


@pytest.mark.parametrize("name", PRESETS)
def test_spectra_sound_as_by_numpy(make_patch, spectra, name):
    assert is_alike(*differences(make_patch(spectra, **PRESETS[name]), performance(1, name == "mpe")))


@pytest.mark.parametrize("name", ["plain", "unison", "mono", "formants"])
@pytest.mark.parametrize("chroma", [True, False])
def test_spectra_of_any_size_and_without_chroma_sound_as_by_numpy(make_patch, tiny, name, chroma):
    """Frames of 22 ms at half the rate; without chroma every peak is a free partial."""
    model = tiny(chroma=chroma)
    assert is_alike(*differences(make_patch(model, **PRESETS[name]), performance(2), rate=22_050))


def test_free_partials_continue_as_by_numpy(make_patch, tiny):
    """Codes that move shift which peaks stand out; a chord of one class has a fundamental, of two none."""
    patch = make_patch(
        tiny(), play={"mode": "chord"}, cc=[{"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0}]
    )
    events = [NoteOn(4000 * place, 0, key, 100) for place, key in enumerate((60, 64, 67))]
    events += [NoteOff(16_000, 0, 64), NoteOff(20_000, 0, 67)]
    events += [ControlChange(500 * step, 0, 70, 37 * step % 128) for step in range(60)]
    events.sort(key=lambda event: event.time)
    assert is_alike(*differences(patch, events, rate=22_050))


def test_shipped_spectra_with_gestures_sound_as_by_numpy():
    assert is_alike(*differences(open_patch("gm-pad"), performance(3), count=100_000))


@pytest.mark.parametrize("keys", [{}, GESTURES, PRESETS["chord"], PRESETS["mono"]], ids=str)
def test_a_network_that_the_core_does_not_know_sounds_as_by_numpy(make_patch, recorded, other_graph, keys):
    patch = make_patch(recorded, **keys)
    assert not core_synthesis.core_for(patch).decodes_alone
    assert differences(patch, performance(2))[0] < 2e-6


@pytest.mark.parametrize("sizes", [(128,), (1, 63, 1000), (16_384,)], ids=str)
@pytest.mark.parametrize("name", ["stealing", "mono", "chord", "mpe", "unison"])
def test_blocks_and_preparation_change_no_bit(make_patch, spectra, name, sizes):
    patch, events = make_patch(spectra, **PRESETS[name]), performance(4, name == "mpe")
    whole = sound_of(rack_of("core", {0: patch}, RATE), events, COUNT)
    assert np.abs(whole).max() > 0.003
    for prepares in (False, True):
        assert np.array_equal(sound_of(rack_of("core", {0: patch}, RATE), events, COUNT, sizes, prepares), whole)


@pytest.mark.parametrize("name", ["knobs", "mpe"])
def test_threads_change_no_bit(make_patch, spectra, name):
    patch, events = make_patch(spectra, **PRESETS[name]), performance(7, name == "mpe")
    whole = sound_of(rack_of("core", {0: patch}, RATE), events, COUNT)
    shared = rack_of("core", {0: patch}, RATE, processes=3)
    assert np.array_equal(sound_of(shared, events, COUNT, (16_384, 100, 5000)), whole)


@pytest.mark.parametrize("name", ["unison", "chord"])
def test_every_instruction_set_gives_the_same_bits(make_patch, spectra, monkeypatch, name):
    patch, events = make_patch(spectra, **PRESETS[name]), performance(6)
    core, sounds = library.load_library(), []
    for instructions in range(core.core_instructions() + 1):
        monkeypatch.setattr(library.voice_library(), "core_instructions", lambda chosen=instructions: chosen)
        sounds.append(sound_of(rack_of("core", {0: patch}, RATE), events, COUNT))
    assert all(np.array_equal(one, other) for one, other in itertools.pairwise(sounds))


@pytest.fixture
def decoded(monkeypatch):
    """Numbers of rows that the graph has decoded, a run each."""
    counts, decode = [], FrameDecoder._decode

    def count(self, latents, chroma, new):
        counts.append(len(new))
        return decode(self, latents, chroma, new)

    monkeypatch.setattr(FrameDecoder, "_decode", count)
    return counts


def prepared(rack, blocks):
    for _ in range(blocks):
        rack.process([], 128)
        rack.prepare()


def test_the_first_chord_finds_its_rows_decoded(decoded):
    rack = rack_of("core", {0: open_patch("gm-pad")}, RATE)
    prepared(rack, 60)
    assert sum(decoded) == 12
    rack.process([NoteOn(rack.played + 5, 0, key, 100) for key in CHORD], 128)
    assert sum(decoded) == 12


def test_the_first_notes_of_recorded_gestures_find_theirs_where_knobs_rest(make_patch, spectra, decoded):
    rack = rack_of("core", {0: make_patch(spectra)}, RATE)
    prepared(rack, 600)
    before = sum(decoded)
    assert before > 12
    rack.process([NoteOn(rack.played + 5, 0, 60, 100)], 128)
    assert sum(decoded) == before


def test_few_rows_are_decoded_at_a_time_while_knobs_move(make_patch, spectra, decoded):
    rack = rack_of("core", {0: make_patch(spectra, **PRESETS["knobs"])}, RATE)
    rack.process([NoteOn(0, 0, key, 100) for key in range(48, 60)], 128)
    prepared(rack, 30)
    decoded.clear()
    for step in range(100):
        rack.process([ControlChange(rack.played, 0, 70, step)], 128)
        rack.prepare()
    assert 0 < max(decoded) <= 8


def test_what_the_decoder_refuses_is_raised_by_the_block_that_asked(make_patch, spectra, monkeypatch):
    rack = rack_of("core", {0: make_patch(spectra)}, RATE)

    def refuse(*_):
        raise UserError("no rows today")

    monkeypatch.setattr(FrameDecoder, "rows", refuse)
    with pytest.raises(UserError, match="no rows today"):
        rack.process([NoteOn(0, 0, 60, 100)], 1024)


def test_spectra_are_left_to_the_core_while_no_row_is_wanted(make_patch, spectra):
    rate, block, count = 48_000, 128, 30_000
    players = [player_of(make_patch(spectra, **PRESETS["knobs"]), rate, block) for _ in range(2)]
    for player in players:
        for event in sorted(performance(8), key=lambda event: event.time):
            player.schedule(event)
    expected = asked_for(players[0], count, block)
    player, ring, arrival, run = players[1], Ring(rate, block), Arrival(), unattended_run(rate, block)
    fields, sounds, turns = run.fields, [], []
    while player.now < count:
        due = player.lend(run)
        turns.append(due is not None)
        if due is None:
            sounds.append(player.block(block)[0])
        else:
            fields.ring, fields.arrival = ring.ring_address, ctypes.addressof(arrival.flag)
            fields.written, fields.depth, fields.settled, fields.patience = ring.written, 400, 0.0, 0.0
            run.run()
            ring.advance(run.samples)
            sounds.append(run.sound.copy())
            player.take_back(run, due)
        player.prepare()
    assert np.array_equal(np.concatenate(sounds, axis=1)[:, :count], expected)
    assert {True, False} == set(turns)
    assert max(ring.runs) > 1


def test_a_source_refers_to_no_voice(make_patch, spectra):
    """Live playing disables the garbage collector."""
    engine = core_synthesis.core_for(make_patch(spectra))
    source = engine._tables.source
    assert isinstance(source, RowSource)
    assert not any(value is engine or value is engine._tables for value in vars(source).values())
