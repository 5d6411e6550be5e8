"""`timbrel render`: odd MIDI files sound, and what is heard in vain, left out or wrong is told in a line."""

import mido
import numpy as np
import pytest
import scipy.signal
import soundfile
import timbrel.host.play.render as render_module
from timbrel.host.events import Clock
from timbrel.host.midi.files import read_performance

from .performances import RATE, SHORT, note, performance


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


@pytest.fixture
def song(tmp_path):
    return save(tmp_path / "song.mid", [ON, OFF])


def test_the_command_renders_and_names_its_files(timbrel, preset, song, tmp_path):
    ended = timbrel("render", preset, song, "-o", tmp_path / "out.wav", "--stems", "--rate", 48000)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.split() == [str(tmp_path / "out.wav"), str(tmp_path / "out-ch01.wav")]
    assert soundfile.info(tmp_path / "out.wav").samplerate == 48000


def test_the_command_writes_floats_where_it_is_asked_to_and_only_then(timbrel, preset, song, tmp_path):
    for name, asked, subtype in (("float", ["--float"], "FLOAT"), ("plain", [], "PCM_24")):
        assert timbrel("render", preset, song, "-o", tmp_path / f"{name}.wav", *asked).status == 0
        assert soundfile.info(tmp_path / f"{name}.wav").subtype == subtype
    ended = timbrel("render", preset, song, "-o", tmp_path / "out.flac", "--float")
    assert ended.status == 2
    assert "out.flac as 32-bit float: .flac has none; give a name ending in .wav" in ended.err


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
    left = tune.without_channels({3})
    assert (left.channels, left.length, left.recorded) == ([0], tune.length, True)
    sound, _ = rendered({0: make_patch(envelope=SHORT)}, left, omni=True)
    alone, _ = rendered({0: make_patch(envelope=SHORT)}, performance(note(60, 0, 9000), 0.3), "alone.wav")
    assert np.array_equal(sound, alone)
    assert Clock(50, "tick") in left.events


def programs(*pairs):
    return [mido.Message("program_change", channel=channel, program=program) for channel, program in pairs]


@pytest.fixture
def chosen(tmp_path, preset):
    """A folder of two presets, of which the second is softer."""
    folder = tmp_path / "set"
    folder.mkdir()
    text = preset.read_text()
    (folder / "a.toml").write_text(text)
    (folder / "b.toml").write_text(text + "[play]\ngain_db = -12.0\n")
    return folder


def test_tunes_of_subfolders_are_rendered_if_these_are_named(timbrel, preset, tmp_path):
    for folder in ("tunes", "tunes/more", "tunes/empty"):
        (tmp_path / folder).mkdir()
    tunes = tmp_path / "tunes"
    save(tunes / "a.mid", [ON, OFF])
    save(tunes / "more" / "b.mid", [ON, OFF])
    ended = timbrel("render", preset, tunes, "-o", tmp_path / "out")
    assert ended.err == f"warning: the MIDI files in {tunes / 'more'} are not rendered; name this folder, too\n"
    ended = timbrel("render", preset, tunes, tunes / "more", "-o", tmp_path / "out", "--overwrite")
    assert "warning" not in ended.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "b.wav"]


def test_program_changes_choose_among_a_folders_presets_at_their_sample(timbrel, chosen, tmp_path):
    tune = [*programs((0, 0)), ON, OFF, *programs((0, 1)), ON, OFF]
    save(tmp_path / "tune.mid", tune)
    save(tmp_path / "plain.mid", [ON, OFF, ON, OFF])
    sounds = {}
    for name, options in {
        "followed": (tmp_path / "tune.mid", "--set", chosen),
        "first": (tmp_path / "plain.mid",),
        "second": (tmp_path / "plain.mid", "--channel", f"1={chosen / 'b.toml'}"),
    }.items():
        ended = timbrel("render", chosen / "a.toml", *options, "-o", tmp_path / f"{name}.wav", "--float")
        assert (ended.status, ended.err) == (0, "")
        sounds[name] = soundfile.read(tmp_path / f"{name}.wav", dtype="float32")[0].T
    half = 22050  # the second note begins
    early = half - 200  # what rate conversion hears of it before
    assert np.array_equal(sounds["followed"][:, :early], sounds["first"][:, :early])
    held = slice(half + 6500, 2 * half)  # after the first note's release
    levels = {name: 10 * np.log10(np.square(sound[:, held]).mean()) for name, sound in sounds.items()}
    assert levels["followed"] == pytest.approx(levels["second"], abs=0.5)
    assert levels["followed"] == pytest.approx(levels["first"] - 12, abs=0.5)


def test_a_chord_on_the_sample_of_a_program_change_is_whole(timbrel, chosen, tmp_path):
    chord = [mido.Message("note_on", note=note, velocity=90) for note in range(48, 72)]
    off = [mido.Message("note_off", note=48, time=480)] + [mido.Message("note_off", note=n) for n in range(49, 72)]
    save(tmp_path / "tune.mid", [mido.Message("control_change", control=3, time=480), *programs((0, 0)), *chord, *off])
    save(tmp_path / "plain.mid", [mido.Message("control_change", control=3, time=480), *chord, *off])
    for name, options in {"tune": ["--set", chosen], "plain": []}.items():
        song = tmp_path / f"{name}.mid"
        assert timbrel("render", chosen / "a.toml", song, "-o", tmp_path / f"{name}.wav", *options).status == 0
    given, wanted = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("tune", "plain"))
    onset = slice(22050, 22050 + 2205)  # 50 ms, in which all 24 notes have begun
    levels = [10 * np.log10(np.square(sound[onset]).mean()) for sound in (given, wanted)]
    assert levels[0] == pytest.approx(levels[1], abs=1.5)
    assert len(given) == pytest.approx(len(wanted), abs=4096)


def test_bank_selects_count_on_and_a_program_beyond_the_set_is_told_once(timbrel, chosen, tmp_path):
    bank = mido.Message("control_change", control=32, value=1)
    save(tmp_path / "tune.mid", [bank, *programs((0, 0), (0, 0)), ON, OFF])
    save(tmp_path / "plain.mid", [ON, OFF])
    ended = timbrel("render", chosen / "a.toml", tmp_path / "tune.mid", "-o", tmp_path / "t.wav", "--set", chosen)
    assert (ended.status, ended.err) == (
        0,
        f"warning: {tmp_path / 'tune.mid'}: program 129 asked for, but the set has 2\n",
    )
    assert timbrel("render", chosen / "a.toml", tmp_path / "plain.mid", "-o", tmp_path / "p.wav").status == 0
    assert (tmp_path / "t.wav").read_bytes() == (tmp_path / "p.wav").read_bytes()


def test_a_preset_of_the_set_that_cannot_be_read_is_warned_of_before_it_is_chosen(timbrel, chosen, tmp_path):
    (chosen / "aa.toml").write_text("model = \n")
    save(tmp_path / "tune.mid", [*programs((0, 2)), ON, OFF])
    ended = timbrel("render", chosen / "a.toml", tmp_path / "tune.mid", "-o", tmp_path / "t.wav", "--set", chosen)
    assert ended.status == 0
    (line,) = ended.err.splitlines()
    assert line.startswith(f"warning: program 2 cannot be chosen: preset {chosen / 'aa.toml'} is not TOML in line 1: ")


KEYMAP = "1\n40\n61\n40\n40\n440.0\n1\n0\n"  # keys 40 to 61


def test_notes_on_keys_that_a_preset_does_not_play_are_told_for_each_file_and_preset(timbrel, chosen, tmp_path):
    (chosen / "even.scl").write_text("even\n1\n100.0\n")
    (chosen / "even.kbm").write_text(KEYMAP)
    tuned = chosen / "b.toml"
    tuned.write_text(tuned.read_text() + '[tuning]\nscale = "even.scl"\nkeymap = "even.kbm"\n')
    tunes = tmp_path / "tunes"
    tunes.mkdir()
    high = [message.copy(note=key) for key in (64, 72, 65, 64) for message in (ON, OFF)]
    save(tunes / "one.mid", [*high, *programs((0, 1)), ON, OFF, *high])
    save(tunes / "two.mid", [*programs((0, 1)), ON, OFF])
    ended = timbrel("render", chosen / "a.toml", tunes, "-o", tmp_path / "sounds", "--set", chosen)
    assert ended.status == 0
    assert [line for line in ended.err.splitlines() if line.startswith("warning")] == [
        f"warning: {tunes / 'one.mid'}: 4 of 5 notes make no sound: preset 'b' plays keys 40 to 61, and not keys 64 to "
        "65, 72"
    ]


def test_many_keys_are_told_by_their_number():
    assert render_module._key_list(range(20, 40, 3)) == "7 keys from 20 to 38"


ABSENT = {
    "a model": 'model = "none.onnx"',
    "a scale": 'model = "MODEL"\n[tuning]\nscale = "none.scl"',
    "an impulse response": (
        'model = "MODEL"\n[[effects]]\nplugin = "Convolution"\nimpulse_response_filename = "none.wav"'
    ),
}


@pytest.mark.parametrize("absent_file", ABSENT)
def test_where_a_preset_of_the_set_lacks_a_file_the_preset_before_plays_on(
    timbrel, tiny_path, chosen, tmp_path, absent_file
):
    broken = chosen / "aa.toml"
    broken.write_text("format = 1\n" + ABSENT[absent_file].replace("MODEL", str(tiny_path())))
    save(tmp_path / "tune.mid", [*programs((0, 2)), ON, OFF, *programs((0, 1)), ON, OFF])
    save(tmp_path / "plain.mid", [*programs((0, 2)), ON, OFF, ON, OFF])
    sounds = []
    for name in ("tune", "plain"):
        ended = timbrel(
            *("render", chosen / "a.toml", tmp_path / f"{name}.mid", "-o", tmp_path / f"{name}.wav", "--set", chosen)
        )
        assert ended.status == 0
        first, *later = ended.err.splitlines()
        assert first.startswith(f"warning: program 2 cannot be chosen: preset {broken}: ")
        assert "none." in first
        sounds.append((tmp_path / f"{name}.wav").read_bytes())
        assert [line.endswith("; the preset before plays on") for line in later] == [True] * (name == "tune")
        assert all("aa" in line for line in later)
    assert sounds[0] == sounds[1]


def test_notes_stay_on_their_samples_where_presets_have_other_latencies(timbrel, chosen, tmp_path):
    slow = (chosen / "b.toml").read_text() + '[[effects]]\nplugin = "BrickwallLimiter"\nlookahead_ms = 100.0\n'
    (chosen / "b.toml").write_text(slow)
    tune = [message for number in (0, 1, 0) for message in (*programs((0, number)), ON.copy(time=960), OFF)]
    save(tmp_path / "tune.mid", tune)
    ended = timbrel(
        *("render", chosen / "a.toml", tmp_path / "tune.mid", "-o", tmp_path / "tune.wav", "--set", chosen, "--float")
    )
    assert (ended.status, ended.err) == (0, "")
    level = np.abs(soundfile.read(tmp_path / "tune.wav")[0]).max(1)
    for begin in (44100, 3 * 44100 - 22050, 4 * 44100):  # a second of rest before each note of half a second
        assert level[begin - 4000 : begin - 400].max() < 1e-4
        assert level[begin + 100 : begin + 1000].max() > 1e-3


def test_a_program_change_of_a_zones_master_changes_the_zone(timbrel, chosen, tmp_path):
    zone = [
        mido.Message("control_change", control=number, value=value) for number, value in ((101, 0), (100, 6), (6, 5))
    ]
    notes = [message.copy(channel=3) for message in (ON, OFF)]
    peaks = []
    for name, changes in (("changed", programs((0, 1))), ("plain", [])):
        save(tmp_path / f"{name}.mid", [*zone, *changes, *notes])
        options = ["-o", tmp_path / f"{name}.wav", "--set", chosen]
        assert timbrel("render", chosen / "a.toml", tmp_path / f"{name}.mid", *options).status == 0
        peaks.append(np.abs(soundfile.read(tmp_path / f"{name}.wav")[0]).max())
    assert 20 * np.log10(peaks[0] / peaks[1]) == pytest.approx(-12, abs=0.2)


def test_a_file_without_zones_has_its_own_programs_on_each_channel_beside_a_preset_of_a_zone(
    timbrel, chosen, preset, tmp_path
):
    with_zone = tmp_path / "mpe.toml"
    with_zone.write_text(preset.read_text() + "[mpe]\nenabled = true\n")
    changes = [mido.Message("program_change", channel=channel, program=int(channel == 1)) for channel in range(16)]
    peaks = []
    for channel in (0, 1):
        save(tmp_path / f"{channel}.mid", [*changes, *(message.copy(channel=channel) for message in (ON, OFF))])
        options = ["-o", tmp_path / f"{channel}.wav", "--set", chosen]
        assert timbrel("render", with_zone, tmp_path / f"{channel}.mid", *options).status == 0
        peaks.append(np.abs(soundfile.read(tmp_path / f"{channel}.wav")[0]).max())
    assert 20 * np.log10(peaks[1] / peaks[0]) == pytest.approx(-12, abs=0.2)


def test_each_channel_of_a_file_follows_its_own_program_changes(timbrel, chosen, tmp_path):
    second = [message.copy(channel=1) for message in (ON, OFF)]
    save(tmp_path / "two.mid", [*programs((1, 1)), ON, OFF], second)
    options = ["-o", tmp_path / "out.wav", "--stems", "--set", chosen]
    assert timbrel("render", chosen / "a.toml", tmp_path / "two.mid", *options).status == 0
    peaks = [np.abs(soundfile.read(tmp_path / f"out-ch0{channel}.wav")[0]).max() for channel in (1, 2)]
    assert 20 * np.log10(peaks[1] / peaks[0]) == pytest.approx(-12, abs=0.2)


def test_normalised_files_have_a_true_peak_of_minus_one_dbfs_and_keep_their_proportions(timbrel, preset, tmp_path):
    second = [message.copy(channel=1, velocity=30) for message in (ON, OFF)]
    song = save(tmp_path / "two.mid", [ON, OFF], second)
    sounds = {}
    for name, options in {"plain": [], "loud": ["--normalise"]}.items():
        out = tmp_path / f"{name}.wav"
        assert timbrel("render", preset, song, "-o", out, "--float", "--stems", *options).status == 0
        sounds[name] = [soundfile.read(file)[0].T for file in (out, *sorted(tmp_path.glob(f"{name}-ch*.wav")))]
    peaks = [np.abs(scipy.signal.resample_poly(sound, 8, 1, axis=1)).max() for sound in sounds["loud"]]
    assert 20 * np.log10(max(peaks)) == pytest.approx(-1, abs=0.1)
    gain = np.abs(sounds["loud"][0]).max() / np.abs(sounds["plain"][0]).max()
    for plain, loud in zip(sounds["plain"], sounds["loud"], strict=True):
        assert loud == pytest.approx(gain * plain, abs=1e-5)


def test_silence_is_normalised_to_silence(timbrel, preset, song, tmp_path):
    out = tmp_path / "out.wav"
    assert timbrel("render", preset, song, "-o", out, "--normalise", "--channel", "1=none").status == 0
    assert np.all(soundfile.read(out)[0] == 0)


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


def test_no_drums_are_told_of_in_an_mpe_zone(timbrel, preset, tmp_path):
    save(tmp_path / "drums.mid", [ON, OFF], DRUMS)
    zone = [mido.Message("control_change", control=number, value=value) for number, value in ((101, 0), (100, 6))]
    for name, size in (("zone", 15), ("small", 5)):
        first = [*zone, mido.Message("control_change", control=6, value=size), ON, OFF]
        save(tmp_path / f"{name}.mid", first, DRUMS)
    with_zone = tmp_path / "mpe.toml"
    with_zone.write_text(preset.read_text() + "[mpe]\nenabled = true\n")
    for played, tune, told in ((preset, "zone", ""), (with_zone, "drums", ""), (preset, "small", DRUMMED)):
        ended = timbrel(
            *("render", played, tmp_path / f"{tune}.mid", "-o", tmp_path / "out.wav", "--tail", "0", "--overwrite")
        )
        assert (ended.status, ended.err[: len(told) or None]) == (0, told)


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
    "midi for a preset": (["SONG", "SONG", "-o", "OUT"], "the preset comes first"),
    "a wrong suffix": (["PRESET", "SONG", "-o", "out.mp3"], "give one of .wav, .flac, .ogg"),
    "no suffix": (["PRESET", "SONG", "-o", "out"], "a name without suffix"),
    "no such folder": (["PRESET", "SONG", "-o", "nowhere/out.wav"], "folder nowhere does not exist"),
    "a folder": (["PRESET", "SONG", "-o", "folder.wav"], "it is a folder"),
    "an output that exists": (["PRESET", "SONG", "-o", "there.wav"], "there.wav exists"),
    "a wrong rate": (["PRESET", "SONG", "-o", "OUT", "--rate", "15999"], "16000 to 96000"),
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
