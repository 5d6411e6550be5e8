"""Tunings against closed forms: equal steps, just ratios, a scale without octave, maps with gaps; and wild files."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.errors import UserError
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.play.rack import ChannelInstrument, Rack
from timbrel.host.preset.library import Patch, open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.preset import TuningSettings
from timbrel.host.preset.tuning import read_keymap, read_scale, tuned_keys
from timbrel.host.voice.core_voices import CoreEngine

JUST = ["16/15", "9/8", "6/5", "5/4", "4/3", "45/32", "3/2", "8/5", "5/3", "9/5", "15/8", "2/1"]
EQUAL = [f"{100 * step}.0" for step in range(1, 13)]


def instrument(preset, model, folder, rate):
    return ChannelInstrument(Patch("tuned", preset, model, folder), rate)


def scl(notes, heading="made for a test"):
    return "\n".join(["! made.scl", "!", heading, f" {len(notes)}", "!", *(f" {note}" for note in notes)]) + "\n"


def kbm(entries=(), size=None, first=0, last=127, middle=60, reference=69, hertz="440.0", octave=0):
    head = [len(entries) if size is None else size, first, last, middle, reference, hertz, octave]
    return "\n".join(["! made.kbm", *map(str, head), "! mapping", *map(str, entries)]) + "\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tunings")


@pytest.fixture(scope="session")
def tune(folder):
    """A function that tunes the keys by the text of a scale, and of a keymap or None."""

    def tuned(scale, keymap=None, **keys):
        for name, text in (("s.scl", scale), ("k.kbm", keymap or "")):
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
        settings = {"scale": "s.scl"} | ({} if keymap is None else {"keymap": "k.kbm"}) | keys
        return tuned_keys(TuningSettings.model_validate(settings), folder)

    return tuned


def hertz(pitch):
    return 440 * 2 ** ((pitch - 69) / 12)


def refusal(call, *arguments, **keys):
    with pytest.raises(UserError) as caught:
        call(*arguments, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) - sum(len(str(argument)) for argument in arguments) < 400  # a folder has any length
    return message


def test_without_settings_keys_are_their_own_pitch(folder):
    assert tuned_keys(TuningSettings(), folder) == {key: float(key) for key in range(128)}


@given(st.floats(220, 880))
def test_equal_temperament_has_key_69_at_a4(folder, a4_hz):
    tuned = tuned_keys(TuningSettings(a4_hz=a4_hz), folder)
    assert sorted(tuned) == list(range(128))
    for key, pitch in tuned.items():
        assert hertz(pitch) == pytest.approx(a4_hz * 2 ** ((key - 69) / 12), rel=1e-12)


@pytest.mark.parametrize("keymap", [None, kbm(), kbm(range(12)), kbm([0], octave=1), kbm(range(12), octave=12)])
def test_a_scale_of_twelve_equal_steps_gives_back_the_keys(tune, keymap):
    assert tune(scl(EQUAL), keymap) == {key: float(key) for key in range(128)}


def test_nineteen_equal_steps_are_what_they_are_called(tune):
    tuned = tune(scl([f"{1200 * step / 19:.9f}" for step in range(1, 20)]), a4_hz=442)
    middle = 442 * 2 ** (-9 / 12)
    for key, pitch in tuned.items():
        assert hertz(pitch) == pytest.approx(middle * 2 ** ((key - 60) / 19), rel=1e-9)


def test_a_just_scale_has_its_ratios_in_every_octave(tune):
    tuned = tune(scl(JUST))
    middle = 440 * 2 ** (-9 / 12)
    for key, pitch in tuned.items():
        octave, step = divmod(key - 60, 12)
        over, under = (int(part) for part in (["1/1", *JUST][step]).split("/"))
        assert hertz(pitch) == pytest.approx(middle * 2.0**octave * over / under, rel=1e-12)


def test_a_scale_without_octave_repeats_at_its_last_note_and_ends_where_nothing_is_heard(tune):
    tuned = tune(scl([f"{1200 * math.log2(3) * step / 13:.9f}" for step in range(1, 13)] + ["3/1"]))
    expected = {key: 440 * 2 ** (-9 / 12) * 3 ** ((key - 60) / 13) for key in range(128)}
    assert sorted(tuned) == [key for key, hz in expected.items() if 1 <= hz <= 30_000] != list(range(128))
    for key, pitch in tuned.items():
        assert hertz(pitch) == pytest.approx(expected[key], rel=1e-9)


def test_a_map_leaves_out_keys_marked_missing_or_beyond_its_ends(tune):
    white = kbm([0, "x", 1, "X", 2, 3, "x", 4, "x", 5], size=12, first=30, last=100, octave=7)
    tuned = tune(scl(["200.0", "400.0", "500.0", "700.0", "900.0", "1100.0", "1200.0"]), white)
    assert tuned == {key: float(key) for key in range(30, 101) if key % 12 in (0, 2, 4, 5, 7, 9)}


def test_a_map_tunes_its_reference_key_and_all_others_by_it(tune):
    tuned = tune(scl(JUST), kbm(range(12), middle=62, reference=64, hertz="330"))
    assert hertz(tuned[64]) == pytest.approx(330, rel=1e-12)
    assert hertz(tuned[62]) == pytest.approx(330 * 8 / 9, rel=1e-12)
    assert hertz(tuned[62 + 7 - 12]) == pytest.approx(330 * 8 / 9 * 3 / 4, rel=1e-12)


def test_a_map_of_size_0_plays_degree_after_degree(tune):
    tuned = tune(scl([*JUST[:6], "3/2"]), kbm(size=0, middle=48, reference=48, hertz="100.0"))
    assert hertz(tuned[48 + 7]) == pytest.approx(150, rel=1e-12)
    assert hertz(tuned[48 - 14]) == pytest.approx(100 / 2.25, rel=1e-12)
    assert hertz(tuned[49]) == pytest.approx(100 * 16 / 15, rel=1e-12)


def test_a_formal_octave_may_be_another_degree_than_the_last(tune):
    tuned = tune(scl(["3/2", "2/1", "3/1"]), kbm([0, 1], middle=60, reference=60, hertz="200.0", octave=2))
    assert [hertz(tuned[key]) for key in (58, 59, 60, 61, 62, 63)] == pytest.approx([100, 150, 200, 300, 400, 600])


def test_a_map_may_name_degrees_beyond_the_scale(tune):
    tuned = tune(scl(["3/2", "2/1"]), kbm([0, 3], reference=60, hertz="200.0", octave=4))
    assert [hertz(tuned[key]) for key in (60, 61, 62)] == pytest.approx([200, 600, 800])


def test_what_the_format_allows_around_a_note_is_passed_over(folder):
    text = "! c\r\n\r\n 5 notes\r\n!\r\n 100.0 cents\r\n\t9/8\tE\\\r\n-5.\r\n .5 ! x\r\n2 octave\r\nand then prose\r\n"
    (folder / "odd.scl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\xe9\xff")
    assert read_scale(folder / "odd.scl").notes == pytest.approx([1, 12 * math.log2(9 / 8), -0.05, 0.005, 12])


def test_numbers_of_any_size_are_exact_enough(folder):
    (folder / "big.scl").write_text(scl([f"{2**31 - 1}/{2**30}", f"{3 * 10**200}/{2 * 10**200}"]))
    first, second = read_scale(folder / "big.scl").notes
    assert first == pytest.approx(12 * math.log2((2**31 - 1) / 2**30), abs=1e-12)
    assert second == pytest.approx(12 * math.log2(1.5), abs=1e-9)


WRONG_SCALES = {
    "": "the file ends before a description",
    "x\n": "the file ends before the number of notes",
    "x\ntwelve\n": "line 2: the number of notes is a whole number, 1 to",
    "x\n0\n": "line 2: the number of notes is a whole number, 1 to",
    "x\n!\n2\n2/1\n": "the file ends before note 2 of 2",
    "x\n1\n!\n!\n-3/2\n": "line 5: a note is cents with a point",
    "x\n1\n0/1\n": "line 3: a note is",
    "x\n1\n1/0\n": "line 3: a note is",
    "x\n1\n3/2/1\n": "line 3: a note is",
    "x\n1\n100,0\n": "such as 701.955 or 3/2 (got '100,0')",
    "x\n1\n120000.1\n": "up to 120000",
    f"x\n1\n{'9' * 500}.0\n": "line 3: a note is",
    f"x\n1\n{'9' * 5000}\n": "line 3: a note is",
    "x\n1\n1.0e2\n": "line 3: a note is",
    "x\n1\n1\x85\x1b[31m.0\n": "line 3: a note is",
}


@pytest.mark.parametrize("text", WRONG_SCALES)
def test_a_wrong_scale_is_refused_by_line(tune, folder, text):
    message = refusal(tune, text)
    assert WRONG_SCALES[text] in message
    assert str(folder / "s.scl") in message
    assert message.isprintable()


WRONG_KEYMAPS = {
    kbm(size="many"): "line 2: the size of the map is a whole number, 0 to",
    kbm(size=-1): "line 2: the size",
    kbm(first=128): "line 3: the first key is a whole number, 0 to 127 (got '128')",
    kbm(first=60, last=59): "line 4: the last key is a whole number, 60 to 127",
    kbm(middle=200): "line 5: the middle key",
    kbm(reference="a"): "line 6: the reference key",
    kbm(hertz="0"): "line 7: the reference frequency is 1 to 30000 Hz",
    kbm(hertz="nan"): "line 7: the reference frequency",
    kbm(hertz="9" * 500): "line 7: the reference frequency",
    kbm(octave="2/1"): "line 8: the degree of the formal octave",
    kbm([0, "y"]): "line 11: a key of the map is a degree, 0 or more, or x (got 'y')",
    kbm([0, -1]): "line 11: a key",
    kbm([0, "x"], reference=61): "the reference key 61 is not mapped, so 440 Hz tunes nothing",
    kbm([0], size=2, reference=61): "the reference key 61 is not mapped",
    kbm([0, "x"], first=61, last=61, reference=60): "no key is tuned to 1 to 30000 Hz",
    "12\n0\n": "the file ends before the last key",
}


@pytest.mark.parametrize("text", WRONG_KEYMAPS)
def test_a_wrong_keymap_is_refused_by_line(tune, folder, text):
    message = refusal(tune, scl(EQUAL), text)
    assert WRONG_KEYMAPS[text] in message
    assert str(folder / "k.kbm") in message


WORDS = st.sampled_from(["0", "1", "12", "60", "127", "440.0", "x", "!", "", "2/1", "3/2", "100.", "-5.0", "9" * 400])
LINES = st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=20).map(lambda lines: "\n".join(lines).encode())


def tuned_or_told(tune, scale, keymap):
    """The keys that sound, none where the files are refused; a refusal is one line."""
    try:
        return tune(scale, keymap)
    except UserError as error:
        told = str(error)
    assert told.isprintable()
    return {}


@given(st.one_of(st.binary(max_size=200), LINES), st.one_of(st.none(), st.binary(max_size=200), LINES))
def test_a_wild_file_is_a_tuning_or_one_line(tune, scale, keymap):
    tuned = tuned_or_told(tune, scale, keymap)
    assert set(tuned) <= set(range(128))
    assert all(0.999 < hertz(pitch) < 30_001 for pitch in tuned.values())


@given(LINES)
def test_a_wild_keymap_of_a_good_scale_is_a_tuning_or_one_line(tune, keymap):
    assert set(tuned_or_told(tune, scl(JUST), keymap)) <= set(range(128))


@pytest.mark.parametrize("name", ["none.scl", ".", "a\0b"])
def test_a_scale_that_is_no_file_is_named(folder, name):
    assert "is no file; give a path relative to the preset" in refusal(tuned_keys, TuningSettings(scale=name), folder)


def test_a_file_far_too_long_is_not_read(folder):
    (folder / "long.scl").write_bytes(b"!" * (1 << 20) + b"!")
    assert "longer than 1 MiB" in refusal(read_scale, folder / "long.scl")
    assert "longer than 1 MiB" in refusal(read_keymap, folder / "long.scl")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("a4_hz = 219", "tuning.a4_hz"),
        ("a4_hz = 881", "tuning.a4_hz"),
        ("a4 = 442", "unknown key 'tuning.a4'; did you mean 'a4_hz'?"),
        ("keymap = 'k.kbm'", "give scale too"),
        ("scale = 's.scl'\nkeymap = 'k.kbm'\na4_hz = 440", "a4_hz and keymap, which says its own frequency"),
    ],
)
def test_what_a_preset_cannot_say_of_its_tuning_is_one_line(tmp_path, lines, expected):
    path = tmp_path / "made.toml"
    path.write_text(f'format = 1\nmodel = "m"\n[tuning]\n{lines}\n')
    assert expected in refusal(read_preset, path)


@pytest.fixture
def begun(monkeypatch):
    """The pitches and times at which engines begin notes from now on."""
    heard = []
    for engine in (SpectrumEngine, CoreEngine):

        def listen(self, pitch, time, key, velocity, start=engine.start_stream):
            heard.append((pitch, time))
            return start(self, pitch, time, key)

        monkeypatch.setattr(engine, "start_stream", listen)
    return heard


def test_a_note_in_a442_begins_at_its_frequency(begun, make_instrument, play):
    play(make_instrument(tuning={"a4_hz": 442}), [NoteOn(100, 0, 69, 100)], 512)
    assert [(hertz(pitch), time) for pitch, time in begun] == [(pytest.approx(442), 100)]


def test_notes_of_a_preset_with_scala_files_sound_by_them_and_unmapped_keys_do_not(begun, tmp_path, tiny, tiny_path):
    (tmp_path / "scala").mkdir()
    (tmp_path / "scala" / "just.scl").write_text(scl(JUST))
    (tmp_path / "scala" / "gaps.kbm").write_text(kbm([0, "x", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], reference=60, hertz=250))
    preset = tmp_path / "just.toml"
    preset.write_text(
        f"format = 1\nmodel = '{tiny_path()}'\n[tuning]\nscale = 'scala/just.scl'\nkeymap = 'scala/gaps.kbm'\n"
    )
    rack = Rack({0: open_patch(str(preset))}, 22050)
    rack.process([NoteOn(0, 0, 61, 100), NoteOn(0, 0, 64, 100), NoteOn(0, 0, 67, 100), NoteOff(9, 0, 61)], 64)
    assert [hertz(pitch) for pitch, _ in begun] == pytest.approx([250 * 5 / 4, 250 * 3 / 2])
    assert rack.sounding == 2
    (tmp_path / "scala" / "just.scl").write_text("nothing\n")
    message = refusal(open_patch, str(preset))
    assert f"preset 'just', line 3: {tmp_path / 'scala' / 'just.scl'}: the file ends" in message


def test_equal_temperament_from_a_file_sounds_to_the_bit_as_without(folder, make_preset, tiny, play):
    (folder / "equal.scl").write_text(scl(EQUAL))
    events = [NoteOn(0, 0, 60, 100), NoteOn(300, 0, 67, 80), NoteOff(900, 0, 60)]
    for keys in ({}, {"play": {"mode": "mono", "glide_seconds": 0.01}}, {"play": {"mode": "chord"}}):
        plain, tuned = (
            play(
                instrument(make_preset(**keys, **tuning), tiny(), folder, 22050),
                events,
                2000,
                [128, 77],
            )
            for tuning in ({}, {"tuning": {"scale": "equal.scl"}})
        )
        assert (plain == tuned).all()
        assert plain.any()


def test_a_tuned_performance_sounds_the_same_in_any_blocks(folder, make_preset, tiny, play):
    (folder / "just.scl").write_text(scl(JUST))
    preset = make_preset(tuning={"scale": "just.scl", "a4_hz": 443}, play={"mode": "mono", "glide_seconds": 0.02})
    events = [NoteOn(10, 0, 60, 100), NoteOn(700, 0, 67, 80), NoteOff(1500, 0, 67), NoteOff(2000, 0, 60)]
    whole, parts = (
        play(instrument(preset, tiny(), folder, 22050), events, 4000, sizes) for sizes in ([4000], [1, 128, 333])
    )
    assert (whole == parts).all()


def heard_hz(sound):
    """The frequency of the strongest partial, from a parabola through the peak of a long padded spectrum."""
    level = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * len(sound))) + 1e-9)
    peak = int(np.argmax(level))
    below, top, above = level[peak - 1 : peak + 2]
    return (peak + (below - above) / (2 * (below - 2 * top + above))) * 44100 / (4 * len(sound))


@pytest.mark.parametrize("chroma", [True, False])
@pytest.mark.parametrize(("key", "ratio"), [(45, 5 / 12), (60, 1), (64, 5 / 4), (69, 5 / 3), (76, 5 / 2)])
def test_a_rendered_note_has_the_frequency_that_it_is_tuned_to(folder, make_preset, tiny, play, key, ratio, chroma):
    (folder / "just.scl").write_text(scl(JUST))
    model = tiny(sample_rate=44100, frame_length=4096, hop_length=1024, chroma=chroma)
    plain, higher, just = (
        heard_hz(play(instrument(preset, model, folder, 44100), [NoteOn(0, 0, key, 100)], 80_000)[0, 10_000:])
        for preset in (make_preset(tuning=tuning) for tuning in ({}, {"a4_hz": 442}, {"scale": "just.scl"}))
    )
    near = 2 ** (0.02 / 1200) - 1  # a fiftieth of a cent
    assert plain == pytest.approx(hertz(key), rel=near)
    assert higher / plain == pytest.approx(442 / 440, rel=near)
    assert just == pytest.approx(hertz(60) * ratio, rel=near)
