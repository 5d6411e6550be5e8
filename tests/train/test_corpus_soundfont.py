"""A soundfont becomes a corpus that knows its pitches."""

import re
import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import Failure, UserError
from timbrel.host.kinds.general_midi_drums import DRUMS
from timbrel.train.corpus import soundfont as module
from timbrel.train.corpus import soundfont as player
from timbrel.train.corpus.soundfont import DRUM_CLASSES, PROGRAM_NAMES, drum_class, parse_numbers, render_soundfont
from timbrel.train.corpus.store import Corpus

from .sounds import decibels

FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
missing = [
    name for name, there in {"fluidsynth": shutil.which("fluidsynth"), str(FONT): FONT.is_file()}.items() if not there
]
needs_font = pytest.mark.skipif(
    bool(missing), reason=f"missing: {', '.join(missing)} (apt install fluidsynth fluid-soundfont-gm)"
)


def chunk(kind, body):
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def write_headers(path, presets):
    """A soundfont of preset headers alone: (program, bank) of each."""
    records = [b"x".ljust(20, b"\0") + struct.pack("<HH", *preset) + bytes(14) for preset in [*presets, (0, 0)]]
    lists = chunk(b"LIST", b"INFO" + chunk(b"ICOP", b"mine!")) + chunk(
        b"LIST", b"pdta" + chunk(b"phdr", b"".join(records))
    )
    path.write_bytes(chunk(b"RIFF", b"sfbk" + lists))
    return path


def render(destination, **options):
    return render_soundfont(FONT, destination, **({"programs": [40], "notes": [60]} | options))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Eight programs from celesta to pad, five notes, two velocities; contrabass has no sample at most of them."""
    folder = tmp_path_factory.mktemp("soundfont") / "corpus"
    programs = [0, 8, 19, 40, 43, 56, 73, 89]
    report = render(folder, programs=programs, notes=[55, 60, 64, 67, 72], velocities=[60, 110], seconds=0.6)
    return Corpus.open(folder), report


@pytest.fixture(scope="module")
def hits(tmp_path_factory):
    """Standard, Room, TR-808 and Orchestra kits; the last two lack nothing here, Room has Standard's hats and toms."""
    folder = tmp_path_factory.mktemp("soundfont") / "hits"
    notes = [36, 38, 42, 46, 48, 54, 58]
    report = render(folder, programs=[0, 8, 20, 25, 48], notes=notes, velocities=[40, 80, 127], seconds=0.6, kits=True)
    return Corpus.open(folder), report


# ---- numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-79,90", [*range(80), 90]), ("5", [5]), (" 3 , 1-2 ", [1, 2, 3]), ("7,7,6-7", [6, 7]), ("127-127", [127])],
)
def test_lists_and_ranges_are_read_ascending_and_once(text, numbers):
    assert parse_numbers(text) == numbers


@given(numbers=st.sets(st.integers(0, 127), min_size=1))
def test_any_list_of_numbers_comes_back(numbers):
    assert parse_numbers(",".join(map(str, numbers))) == sorted(numbers)


@given(text=st.text(max_size=12))
def test_any_text_is_numbers_or_refused(text):
    try:
        numbers = parse_numbers(text)
    except UserError:
        return
    assert numbers == sorted(set(numbers) & set(range(128))) != []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no list of MIDI numbers"),
        ("1,,2", "''; write numbers and ranges"),
        ("-3", "'-3'"),
        ("1-2-3", "'1-2-3'"),
        ("sixty", "'sixty'"),
        ("72-60", "range '72-60' runs backwards; write 60-72"),
        ("9" * 5000, "is no list of MIDI numbers"),
        ("0-128", "MIDI number 128 is out of range; 0 to 127 are allowed"),
    ],
)
def test_a_list_that_is_none_is_refused(text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_numbers(text)


def test_general_midi_has_128_different_programs_in_their_places():
    assert len(PROGRAM_NAMES) == len(set(PROGRAM_NAMES)) == 128
    places = {
        0: "Acoustic Grand Piano",
        24: "Nylon Guitar",
        40: "Violin",
        56: "Trumpet",
        73: "Flute",
        80: "Square Lead",
        127: "Gunshot",
    }
    assert {number: PROGRAM_NAMES[number] for number in places} == places


def test_every_drum_of_general_midi_is_of_a_class_that_its_name_has():
    assert DRUM_CLASSES.keys() == DRUMS.keys()
    words = {"kick": "bass drum", "closed hat": "hi-hat", "open hat": "hi-hat", "shaker": "tambourine cabasa maracas"}
    words |= {"crash": "crash splash chinese", "hand drum": "bongo conga timbale", "wood block": "wood claves"}
    for key, name in DRUMS.items():
        known = words.get(DRUM_CLASSES[key], DRUM_CLASSES[key])
        assert known in name.casefold() or any(word in name.casefold() for word in known.split()), name


def test_brushes_slap_where_others_clap_and_an_orchestra_has_timpani():
    assert [drum_class(kit, 39) for kit in (0, 32, 40, 42, 48)] == ["clap", "clap", "snare", "snare", "clap"]
    assert {drum_class(48, key) for key in range(41, 54)} == {"timpani"}
    assert [drum_class(kit, 59) for kit in (0, 47, 48)] == ["ride", "ride", "crash"]
    assert all(drum_class(0, key) == name for key, name in DRUM_CLASSES.items())


def test_a_note_is_heard_after_its_release_if_asked(tmp_path):
    options = {"programs": [48], "seconds": 0.5, "channels": 1}
    render(tmp_path / "cut", **options)
    render(tmp_path / "released", release_seconds=0.4, **options)
    corpora = [Corpus.open(tmp_path / name) for name in ("cut", "released")]
    assert [corpus.clips()[0].held_seconds for corpus in corpora] == [None, 0.5]
    cut, released = (corpus.samples(corpus.clips()[0]) for corpus in corpora)
    assert (len(cut), len(released)) == (22050, 22050 + 17640)
    np.testing.assert_array_equal(released[:21000], cut[:21000])
    held, later, last = (np.abs(released[start : start + 2205]).max() for start in (19000, 23500, 37000))
    assert held > later > 3 * last > 0


# ---- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"programs": [128]}, "program 128 is out of range; 0 to 127"),
        ({"programs": []}, "no program is given"),
        ({"notes": [-1]}, "note -1 is out of range; 0 to 127"),
        ({"velocities": [0]}, "velocity 0 is out of range; 1 to 127"),
        ({"seconds": 0.0}, "a clip of 0 s cannot be rendered; 0.1 to 60 s"),
        ({"seconds": float("nan")}, "a clip of nan s cannot be rendered"),
        ({"release_seconds": -0.1}, "a release of -0.1 s cannot be rendered; 0 to 60 s are allowed"),
        ({"rate": 192000}, "rate 192000 Hz is out of FluidSynth's range; 8000 to 96000 Hz"),
        ({"split": "all"}, "split 'all' is not three fractions"),
        ({"kits": True, "programs": [128], "notes": [35]}, "kit 128 is out of range; 0 to 127"),
        ({"kits": True, "notes": [34, 35]}, "note 34 is no drum of General MIDI; 35 to 81 are allowed with kits"),
        ({"kits": True, "notes": [81, 82]}, "note 82 is no drum of General MIDI"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        render(tmp_path / "corpus", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_soundfont_is_refused(tmp_path):
    path = tmp_path / "font.sf2"

    def refusal():
        with pytest.raises(UserError) as caught:
            render_soundfont(path, tmp_path / "corpus", programs=[0], notes=[60])
        return str(caught.value)

    assert "does not exist" in refusal()
    path.write_bytes(b"")
    assert "is no soundfont" in refusal()
    path.write_bytes(b"RIFF\x04\0\0\0WAVE")
    assert "is no soundfont" in refusal()
    write_headers(path, [(0, 0)])
    path.write_bytes(path.read_bytes()[:-10])
    assert "is damaged: its list of presets is missing" in refusal()
    path.write_bytes(path.read_bytes()[:30])
    assert "is damaged" in refusal()


def test_without_fluidsynth_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    font = write_headers(tmp_path / "font.sf2", [(0, 0)])
    with pytest.raises(UserError, match=r"apt install fluidsynth fluid-soundfont-gm.*brew install fluid-synth"):
        render_soundfont(font, tmp_path / "corpus", programs=[0], notes=[60])


def test_programs_are_those_of_bank_0(tmp_path):
    assert player.programs_of(write_headers(tmp_path / "font.sf2", [(5, 0), (6, 8), (0, 128), (127, 0)])) == {5, 127}


def test_kits_are_those_of_bank_128(tmp_path):
    font = write_headers(tmp_path / "font.sf2", [(5, 0), (6, 8), (0, 128), (25, 128)])
    assert player.programs_of(font, 128) == {0, 25}


def test_programs_and_kits_together_are_refused(timbrel, tmp_path):
    ended = timbrel("corpus", "soundfont", FONT, "-o", tmp_path / "new", "--programs", "1", "--kits", "0")
    assert ended.status == 2
    assert "--programs 1 and --kits 0 are two kinds of corpus; give one of them" in ended.err


def test_a_program_that_the_soundfont_lacks_is_never_replaced_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "fluidsynth", lambda: "fluidsynth-that-is-never-run")
    font = write_headers(tmp_path / "font.sf2", [(5, 0)])
    with pytest.raises(UserError, match=r"nothing sounds in .*font.sf2 .*1 unreadable"):
        render_soundfont(font, tmp_path / "corpus", programs=[6], notes=[60])
    assert not (tmp_path / "corpus").exists()


def test_a_synthesiser_that_fails_is_a_failure_in_its_own_words(tmp_path, monkeypatch):
    script = tmp_path / "fluidsynth"
    script.write_text("#!/bin/sh\necho 'no room left' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(module, "fluidsynth", lambda: str(script))
    font = write_headers(tmp_path / "font.sf2", [(0, 0)])
    with pytest.raises(Failure, match=r"could not play .*font.sf2 \(status 3\): no room left"):
        render_soundfont(font, tmp_path / "corpus", programs=[0], notes=[60])
    script.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(Failure, match=r"\(status 0\): it wrote too little"):
        render_soundfont(font, tmp_path / "corpus", programs=[0], notes=[60])
    assert not (tmp_path / "corpus").exists()


# ---- what is rendered


@needs_font
def test_every_clip_carries_its_labels(rendered):
    corpus, _ = rendered
    for clip in corpus.clips():
        program, note, velocity = (int(part) for part in re.split("[/_]", clip.name))
        assert (clip.program, clip.key, clip.velocity) == (program, note, velocity)
        assert clip.label == PROGRAM_NAMES[program]
        assert clip.length == round(0.6 * corpus.rate)


@needs_font
def test_a_program_that_is_silent_at_a_note_is_skipped_and_named(rendered):
    corpus, report = rendered
    assert "043/072_110" in report.silent
    assert len(corpus.clips()) + len(report.silent) == 8 * 5 * 2
    assert {name[:3] for name in report.silent} == {"043"}


@needs_font
def test_librosa_hears_the_key_of_every_clip(rendered):
    librosa = pytest.importorskip("librosa")
    corpus, _ = rendered
    for clip in corpus.clips():
        heard_hz = librosa.yin(corpus.samples(clip), fmin=60, fmax=2100, sr=corpus.rate, frame_length=4096)
        away = np.median(librosa.hz_to_midi(heard_hz[4:-4])) - clip.key
        assert abs(away - 12 * round(away / 12)) < 0.4, clip.name
        assert clip.program == 19 or round(away / 12) == 0, clip.name
        assert abs(np.nanmedian(corpus.pitch(clip)) - clip.key) % 12 == 0


@needs_font
def test_louder_keys_sound_louder_under_one_gain(rendered):
    corpus, _ = rendered
    level = {(clip.program, clip.key, clip.velocity): np.abs(corpus.samples(clip)).max() for clip in corpus.clips()}
    assert all(level[program, key, 110] > level[program, key, 60] for program, key, _ in level)
    alone = next(clip for clip in corpus.clips() if clip.program == 40)
    assert level[40, alone.key, 110] == pytest.approx(level[40, alone.key, 60] * (110 / 60) ** 2, rel=0.5)


@needs_font
def test_a_clip_starts_with_its_note_and_ends_in_silence(rendered):
    corpus, _ = rendered
    for clip in corpus.clips():
        levels = np.abs(corpus.sides(clip)).max(0)
        onset_seconds = np.argmax(levels > 1e-3 * levels.max()) / corpus.rate
        assert 0 < onset_seconds < 0.03, clip.name
        assert levels[-1] == corpus.samples(clip)[-1] == 0


@needs_font
def test_a_note_sounds_as_it_does_alone(rendered, tmp_path):
    corpus, _ = rendered
    render(tmp_path / "alone", programs=[89], notes=[72], velocities=[110], seconds=0.6)
    alone = Corpus.open(tmp_path / "alone")
    one = alone.samples(alone.clips()[0])
    other = next(corpus.samples(clip) for clip in corpus.clips() if clip.name == "089/072_110")
    spectra = [np.abs(np.fft.rfft(samples[4096:20480] * np.hanning(16384))) for samples in (one, other)]
    assert np.linalg.norm(spectra[0] - spectra[1]) < 0.05 * np.linalg.norm(spectra[0])


@needs_font
def test_programs_are_never_parted_and_a_single_program_is_split_by_note(rendered, tmp_path):
    corpus, _ = rendered
    by_program = {}
    for clip in corpus.clips():
        by_program.setdefault(clip.program, set()).add(clip.split)
    assert all(len(splits) == 1 for splits in by_program.values())
    render(tmp_path / "violin", notes=range(55, 75), velocities=[50, 100], seconds=0.2, split="0.6/0.2/0.2")
    by_note = {}
    for clip in Corpus.open(tmp_path / "violin").clips():
        by_note.setdefault(clip.key, set()).add(clip.split)
    assert (
        sorted(min(splits) for splits in by_note.values() if len(splits) == 1)
        == ["test"] * 4 + ["train"] * 12 + ["val"] * 4
    )


@needs_font
def test_rendering_twice_gives_the_same_bytes_and_reports_progress(tmp_path):
    seen = []
    for name in ("a", "b"):
        render(
            tmp_path / name,
            notes=[60, 61],
            seconds=0.2,
            name="same",
            progress=lambda done, what: seen.append((done, what)),
        )
    assert (tmp_path / "a" / "audio-00000.f32").read_bytes() == (tmp_path / "b" / "audio-00000.f32").read_bytes()
    assert (tmp_path / "a" / "corpus.json").read_bytes() == (tmp_path / "b" / "corpus.json").read_bytes()
    assert seen == [(0.0, "40 Violin"), (1.0, "done")] * 2


@needs_font
def test_more_notes_than_one_run_holds_are_played_in_several(tmp_path, monkeypatch):
    render(tmp_path / "one", notes=range(60, 67), seconds=0.3)
    monkeypatch.setattr(player, "_RUN_SECONDS", 1.0)
    render(tmp_path / "several", notes=range(60, 67), seconds=0.3)
    one, several = Corpus.open(tmp_path / "one"), Corpus.open(tmp_path / "several")
    assert [clip.name for clip in one.clips()] == [clip.name for clip in several.clips()]
    for left, right in zip(one.clips(), several.clips(), strict=True):
        assert np.nanmedian(one.pitch(left)) == np.nanmedian(several.pitch(right)) == left.key


# ---- hits of kits


@needs_font
def test_every_hit_is_labelled_with_what_it_is(hits):
    corpus, report = hits
    for clip in corpus.clips():
        kit, note, velocity = (int(part) for part in re.fullmatch(r"kit (\d+)/(\d+)_(\d+)", clip.name).groups())
        assert (clip.program, clip.key, clip.velocity) == (kit, note, velocity)
        assert clip.label == ("timpani" if kit == 48 and note in (42, 46, 48) else DRUM_CLASSES[note])
    assert report.labels == dict(Counter(clip.label for clip in corpus.clips()))
    assert list(report.labels) == sorted(report.labels)


@needs_font
def test_each_hit_is_kept_once_and_none_is_lost(hits):
    """Two hits are told apart here by their spectra, which know neither level nor a delay."""
    corpus, report = hits
    assert report.unreadable == {"kit 020": "not in this soundfont"}
    assert report.silent == [f"kit 025/058_{velocity:03d}" for velocity in (40, 80, 127)]
    assert len(corpus.clips()) + len(report.repeated) + len(report.silent) == 4 * 7 * 3
    assert {"kit 008/048_127", "kit 008/054_127", "kit 025/054_040"} <= set(report.repeated)
    by_key = {}
    for clip in corpus.clips():
        spectrum = np.abs(np.fft.rfft(corpus.samples(clip)))
        by_key.setdefault(clip.key, []).append(spectrum / np.linalg.norm(spectrum))
    alike = {key: np.array(rows) @ np.array(rows).T - np.eye(len(rows)) for key, rows in by_key.items()}
    assert max(float(table.max()) for table in alike.values()) < 0.9998
    assert len(by_key[54]) == 1
    assert {clip.program for clip in corpus.clips() if clip.key == 36} == {0, 8, 25, 48}


@needs_font
def test_hits_sound_like_drums(hits):
    """Where half the energy of each lies: a kick's below 200 Hz, a hat's above 3 kHz."""
    corpus, _ = hits
    middles = {}
    for clip in corpus.clips():
        power = np.cumsum(np.abs(np.fft.rfft(corpus.samples(clip))) ** 2)
        middles.setdefault(clip.label, []).append(np.searchsorted(power, power[-1] / 2) / 0.6)
    assert max(middles["kick"]) < 200 < 3000 < min(middles["closed hat"])
    assert all(len(corpus.samples(clip)) == round(0.6 * corpus.rate) for clip in corpus.clips())


@needs_font
def test_the_velocities_of_a_hit_are_never_parted(tmp_path):
    render(
        tmp_path / "c", programs=[0, 16, 24], notes=[36, 38], velocities=[40, 90, 127], kits=True, split="0.6/0.2/0.2"
    )
    clips = Corpus.open(tmp_path / "c").clips()
    splits = {}
    for clip in clips:
        splits.setdefault((clip.program, clip.key), set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert max(sum((clip.program, clip.key) == hit for clip in clips) for hit in splits) > 1


@needs_font
def test_the_command_renders_all_drums_of_a_kit(timbrel, tmp_path):
    arguments = ["--kits", "48", "--seconds", "0.2", "--rate", "8000"]
    assert timbrel("corpus", "soundfont", FONT, "-o", tmp_path / "new", *arguments).status == 0
    assert {clip.key for clip in Corpus.open(tmp_path / "new").clips()} == set(range(35, 82))


# ---- both sides


@needs_font
def test_a_soundfont_gives_both_sides_or_the_mean_of_before(tmp_path):
    """Of FluidR3, pianos have two sides, and trumpets one."""
    for channels in (1, 2):
        report = render(tmp_path / f"{channels}", programs=[0, 56], seconds=0.5, channels=channels)
        assert report.stereo == channels - 1
    mono, stereo = (Corpus.open(tmp_path / f"{channels}") for channels in (1, 2))
    (piano, trumpet), (wide_piano, same_trumpet) = mono.clips(), stereo.clips()
    assert not list((tmp_path / "1").glob("sides-*"))
    assert [stereo.channels(clip) for clip in (wide_piano, same_trumpet)] == [2, 1]
    assert np.array_equal(stereo.samples(same_trumpet), mono.samples(trumpet))
    left, right = stereo.sides(wide_piano)
    assert mono.samples(piano) == pytest.approx((left + right) / 2, abs=1e-6)
    both = np.sqrt((np.square(left) + np.square(right)) / 2)
    assert decibels(stereo.samples(wide_piano), both) == pytest.approx(0, abs=0.5)
    assert decibels(mono.samples(piano), both) < -1
    assert stereo.samples(wide_piano)[-1] == left[-1] == right[-1] == 0


@needs_font
def test_the_command_renders_one_channel_on_request(timbrel, tmp_path):
    arguments = ["--programs", "0", "--notes", "60", "--seconds", "0.2"]
    for channels in ([], ["--channels", "1"]):
        name = tmp_path / f"c{len(channels)}"
        assert timbrel("corpus", "soundfont", FONT, "-o", name, *arguments, *channels).status == 0
    assert [Corpus.open(tmp_path / name).report.stereo for name in ("c0", "c2")] == [1, 0]
    assert timbrel("corpus", "soundfont", FONT, "-o", tmp_path / "3", "--channels", "3").status == 2
