"""Performances as files: the same bytes twice, tails, stems, odd MIDI, and nothing half-written when it fails."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import timbrel.host.render as render_module
from timbrel.host import progress
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn
from timbrel.host.midi.file import Performance, read_performance
from timbrel.host.play.rack import Rack
from timbrel.host.render import blocks, render

RATE = 44100
ZAM = Path("/usr/lib/vst3/ZamDelay.vst3")
SHORT = {"attack_seconds": 0.0, "release_seconds": 0.05}


def performance(events, seconds, channels=(0,)):
    return Performance(list(events), round(seconds * RATE), list(channels), [])


def note(key=60, on=0, off=None, channel=0, velocity=100):
    pair = [NoteOn(on, channel, key, velocity)]
    return pair if off is None else [*pair, NoteOff(off, channel, key)]


TUNE = performance(
    sorted(
        [e for i in range(8) for e in note(55 + 3 * i, 4000 * i, 4000 * i + 5000)]
        + [ControlChange(500 * i, 0, 20, 2 * i) for i in range(60)],
        key=lambda e: e.time,
    ),
    0.8,
)
KNOBS = [
    {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 20, "target": "effects.0.wet_level", "low": 0.0, "high": 0.5},
]
WET = {"cc": KNOBS, "effects": [{"plugin": "Reverb", "room_size": 0.2}]}


@pytest.fixture
def rendered(tmp_path):
    """A function that renders to a file in a new folder and reads it back: audio [channels, n] and the path."""

    def run(patches, tune, name="out.wav", **options):
        path = tmp_path / name
        render(patches, tune, path, sample_rate=RATE, **options)
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == RATE
        return audio.T, path

    return run


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_performance_gives_the_same_bytes_twice(rendered, make_patch, suffix, processes, monkeypatch):
    monkeypatch.setattr(render_module, "WORTH_SHARING_SECONDS", 0.0)
    _, first = rendered({0: make_patch(**WET)}, TUNE, f"a{suffix}")
    _, second = rendered({0: make_patch(**WET)}, TUNE, f"b{suffix}", processes=processes)
    assert first.read_bytes() == second.read_bytes()
    assert soundfile.info(first).subtype == "PCM_24"


def test_the_same_performance_gives_the_same_ogg_samples_twice(rendered, make_patch):
    first, _ = rendered({0: make_patch(**WET)}, TUNE, "a.ogg")
    second, _ = rendered({0: make_patch(**WET)}, TUNE, "b.ogg")
    assert np.array_equal(first, second)
    assert np.abs(first).max() > 0.05


def test_wav_flac_and_ogg_hold_the_same_sound(rendered, make_patch):
    wav, flac, ogg = (rendered({0: make_patch()}, TUNE, f"out{s}")[0] for s in (".wav", ".flac", ".ogg"))
    assert wav.shape == flac.shape == ogg.shape
    assert np.abs(wav - flac).max() <= 2.0**-22  # libsndfile rounds the one and cuts the other
    assert np.abs(wav - ogg).max() < 0.05


def test_an_independent_process_renders_the_same_bytes(rendered, make_patch, tiny_path, tmp_path):
    _, path = rendered({0: make_patch(**WET)}, TUNE)
    preset = tmp_path / "made.toml"
    patch = make_patch(**WET)
    preset.write_text(patch.preset.model_copy(update={"model": str(tiny_path())}).to_toml())
    code = f"""
        import sys
        from pathlib import Path
        from timbrel.host.events import *
        from timbrel.host.patch.library import open_patch
        from timbrel.host.midi.file import Performance
        from timbrel.host.render import render
        tune = {TUNE!r}
        render({{0: open_patch({str(preset)!r})}}, tune, Path({str(tmp_path / "other.wav")!r}), sample_rate={RATE})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    assert (tmp_path / "other.wav").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_sound_begins_at_its_time_at_every_rate_with_latency_taken_off(make_patch, rate, tmp_path):
    tune = Performance(note(72, rate // 2, rate), rate, [0], [])
    effects = [{"plugin": "Gain"}]
    render({0: make_patch(envelope=SHORT, effects=effects)}, tune, tmp_path / "out.wav", sample_rate=rate)
    audio, found = soundfile.read(tmp_path / "out.wav")
    assert found == rate
    begun = np.flatnonzero(np.abs(audio[:, 0]) > 1e-3)[0]
    assert begun == pytest.approx(rate // 2, abs=rate // 500)  # 2 ms: the attack, and what rings before it
    assert np.abs(audio[: rate // 2 - 200]).max() == 0


def test_the_tail_lasts_until_silence_and_no_longer(rendered, make_patch):
    tune = performance(note(60, 0, 10_000), 0.5)
    short, _ = rendered({0: make_patch(envelope=SHORT)}, tune)
    assert 0.5 * RATE <= short.shape[1] <= 0.5 * RATE + 16_384
    ringing = {"envelope": {"release_seconds": 3.0}}
    long, _ = rendered({0: make_patch(**ringing)}, tune, "long.wav")
    ended = 10_000 + 3 * RATE
    assert ended <= long.shape[1] <= ended + 2 * 16_384
    assert np.abs(long[:, ended - 40_000 : ended]).max() > 0


def test_a_reverb_rings_out_after_the_voices_have_ended(rendered, make_patch):
    tune = performance(note(60, 0, 10_000), 0.5)
    effects = [{"plugin": "Reverb", "room_size": 0.6}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, tune)
    assert audio.shape[1] > 2 * RATE
    assert 0 < np.abs(audio[:, -16_384:]).max() < 1e-3


def test_an_echo_after_a_silence_is_waited_for(rendered, make_patch):
    tune = performance(note(60, 0, 4000), 0.1)
    effects = [{"plugin": "Delay", "delay_seconds": 1.9, "feedback": 0.3}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, tune)
    assert np.abs(audio[:, round(5.7 * RATE) : round(5.8 * RATE)]).max() > 1e-3  # the third echo


ECHO = {"plugin": "Delay", "delay_seconds": 3.0, "feedback": 0.0, "mix": 0.5}


@pytest.mark.parametrize(
    ("effects", "seconds"),
    [([ECHO], 3), ([ECHO | {"delay_seconds": 7.0}], 7), ([ECHO, ECHO | {"delay_seconds": 4.5}], 7.5)],
    ids=["3 s", "7 s", "one after another"],
)
def test_an_echo_of_a_short_note_is_in_the_file_however_late_it_comes(rendered, make_patch, effects, seconds):
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, performance(note(60, 0, 4000), 0.1))
    echo = audio[:, round(seconds * RATE) : round((seconds + 0.1) * RATE)]
    assert np.abs(echo).max() > 0.01
    assert audio.shape[1] < (seconds + 1.0) * RATE  # and what comes after it is left out


def test_an_echo_later_than_the_tail_is_left_out(rendered, make_patch):
    tune = performance(note(60, 0, 4000), 0.1)
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=[ECHO])}, tune, tail_seconds=2.5)
    assert audio.shape[1] < 2.6 * RATE


def test_what_a_convolution_repeats_after_a_gap_is_waited_for(rendered, make_patch, tmp_path):
    response = np.zeros(round(2.6 * RATE))
    response[[0, -1]] = 1.0
    soundfile.write(tmp_path / "far.wav", response, RATE)
    effects = [{"plugin": "Convolution", "impulse_response_filename": str(tmp_path / "far.wav"), "mix": 1.0}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, performance(note(60, 0, 4000), 0.1))
    assert np.abs(audio[:, round(2.6 * RATE) : round(2.7 * RATE)]).max() > 0.01


def test_a_delay_that_a_knob_made_shorter_is_waited_for_as_long_as_it_was(make_patch):
    knob = {"number": 20, "target": "effects.0.delay_seconds", "low": 0.1, "high": 8.0}
    rack = Rack({0: make_patch(effects=[ECHO], cc=[knob]), 1: make_patch(effects=[{"plugin": "Chorus"}])}, RATE)
    assert rack.pause_seconds == 3.0
    for value, at in ((127, 100), (0, 3000)):
        rack.process([ControlChange(at, 0, 20, value)], 20_000)
    assert rack.pause_seconds == pytest.approx(8.0)


@pytest.mark.skipif(not ZAM.exists(), reason="needs VST3 plugins: apt-get install zam-plugins")
def test_a_plugin_that_cannot_be_asked_is_waited_for_to_the_end_of_the_tail(rendered, make_patch, monkeypatch):
    monkeypatch.setattr("timbrel.host.audio.effects.may_run", lambda path: True)
    effects = [{"plugin": str(ZAM), "time_ms": 8000.0}]
    audio, _ = rendered({0: make_patch(envelope=SHORT, effects=effects)}, performance(note(60, 0, 4000), 0.1))
    assert np.abs(audio[:, round(7.9 * RATE) : round(8.2 * RATE)]).max() > 1e-3


def test_a_voice_is_waited_for_however_soft_it_is(rendered, make_patch):
    tune = performance(note(60, 0, 10_000, velocity=1), 0.5)
    audio, _ = rendered({0: make_patch(envelope={"release_seconds": 5.0}, play={"gain_db": -6.0})}, tune)
    assert np.abs(audio).max() < 10 ** (-90 / 20)
    assert audio.shape[1] > 10_000 + 5 * RATE - 16_384


@pytest.mark.parametrize("tail", [0.0, 0.1, 1.0])
def test_the_tail_is_never_longer_than_asked_for(rendered, make_patch, tail):
    endless = {"effects": [{"plugin": "Reverb", "room_size": 1.0}], "envelope": {"release_seconds": 30.0}}
    tune = performance(note(60, 0, 10_000), 0.5)
    audio, _ = rendered({0: make_patch(**endless)}, tune, tail_seconds=tail)
    assert audio.shape[1] == round((0.5 + tail) * RATE)
    assert np.abs(audio[:, -100:]).max() > 0


def test_a_silence_inside_the_performance_is_kept(rendered, make_patch):
    tune = performance([*note(60, 0, 2000), *note(64, 4 * RATE, 4 * RATE + 2000)], 4.2)
    audio, _ = rendered({0: make_patch(envelope=SHORT)}, tune)
    assert np.all(audio[:, RATE : 4 * RATE - 100] == 0)  # a resampler rings before a sound
    assert np.abs(audio[:, 4 * RATE :]).max() > 0.01


@pytest.mark.parametrize("size", [128, 1000, 16_384, 50_000])
def test_the_sound_of_a_performance_does_not_depend_on_the_blocks_it_is_made_in(make_patch, size):
    made = [
        np.concatenate([mix for _, mix, _ in blocks(Rack({0: make_patch(**WET)}, RATE), TUNE, 0.5, RATE, s)], axis=1)
        for s in (size, 4096)
    ]
    shorter = min(sound.shape[1] for sound in made)
    assert shorter >= TUNE.length
    assert np.array_equal(made[0][:, :shorter], made[1][:, :shorter])


def test_stems_add_up_to_the_mix_below_the_limiters_knee(make_patch, tmp_path):
    channels = {c: make_patch(envelope=SHORT, play={"gain_db": -12.0, "pan": pan}) for c, pan in ((0, -0.5), (4, 0.5))}
    tune = performance([*note(60, 0, 20_000), *note(67, 0, 30_000, channel=4)][::1], 1.0, (0, 4))
    tune.events.sort(key=lambda event: event.time)
    files = render(channels, tune, tmp_path / "out.wav", sample_rate=RATE, stems=True)
    assert [file.name for file in files] == ["out.wav", "out-ch01.wav", "out-ch05.wav"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    mix, *stems = (soundfile.read(file, dtype="float64")[0] for file in files)
    assert all(np.abs(stem).max() > 0.01 for stem in stems)
    assert np.abs(mix).max() < 0.7
    assert np.abs(mix - sum(stems)).max() < 3 * 2.0**-23  # each file rounds to 24 bits


def test_several_presets_on_several_channels_sound_as_each_alone(rendered, make_patch):
    low, high = make_patch(play={"pan": -1.0}), make_patch(play={"pan": 1.0})
    events = [*note(48, 0, 20_000, channel=0), *note(72, 0, 20_000, channel=1)]
    events.sort(key=lambda event: event.time)
    both, _ = rendered({0: low, 1: high}, performance(events, 0.6, (0, 1)))
    left, _ = rendered({0: low}, performance(note(48, 0, 20_000), 0.6), "low.wav")
    right, _ = rendered({1: high}, performance(note(72, 0, 20_000, channel=1), 0.6, (1,)), "high.wav")
    assert np.array_equal(both[0], left[0])
    assert np.array_equal(both[1], right[1])


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0])
def test_a_performance_without_notes_is_silence_as_long_as_it_is(rendered, seconds):
    audio, _ = rendered({}, performance([], seconds, ()))
    assert seconds * RATE <= audio.shape[1] <= seconds * RATE + 16_384
    assert np.all(audio == 0)


def test_progress_rises_to_one(make_patch, tmp_path):
    told = []
    render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert min(told) >= 0


@pytest.mark.parametrize("gain_db", [0.0, 12.0])
def test_a_limiter_that_has_to_work_hard_is_told_of_with_its_moment(make_patch, tmp_path, gain_db):
    soft, loud = make_patch(), make_patch(play={"gain_db": gain_db})
    chord = [e for key in range(48, 64) for e in note(key, 2 * RATE, 4 * RATE, channel=1)]
    tune = performance(sorted([*note(off=RATE), *(chord if gain_db else [])], key=lambda e: e.time), 4.0, (0, 1))
    said = []
    render({0: soft, 1: loud}, tune, tmp_path / "out.wav", sample_rate=RATE, say=said.append)
    if gain_db == 0:
        assert said == []
        return
    sound, _ = soundfile.read(tmp_path / "out.wav")
    shares = [np.mean(np.abs(sound[at : at + 16384]) > 0.7) for at in range(0, 4 * RATE, 16384)]
    [line] = said
    assert "out.wav is too loud: at 0:0" in line
    at, share = int(line.split("at 0:0")[1][0]), int(line.split("bends ")[1].split("%")[0])
    assert 2 <= at <= 4
    assert share == pytest.approx(100 * max(shares), abs=2)
    assert line.endswith("of the samples; lower its presets' gain_db")


def test_a_block_that_takes_for_ever_is_told_of_before_it_is_done(make_patch, tmp_path, monkeypatch, caplog):
    played, until = Rack.process, time.monotonic() + 60

    def process(self, events, count):
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.001)
        return played(self, events, count)

    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(Rack, "process", process)
    render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("0.0 s of sound took 0 s to render; ")


def test_a_failing_write_leaves_nothing_behind(make_patch, tmp_path):
    def stop(done):
        raise OSError(28, "No space left on device")

    with pytest.raises(Failure, match="No space left on device; nothing was kept"):
        render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, stems=True, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_render_leaves_nothing_behind_and_keeps_what_was_there(make_patch, tmp_path):
    (tmp_path / "out.wav").write_text("mine")

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, overwrite=True, progress=stop)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.wav", "mine")]


def test_when_the_disk_fills_as_the_last_file_is_closed_none_appears(make_patch, tiny_path, tmp_path):
    patch = {c: make_patch(play={"gain_db": g}) for c, g in ((0, 0.0), (1, -40.0))}
    events = [*note(60, 0, 20_000), *note(67, 0, 20_000, channel=1)]
    tune = performance(sorted(events, key=lambda e: e.time), 1.0, (0, 1))
    sizes = [f.stat().st_size for f in render(patch, tune, tmp_path / "try.flac", sample_rate=RATE, stems=True)]
    assert sizes[2] < sizes[0] - 1000
    presets = []
    for channel in patch:
        presets.append(tmp_path / f"{channel}.toml")
        presets[-1].write_text(patch[channel].preset.model_copy(update={"model": str(tiny_path())}).to_toml())
    before = sorted(tmp_path.iterdir())
    code = f"""
        import resource, signal
        from pathlib import Path
        from timbrel.host.errors import Failure
        from timbrel.host.events import *
        from timbrel.host.patch.library import open_patch
        from timbrel.host.midi.file import Performance
        from timbrel.host.render import render
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        patches = {{i: open_patch(name) for i, name in enumerate({[str(p) for p in presets]!r})}}
        resource.setrlimit(resource.RLIMIT_FSIZE, ({sizes[0] - 100}, {sizes[0] - 100}))
        try:
            render(patches, {tune!r}, Path({str(tmp_path / "out.flac")!r}), sample_rate={RATE}, stems=True)
        except Failure as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "out.flac" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_exists_is_kept_stems_included(make_patch, tmp_path):
    (tmp_path / "out-ch01.wav").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, stems=True)
    assert [file.name for file in tmp_path.iterdir()] == ["out-ch01.wav"]
    render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, stems=True, overwrite=True)
    assert soundfile.info(tmp_path / "out-ch01.wav").frames > 0


def save(path, *tracks, kind=1, division=480):
    song = mido.MidiFile(type=kind, ticks_per_beat=division)
    for messages in tracks:
        song.tracks.append(mido.MidiTrack(messages))
    song.save(path)
    return path


ON, OFF = mido.Message("note_on", note=60, velocity=90), mido.Message("note_off", note=60, time=480)
ODD = {
    "no tempo": ([ON, OFF],),
    "no note-off": ([ON, mido.MetaMessage("end_of_track", time=960)],),
    "many tracks": tuple([ON, OFF] for _ in range(2000)),
    "an empty track": ([], [ON, OFF]),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_midi_files_sound(rendered, make_patch, tmp_path, what):
    tune = read_performance(save(tmp_path / "odd.mid", *ODD[what]), RATE)
    audio, _ = rendered({0: make_patch()}, tune)
    assert np.abs(audio[:, : RATE // 2]).max() > 0.01
    assert np.abs(audio).max() <= 1
    assert np.all(np.isfinite(audio))


# From here on: the command.


@pytest.fixture
def preset(tmp_path, tiny_path, make_preset):
    """A preset file on the smallest model."""
    path = tmp_path / "keys.toml"
    path.write_text(make_preset(envelope=SHORT).model_copy(update={"model": str(tiny_path())}).to_toml())
    return path


@pytest.fixture
def song(tmp_path):
    return save(tmp_path / "song.mid", [ON, OFF])


def test_the_command_renders_and_names_its_files(timbrel, preset, song, tmp_path):
    ended = timbrel("render", preset, song, "-o", tmp_path / "out.wav", "--stems", "--rate", 48000)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.split() == [str(tmp_path / "out.wav"), str(tmp_path / "out-ch01.wav")]
    assert soundfile.info(tmp_path / "out.wav").samplerate == 48000


def test_the_command_warns_of_what_is_too_loud(timbrel, preset, song, tmp_path, monkeypatch):
    monkeypatch.setattr(render_module, "limited", lambda mix: 0.34)
    result = timbrel("render", preset, song, "-o", tmp_path / "out.wav")
    assert result.status == 0
    assert f"warning: {tmp_path / 'out.wav'} is too loud: at 0:00 the limiter bends 34% of the samples" in result.err


def test_the_command_plays_other_presets_on_other_channels(timbrel, preset, tiny_path, tmp_path):
    second = [message.copy(channel=1, note=72) for message in (ON, OFF)]
    both = save(tmp_path / "two.mid", [ON, OFF], second)
    silent = tmp_path / "silent.toml"
    silent.write_text(f'format = 1\nmodel = "{tiny_path()}"\n[play]\ngain_db = -60\n')
    ended = timbrel("render", preset, both, "-o", tmp_path / "out.wav", "--stems", "--channel", f"2={silent}")
    assert ended.status == 0
    assert np.abs(soundfile.read(tmp_path / "out-ch01.wav")[0]).max() > 0.01
    assert np.all(soundfile.read(tmp_path / "out-ch02.wav")[0] == 0)


DRUMS = [message.copy(channel=9, note=36) for message in (ON, OFF)]


def test_a_channel_of_none_is_not_heard_and_the_others_sound_as_without_it(timbrel, preset, tmp_path):
    tune = [mido.Message("program_change", program=4), ON, OFF]
    save(tmp_path / "both.mid", tune, DRUMS)
    save(tmp_path / "tune.mid", tune)
    ended = timbrel(
        *("render", preset, tmp_path / "both.mid", "-o", tmp_path / "both.wav", "--stems", "--channel", "10=none"),
    )
    assert ended.out.split() == [str(tmp_path / "both.wav"), str(tmp_path / "both-ch01.wav")]
    assert timbrel("render", preset, tmp_path / "tune.mid", "-o", tmp_path / "tune.wav").status == 0
    assert (tmp_path / "both.wav").read_bytes() == (tmp_path / "tune.wav").read_bytes()
    assert "channel 10" not in ended.err


def test_leaving_out_every_channel_gives_silence_that_is_told(timbrel, preset, song, tmp_path):
    ended = timbrel("render", preset, song, "-o", tmp_path / "out.wav", "--channel", "1=none")
    assert (ended.status, ended.err) == (
        0,
        "warning: every channel that has notes is left out: the output is silence\n",
    )
    assert np.all(soundfile.read(tmp_path / "out.wav")[0] == 0)


def test_what_is_recorded_of_all_channels_is_rendered_without_the_one_of_none(rendered, make_patch):
    events = sorted([*note(60, 0, 9000), *note(67, 100, 9000, channel=3), Clock(50, "tick")], key=lambda e: e.time)
    tune = performance(events, 0.3, (0, 3))._replace(recorded=True)
    left = tune.without({3})
    assert (left.channels, left.length, left.recorded) == ([0], tune.length, True)
    sound, _ = rendered({0: make_patch(envelope=SHORT)}, left, omni=True)
    alone, _ = rendered({0: make_patch(envelope=SHORT)}, performance(note(60, 0, 9000), 0.3), "alone.wav")
    assert np.array_equal(sound, alone)
    assert Clock(50, "tick") in left.events


def programs(*pairs):
    return [mido.Message("program_change", channel=channel, program=program) for channel, program in pairs]


PASSED_OVER = "warning: program changes are passed over: keys plays"
DRUMMED = "warning: channel 10, drums in General MIDI, is played by keys like any other; --channel 10=none leaves"


@pytest.mark.parametrize(
    ("tracks", "options", "lines"),
    [
        ([[ON, OFF]], [], []),
        ([[*programs((0, 4)), ON, OFF]], [], []),  # nearly every file has one
        ([[*programs((0, 4)), ON, *programs((0, 5)), OFF]], [], [f"{PASSED_OVER} channel 1 throughout"]),
        ([[ON, OFF], DRUMS], [], [DRUMMED]),
        ([DRUMS], [], [DRUMMED]),
        ([[ON, OFF], DRUMS], ["10=none"], []),
        ([[ON, OFF], DRUMS], ["10=keys.toml"], []),
        (
            [[*programs((0, 4), (9, 0)), ON, OFF], DRUMS],
            [],
            [DRUMMED, f"{PASSED_OVER} channels 1, 10 throughout; --channel N=PRESET"],
        ),
        ([[*programs((0, 4), (9, 0)), ON, OFF], DRUMS], ["10=none", "1=keys.toml"], []),
    ],
)
def test_what_a_file_asks_for_in_vain_is_told(timbrel, preset, tmp_path, monkeypatch, tracks, options, lines):
    monkeypatch.chdir(tmp_path)
    given = [part for option in options for part in ("--channel", option)]
    ended = timbrel("render", preset, save(tmp_path / "some.mid", *tracks), "-o", "out.wav", "--tail", "0", *given)
    assert ended.status == 0
    said = ended.err.splitlines()
    assert len(said) == len(lines)
    assert all(line.startswith(start) for line, start in zip(said, lines, strict=True))


def test_a_bare_model_plays_with_sensible_defaults(timbrel, tiny_path, song, tmp_path):
    ended = timbrel("render", tiny_path(), song, "-o", tmp_path / "out.wav")
    assert ended.status == 0
    assert np.abs(soundfile.read(tmp_path / "out.wav")[0]).max() > 0.01


def test_a_file_without_notes_is_silence_with_a_warning(timbrel, preset, tmp_path):
    empty = save(tmp_path / "empty.mid", [mido.MetaMessage("end_of_track", time=960)])
    ended = timbrel("render", preset, empty, "-o", tmp_path / "out.wav")
    assert ended.status == 0
    assert ended.err.startswith("warning: no notes")
    audio, _ = soundfile.read(tmp_path / "out.wav")
    assert len(audio) >= RATE
    assert np.all(audio == 0)


WRONG = {
    "no preset": (["nothing.toml", "SONG", "-o", "OUT"], "nothing.toml does not exist"),
    "a misspelt name": (["keyz", "SONG", "-o", "OUT"], "no preset, model or file is named 'keyz'"),
    "a missing model": (["nothing.onnx", "SONG", "-o", "OUT"], "nothing.onnx does not exist"),
    "no midi": (["PRESET", "nothing.mid", "-o", "OUT"], "nothing.mid"),
    "a preset for midi": (["PRESET", "PRESET", "-o", "OUT"], "not a MIDI file"),
    "midi for a preset": (["SONG", "SONG", "-o", "OUT"], "is not TOML"),
    "a wrong suffix": (["PRESET", "SONG", "-o", "out.mp3"], "give one of .wav, .flac, .ogg"),
    "no suffix": (["PRESET", "SONG", "-o", "out"], "a name without suffix"),
    "no such folder": (["PRESET", "SONG", "-o", "nowhere/out.wav"], "folder nowhere does not exist"),
    "a folder": (["PRESET", "SONG", "-o", "folder.wav"], "it is a folder"),
    "an output that exists": (["PRESET", "SONG", "-o", "there.wav"], "there.wav exists"),
    "a wrong rate": (["PRESET", "SONG", "-o", "OUT", "--rate", "22050"], "44100, 48000, 96000"),
    "a negative tail": (["PRESET", "SONG", "-o", "OUT", "--tail", "-1"], "tail"),
    "channel 0": (["PRESET", "SONG", "-o", "OUT", "--channel", "0=PRESET"], "NUMBER from 1 to 16"),
    "channel 17": (["PRESET", "SONG", "-o", "OUT", "--channel", "17=PRESET"], "NUMBER from 1 to 16"),
    "a channel alone": (["PRESET", "SONG", "-o", "OUT", "--channel", "2"], "NUMBER=PRESET"),
    "a channel of nothing": (["PRESET", "SONG", "-o", "OUT", "--channel", "2="], "'2=' must be NUMBER=PRESET"),
    "a channel twice": (
        ["PRESET", "SONG", "-o", "OUT", "--channel", "2=none", "--channel", "2=x"],
        "'2=x' is the second",
    ),
    "a wrong option": (["PRESET", "SONG", "-o", "OUT", "--loud"], "--loud"),
    "no output": (["PRESET", "SONG"], "--output"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_line_and_status_2_and_leaves_nothing(timbrel, preset, song, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "there.wav").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    names = {"PRESET": "keys.toml", "SONG": "song.mid", "OUT": "out.wav"}
    arguments, words = WRONG[what]
    ended = timbrel("render", *(names.get(argument, argument) for argument in arguments))
    assert ended.status == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("timbrel: ")
    assert words in ended.err
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.wav").read_text() == "mine"
