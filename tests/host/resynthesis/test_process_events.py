"""Knobs, keys, fingers, programs and tempos act on a sound that goes through a model."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.events import (
    ChannelPressure,
    ControlChange,
    NoteOff,
    NoteOn,
    ParameterChange,
    PitchBend,
    ProgramChange,
    Tempo,
)
from timbrel.host.midi.controllers import ControllerState
from timbrel.host.play.rack import ChannelInstrument, Rack
from timbrel.host.resynthesis.process import process
from timbrel.host.resynthesis.processor import CodeTransform, Processor

from ..cover import cover
from .processing import CCS, LENGTH, RATE, decibels, glide, noise, run

BINS = LENGTH // 2 + 1


def test_a_knob_acts_on_what_was_heard_when_it_was_turned(allpass, make_patch):
    samples = noise(30_000)
    ccs = [{"number": 1, "target": "process.wet", "low": 0.0, "high": 1.0}]
    patch = make_patch(allpass["spectrum"], cc=ccs, process={"shift": [0.0] * 5 + [1.0] * (BINS - 5)})
    processor = Processor(patch, RATE)
    late, ramp = processor.latency_samples, round(0.02 * RATE)
    given = run(processor, np.concatenate([samples, np.zeros(late, np.float32)]), [300], [ControlChange(9000, 0, 1, 0)])
    changed = np.flatnonzero(np.abs(given[0, late:] - samples) > 1e-6)
    assert changed[0] < 100
    assert 9000 + ramp - 30 < changed[-1] < 9000 + ramp


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_the_chroma_is_the_strongest_heard_or_that_of_the_newest_key(keyed, make_patch, make_tone, monkeypatch, rate):
    told = []
    decode = keyed.decode
    monkeypatch.setattr(keyed, "decode", lambda latent, chroma: told.extend(chroma.tolist()) or decode(latent, chroma))
    tone = make_tone(64, 2.0, rate)
    length = len(tone)
    quarter = length // 4
    events = [
        NoteOn(quarter, 0, 60, 100),
        NoteOn(2 * quarter, 0, 67, 100),
        NoteOff(3 * quarter - quarter // 2, 0, 67),
        NoteOff(3 * quarter, 0, 60),
    ]
    run(Processor(make_patch(keyed), rate), tone, [777], events)
    sounding = told[told.index(4) :]
    changes = [sounding[0]] + [b for a, b in itertools.pairwise(sounding) if a != b]
    assert changes == [4, 0, 7, 0, 4]
    assert sounding.count(7) == pytest.approx(RATE * 0.25 / 256, abs=2)


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_a_files_tempos_move_motions_in_beats_as_they_do_where_the_file_is_rendered(
    keyed, make_patch, monkeypatch, rate
):
    motion = [{"target": "latent.0", "shape": "saw", "depth": 0.25, "beats": 1.0}]
    patch = make_patch(keyed, motion=motion, process={"scale": 0.0}, latent={"values": [0.5, 0.5]})
    tempos = [Tempo(0, 60.0), Tempo(rate // 2, 240.0)]
    moved, codes = [], CodeTransform.codes

    def noted(self, heard, sounding, times):
        bent = codes(self, heard, sounding, times)
        moved.extend(zip(times.tolist(), bent[:, 0].tolist(), strict=True))
        return bent

    monkeypatch.setattr(CodeTransform, "codes", noted)
    run(Processor(patch, rate), noise(rate), [777], tempos)
    rendered, instrument = [], ChannelInstrument(patch, RATE)
    events = [Tempo(round(tempo.time * RATE / rate), tempo.bpm) for tempo in tempos]
    for middle, _ in moved:
        due = [event for event in events if instrument._samples_read <= event.time < middle]
        if middle > 0:
            instrument.process(due, middle - instrument._samples_read)
        rendered.append(instrument.current_latents()[0])
    assert [value for _, value in moved] == pytest.approx(rendered, abs=1e-5)
    assert np.ptp(rendered) > 0.4


@pytest.mark.parametrize("lookahead_ms", [1.0, 7.0])
def test_a_program_change_selects_another_preset_and_every_sound_stays_on_its_sample(
    allpass, make_patch, sound_of, tmp_path, lookahead_ms
):
    """The second preset passes the input itself, of another latency than the first."""
    samples, at = glide(1.0, RATE), 9000
    limiter = [{"plugin": "BrickwallLimiter", "lookahead_ms": lookahead_ms}]
    half = make_patch(allpass["spectrum"], effects=[{"plugin": "Gain", "gain_db": -6.0206}])
    dry = make_patch(allpass["grain"], process={"wet": 0.0}, effects=limiter)
    process(
        sound_of(samples),
        half,
        tmp_path / "out.wav",
        events=lambda rate: [ProgramChange(100, 0, 7), ProgramChange(at, 3, 1)],
        programs=["one", "two"],
        opening={"two": dry}.get,
        say=(said := []).append,
    )
    given = read_sound(tmp_path / "out.wav")[0][:, : len(samples)]
    assert said == ["program 8 asked for, but the set has 2"]
    inside = slice(RATE // 20, at)
    assert decibels((given - samples / 2)[:, inside], samples[inside]) < -60
    after = slice(at + RATE // 20, -RATE // 20)
    assert decibels((given - samples)[:, after], samples[after]) < -120
    assert np.abs(np.diff(given[:, at - 500 : at + 1000])).max() < 1.5 * np.abs(np.diff(samples)).max()


def test_a_preset_that_cannot_be_used_leaves_the_preset_before(allpass, make_patch, sound_of, tmp_path):
    """Its impulse response is missing."""
    lacking = [{"plugin": "Convolution", "impulse_response_filename": "none.wav"}]
    broken = make_patch(allpass["spectrum"], effects=lacking)
    sounds, said = [], []
    for name, events in (("with.wav", [ProgramChange(4000, 0, 0)]), ("without.wav", [])):
        process(
            *(sound_of(glide(0.5, RATE)), make_patch(allpass["spectrum"]), tmp_path / name),
            events=lambda _, e=events: e,
            programs=["broken"],
            opening={"broken": broken}.get,
            say=said.append,
        )
        sounds.append(read_sound(tmp_path / name)[0])
    (line,) = said
    assert "none.wav" in line
    assert line.endswith("; the preset before plays on")
    assert np.array_equal(*sounds)


def test_program_changes_without_a_set_change_nothing(allpass, make_patch, sound_of, tmp_path):
    sounds = []
    for name, events in (("with.wav", [ProgramChange(4000, 0, 1)]), ("without.wav", [])):
        process(
            sound_of(glide(0.5, RATE)), make_patch(allpass["spectrum"]), tmp_path / name, events=lambda _, e=events: e
        )
        sounds.append(read_sound(tmp_path / name)[0])
    assert np.array_equal(*sounds)


ZONE = [ControlChange(0, 0, 101, 0), ControlChange(0, 0, 100, 6), ControlChange(0, 0, 6, 15)]


def test_a_finger_bends_presses_and_resets_the_sound_of_its_key_alone(keyed, make_patch):
    """Compared with a key at the bent pitch."""
    samples, own = glide(0.4, RATE), {"process": {"phase": "own", "scale": 0.0}, "mpe": {"pressure": "latent.0"}}
    patch, note = make_patch(keyed, **own), NoteOn(500, 3, 61, 100)

    def heard(patch, *events):
        return run(Processor(patch, RATE), samples, [512], [*ZONE, *sorted(events, key=lambda event: event.time)])

    plain, other = heard(patch, note), heard(patch, NoteOn(500, 3, 73, 100))
    bend = PitchBend(400, 3, 2048)  # an octave
    assert decibels(heard(patch, bend, note) - other, other) < -50
    assert decibels(plain - other, other) > -10
    assert np.array_equal(heard(patch, note, PitchBend(600, 4, 4000), ChannelPressure(600, 5, 127)), plain)
    assert np.array_equal(heard(patch, bend, ControlChange(450, 3, 121, 0), note), plain)
    whole_zone, above = PitchBend(0, 0, 4096), heard(patch, NoteOn(500, 3, 62, 100))  # a semitone, by the master
    assert decibels(heard(patch, whole_zone, note) - above, above) < -50
    assert np.array_equal(heard(patch, whole_zone, replace(bend, time=0), ControlChange(1, 0, 121, 0), note), plain)
    for events, code in (([], 0.5), ([ChannelPressure(0, 3, 127)], 1.0), ([ChannelPressure(0, 4, 127)], 0.5)):
        processor = Processor(patch, RATE)
        run(processor, samples, [512], [*ZONE, *events, note])
        assert processor.codes.last[0] == pytest.approx(code)


def test_the_end_of_an_upper_zone_that_never_began_lifts_no_key_of_the_lower_zone(keyed, make_patch):
    patch, samples = make_patch(keyed, process={"phase": "own"}), glide(0.4, RATE)
    events = [*ZONE, NoteOn(500, 3, 61, 100)]
    end = [ControlChange(3000, 15, number, value) for number, value in ((101, 0), (100, 6), (6, 0))]
    given, expected = (run(Processor(patch, RATE), samples, [512], which) for which in ([*events, *end], events))
    assert np.array_equal(given, expected)


@pytest.mark.parametrize("number", [120, 123, 124, 125, 126, 127])
def test_a_key_comes_up_where_all_do(keyed, make_patch, number):
    patch, note, samples = make_patch(keyed, process={"phase": "own"}), NoteOn(500, 0, 61, 100), glide(0.4, RATE)
    lifted, off, held = (
        run(Processor(patch, RATE), samples, [512], [note, *last])
        for last in ([NoteOff(3000, 0, 61)], [ControlChange(3000, 0, number, 0)], [])
    )
    assert np.array_equal(off, lifted)
    assert not np.array_equal(held, lifted)


@pytest.mark.parametrize(
    ("entry", "rate"), cover(7, CCS, [RATE, 48_000]), ids=lambda it: it["target"] if isinstance(it, dict) else it
)
def test_a_turn_leads_a_sound_as_a_knob_does_that_goes_there_at_the_same_sample(keyed, make_patch, rate, entry):
    keys = {"process": {"phase": "own", "to": "middle"}, "effects": [{"plugin": "Gain", "gain_db": -3.0}]}
    target, samples = entry["target"], glide(0.4, rate)
    place = 0.25 * entry["low"] + 0.75 * entry["high"]
    knob, note = entry | {"low": place, "high": place}, NoteOn(1500, 0, 61, 100)
    turned = make_patch(keyed, cc=[knob], **keys)
    expected = run(Processor(turned, rate), samples, [512], [note, ControlChange(3000, 0, entry["number"], 0)])
    assert not np.array_equal(expected, run(Processor(turned, rate), samples, [512], [note]))
    plain = make_patch(keyed, **keys)
    events = [
        note,
        ParameterChange(2000, 0, "gain", 3.0),
        ParameterChange(2500, 0, "latent.7", 1.0),
        ParameterChange(3000, 0, target, place),
    ]
    processor = Processor(plain, rate)
    assert np.array_equal(run(processor, samples, [512], events), expected)
    assert processor.knobs.standing() == {target: place}
    processor.process([ParameterChange(len(samples), 0, target, math.inf)], noise(1)[np.newaxis])
    most = {"process.scale": 4.0, "process.smooth_seconds": 10.0, "effects.0.gain_db": 24.0}.get(target, 1.0)
    assert processor.knobs.standing() == {target: most}


CONTROLLER = st.sampled_from([6, 38, 98, 99, 100, 101, 121, 123])
SAID = st.builds(ControlChange, st.just(0), st.sampled_from([0, 9]), CONTROLLER, st.sampled_from([0, 2, 44]))
SENT = st.lists(SAID, max_size=20)


@given(SENT, SENT)
def test_a_parameter_is_the_same_to_a_rack_to_a_processor_and_to_what_the_desk_tells_afresh(
    keyed, make_patch, first, then
):
    chosen = [ControlChange(0, 0, 99, 2), ControlChange(0, 0, 98, 44)]
    patch = make_patch(keyed, cc=[{"nrpn": 300, "target": "latent.0", "low": 0.0, "high": 1.0}])
    racks, processor, desk = (
        [Rack({0: patch}, RATE, omni=True) for _ in range(2)],
        Processor(patch, RATE),
        ControllerState(),
    )
    for event in [*first, *chosen, *then]:
        desk.apply(event)
    racks[0].process([*first, *chosen, *then], 1)
    processor.process([*first, *chosen, *then], noise(1)[np.newaxis])
    racks[1].process(desk.everything(), 1)
    assert processor.latent_values() == racks[0].latent_values(0) == racks[1].latent_values(0)
