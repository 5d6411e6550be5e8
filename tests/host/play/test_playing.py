"""Playing modes through the whole machine: legato, glides, chords, pedals, velocity, and voices that are given up."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum.frames import MovedSpectra
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.signal import sounding_note

LARGE = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
SHARP = {"attack_seconds": 0.0, "release_seconds": 0.0}
SLOW = {"attack_seconds": 0.5, "release_seconds": 0.0}


def note_at(sound, start, count=12_000):
    return sounding_note(sound[0, start : start + count], 44100)


def test_legato_moves_the_note_and_its_envelope_goes_on(make_instrument, play, tiny):
    events = [NoteOn(0, 0, 60, 100), NoteOn(30_000, 0, 67, 100), NoteOff(60_000, 0, 67)]
    keys = {"play": {"mode": "mono", "legato": True}, "envelope": SLOW}
    sound = play(make_instrument(44100, tiny(**LARGE), **keys), events, 90_000)
    assert [note_at(sound, start) for start in (10_000, 36_000, 66_000)] == pytest.approx([60, 67, 60], abs=0.25)
    before, after = (np.square(sound[:, at : at + 4000]).mean() for at in (25_000, 31_000))
    assert after > before / 2  # the attack of half a second is not heard again


def test_without_legato_each_key_strikes_anew(make_instrument, play):
    events = [NoteOn(0, 0, 60, 100), NoteOn(20_000, 0, 67, 100)]
    sound = play(make_instrument(play={"mode": "mono"}, envelope=SLOW), events, 30_000)
    before, after = (np.square(sound[:, at : at + 500]).mean() for at in (19_000, 20_200))
    assert after < before / 10


@pytest.mark.parametrize("chroma", [True, False])
@pytest.mark.parametrize(("first", "last"), [(60, 72), (67, 64), (71, 73)])
def test_a_glide_passes_through_the_pitches_between(make_instrument, play, tiny, chroma, first, last):
    seconds = 4.0
    events = [NoteOn(0, 0, first, 100), NoteOn(20_000, 0, last, 100)]
    keys = {"play": {"mode": "mono", "legato": True, "glide_seconds": seconds}}
    sound = play(make_instrument(44100, tiny(chroma=chroma, **LARGE), **keys), events, 220_000)
    for part in (0.25, 0.5, 0.75):
        middle = round(20_000 + part * seconds * 44100)
        found = note_at(sound, middle - 4096, 8192)
        assert found == pytest.approx(first + part * (last - first), abs=0.35)
    assert note_at(sound, 202_000) == pytest.approx(last, abs=0.25)


def test_a_glide_moves_no_spectrum_by_more_than_half_a_semitone_and_octaves(make_instrument, play, monkeypatch):
    ratios = []
    spectra = MovedSpectra.spectra

    def spy(self, latents, chroma, moves):
        ratios.extend(moves)
        return spectra(self, latents, chroma, moves)

    monkeypatch.setattr(MovedSpectra, "spectra", spy)
    keys = {"play": {"mode": "mono", "glide_seconds": 0.5, "phase": "noise"}}
    play(make_instrument(**keys), [NoteOn(0, 0, 50, 100), NoteOn(3000, 0, 69, 100)], 18_000)
    semitones = 12 * np.log2(ratios)
    away = np.abs(semitones - 12 * np.round(semitones / 12))
    assert away.max() <= 0.5 + 1e-9
    assert len(set(np.round(semitones, 6))) > 20


def glide_seconds(make_instrument, play, events, **play_keys):
    """How long the instrument glides after some events: from 60 to 72, until the pitch rests."""
    instrument = make_instrument(play={"mode": "mono", **play_keys})
    play(instrument, [*events, NoteOn(10, 0, 60, 100), NoteOn(100, 0, 72, 100)], 200)
    pitch = [v for v in instrument._processor.voices if v.stolen_at is None][-1].stream.pitch
    moving = [t for t in range(100, 120_000) if pitch.value(t) < 72]
    return len(moving) / 22050


@pytest.mark.parametrize(
    ("events", "keys", "seconds"),
    [
        ([], {}, 0.0),
        ([], {"glide_seconds": 1.0}, 1.0),
        ([ControlChange(0, 0, 65, 0)], {"glide_seconds": 1.0}, 0.0),
        ([ControlChange(0, 0, 65, 127)], {}, 0.0),
        ([ControlChange(0, 0, 5, 127), ControlChange(0, 0, 65, 64)], {}, 5.0),
        ([ControlChange(0, 0, 5, 64)], {"glide_seconds": 1.0}, 5 * (64 / 127) ** 3),
        ([ControlChange(0, 0, 5, 64)], {}, 0.0),
        ([ControlChange(0, 0, 65, 0), ControlChange(0, 0, 121, 0)], {"glide_seconds": 0.5}, 0.5),
        ([ControlChange(0, 0, 5, 64), ControlChange(0, 0, 65, 127), ControlChange(0, 0, 121, 0)], {}, 0.0),
    ],
)
def test_portamento_is_switched_by_cc_65_and_timed_by_cc_5(make_instrument, play, events, keys, seconds):
    assert glide_seconds(make_instrument, play, events, **keys) == pytest.approx(seconds, abs=0.001)


def test_mono_alone_has_glides(make_instrument, play):
    events = [NoteOn(0, 0, 60, 100), NoteOn(1000, 0, 67, 100)]
    plain = play(make_instrument(), events, 8000)
    assert np.array_equal(play(make_instrument(play={"glide_seconds": 2.0, "legato": True}), events, 8000), plain)


def power_of(sound, keys):
    """Power around the fundamental of each key."""
    spectrum = np.square(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
    hz = np.fft.rfftfreq(len(sound), 1 / 44100)
    return [spectrum[np.abs(hz - 440 * 2 ** ((key - 69) / 12)) < 8].sum() for key in keys]


def test_a_chord_sounds_the_notes_of_its_keys_as_the_network_mixes_them(make_instrument, play, tiny):
    events = [NoteOn(0, 0, 60, 100), NoteOn(0, 0, 66, 100), NoteOff(60_000, 0, 60)]
    sound = play(make_instrument(44100, tiny(**LARGE), play={"mode": "chord"}), events, 120_000)
    first, second, none = power_of(sound[0, 10_000:60_000], (60, 66, 63))
    assert 0.25 < first / second < 4
    assert none < 1e-2 * second
    first, second = power_of(sound[0, 70_000:], (60, 66))
    assert first < 1e-3 * second


def test_one_key_in_chord_mode_is_the_note_itself(make_instrument, play):
    events = [NoteOn(100, 0, 76, 90), NoteOff(9000, 0, 76)]
    chord = play(make_instrument(play={"mode": "chord"}), events, 12_000)
    assert np.array_equal(chord, play(make_instrument(), events, 12_000))


def test_a_chord_needs_a_model_whose_keys_choose_the_note(make_instrument, tiny):
    asked = r"^play\.mode 'chord' needs a model whose keys choose the note, those of 'analytic' do not; use 'poly'"
    with pytest.raises(UserError, match=asked):
        make_instrument(model=tiny(chroma=False), play={"mode": "chord"})


@pytest.mark.parametrize("keys", [(60, 67), (60, 64), (62, 69), (65, 68)])
def test_two_keys_in_chord_mode_are_both_heard_on_a_shipped_model(keys):
    patch = open_patch("gm-chroma-8")
    preset = patch.preset.model_copy(update={"play": patch.preset.play.model_copy(update={"mode": "chord"})})
    rack = Rack({0: type(patch)("chord", preset, patch.model, patch.folder)}, 44100)
    sound = rack.process([NoteOn(0, 0, key, 100) for key in keys], 60_000)[0][0, 10_000:]
    powers = power_of(sound, keys)
    assert max(powers) < 1000 * min(powers)  # within 30 dB of each other


@pytest.mark.parametrize("curve", [0.0, 0.25, 0.5, 1.0, 2.0, 4.0])
def test_the_velocity_curve_is_a_power_of_the_square(make_instrument, play, curve):
    keys = {"play": {"velocity_curve": curve}}
    loud, soft = (play(make_instrument(**keys), [NoteOn(0, 0, 60, v)], 3000) for v in (127, 50))
    assert soft[:, 200:] == pytest.approx(loud[:, 200:] * (50 / 127) ** (2 * curve), rel=1e-4, abs=1e-9)


def test_levels_of_velocities_win_over_the_curve(make_instrument, play):
    levels = [[40, -20.0], [100, -2.0]]
    keys = {"play": {"velocity_curve": 0.0, "velocity_levels": levels}}
    full = play(make_instrument(play={"velocity_curve": 0.0}), [NoteOn(0, 0, 60, 127)], 3000)
    for velocity, level in ((40, -20), (70, -11), (100, -2), (127, -2), (20, -20 - 40 * np.log10(2))):
        sound = play(make_instrument(**keys), [NoteOn(0, 0, 60, velocity)], 3000)
        assert sound[:, 200:] == pytest.approx(full[:, 200:] * 10 ** (level / 20), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    "levels", [[[64, -6.0], [64, 0.0]], [[64, -6.0], [32, 0.0]], [[64, 0.0], [127, -1.0]], [[0, 0]]]
)
def test_levels_of_velocities_rise(make_preset, levels):
    with pytest.raises(ValueError, match="velocity_levels"):
        make_preset(play={"velocity_levels": levels})


def test_the_sostenuto_pedal_is_cc_66_and_a_reset_lifts_it(make_instrument, play):
    events = [
        NoteOn(0, 0, 60, 100),
        ControlChange(500, 0, 66, 127),
        NoteOff(1000, 0, 60),
        ControlChange(8000, 0, 121, 0),
    ]
    sound = play(make_instrument(envelope=SHARP), events, 10_000)
    assert np.abs(sound[:, 7000:8000]).max() > 0.01
    assert np.all(sound[:, 8000 + 30 :] == 0)


def test_current_latents_are_on_their_way_where_a_knob_was_turned(make_patch):
    knob = {"number": 20, "target": "latent.1", "low": 0.0, "high": 1.0}
    rack = Rack({2: make_patch(cc=[knob])}, 22050)
    rack.process([NoteOn(0, 2, 60, 100)], 5)  # else it were there at once
    rack.process([ControlChange(5, 2, 20, 127)], 220)  # half of the ramp of 20 ms
    assert rack.current_latents(2) == pytest.approx([0.5, 0.75], abs=0.01)
    rack.process([], 1000)
    assert rack.current_latents(2) == rack.latent_values(2) == [0.5, 1.0]


def shed_at(make_patch, rate, sizes, times, count=9000):
    """Two instruments that are asked to shed at certain samples, whatever the blocks: sound, answers and the rack."""
    effects = [{"plugin": "Gain"}]
    rack = Rack({0: make_patch(envelope={"release_seconds": 2.0}), 1: make_patch(effects=effects)}, rate)
    events = [NoteOn(10 * i, i % 2, 50 + i, 100) for i in range(4)] + [NoteOff(1000, 0, 52), NoteOff(900, 1, 53)]
    events.sort(key=lambda event: event.time)
    blocks, answers, at, turn = [], [], 0, 0
    while at < count:
        ends = [end for end in times if end > at]
        size = min(sizes[turn % len(sizes)], count - at, *[end - at for end in ends])
        answers += [rack.shed(at) for _ in range(times.count(at))]
        blocks.append(rack.process([e for e in events if at <= e.time < at + size], size)[0])
        at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=1), answers, rack


@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("sizes", [[1000], [64], [5, 333]], ids=str)
def test_a_voice_is_shed_at_the_same_sample_in_blocks_of_any_size(make_patch, rate, sizes):
    times = [4000, 4000, 6000]
    whole, answers, _ = shed_at(make_patch, rate, [9000], times)
    sound, again, rack = shed_at(make_patch, rate, sizes, times)
    assert answers == again == [True, True, True]
    assert np.array_equal(sound, whole)
    assert rack.sounding == 1


def test_there_is_no_voice_to_shed_once_all_are_asked_for(make_patch):
    _, answers, _ = shed_at(make_patch, 22050, [500], [3000] * 6)
    assert answers == [True] * 4 + [False] * 2


def test_an_empty_rack_has_no_voice_to_shed():
    assert not Rack({}, 44100).shed(0)


def test_shedding_takes_the_voice_of_the_rack_that_was_released_longest_ago(make_patch):
    keys = {"envelope": {"release_seconds": 5.0}}
    rack = Rack({0: make_patch(**keys), 1: make_patch(**keys)}, 22050)
    rack.process([NoteOn(0, 0, 60, 100), NoteOn(1, 1, 62, 100), NoteOn(2, 1, 64, 100), NoteOff(50, 1, 64)], 100)
    counts = []
    for block in range(1, 4):
        rack.shed(100 * block)
        rack.process([], 100)
        rack.process([], 0)
        counts.append([sum(v.stolen_at is None for v in i._processor.voices) for i in rack._instruments.values()])
    assert counts == [[1, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize("mode", ["poly", "mono", "chord"])
def test_64_voices_play_in_blocks_of_128(make_instrument, play, mode):
    events = [NoteOn(40 * i, 0, 30 + i, 100) for i in range(64)]
    keys = {"play": {"mode": mode, "voices": 64, "legato": True, "glide_seconds": 0.1}}
    instrument = make_instrument(48000, **keys)
    sound = play(instrument, events, 12_000, [128])
    assert instrument.sounding == (64 if mode == "poly" else 1)
    assert np.array_equal(sound, play(make_instrument(48000, **keys), events, 12_000))
