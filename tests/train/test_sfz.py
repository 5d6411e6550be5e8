from pathlib import Path

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.train.corpus.build import build
from timbrel.train.corpus.pitch import single_note
from timbrel.train.corpus.sfz import sfz_samples
from timbrel.train.corpus.store import Corpus
from timbrel.train.corpus.stored_sounds import SoundLabels

RATE = 16_000


def tone(hz: float, seconds: float = 1.0, partials: tuple[float, ...] = (1, 2, 3, 4)) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.sum([0.1 * np.sin(2 * np.pi * ratio * hz * times) / (1 + n) for n, ratio in enumerate(partials)], axis=0)


def write(folder: Path, text: str, *sounds: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(sounds):
        soundfile.write(folder / name, tone(220 * 2 ** (number / 12)), RATE)
    (folder / "kit.sfz").write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, text: str, *names: str) -> list[SoundLabels | None]:
    """Return the samples of files by their names in the folder."""
    found = sfz_samples([write(folder, text)])
    return [found.sample(folder / name) for name in names]


def test_regions_inherit_from_groups_masters_and_global(tmp_path: Path) -> None:
    text = """
        // a comment <region> sample=no.wav
        <control> default_path=in\\here/
        <global> hivel=100
        <master> master_label=all
        <group> pitch_keycenter=c#4 lovel=20 group_label=soft reeds
        <region> sample=first one.wav
        <region> sample=second.wav pitch_keycenter=72 hivel=50 /* and
        <region> sample=never.wav */
        <group> key=a-1
        <region> sample=third.wav
        <region> sample=*sine
    """
    names = [f"in/here/{name}.wav" for name in ("first one", "second", "third", "never")]
    assert read(tmp_path / "s", text, *names) == [
        SoundLabels(61, 100, "soft reeds"),
        SoundLabels(72, 50, "soft reeds"),
        SoundLabels(9, 100, "all"),
        None,
    ]


def test_definitions_hold_from_their_line_on_also_beyond_inclusions(tmp_path: Path) -> None:
    (tmp_path / "s" / "data").mkdir(parents=True)
    (tmp_path / "s" / "data" / "keys.sfz").write_text("#define $KEY 50\n")
    (tmp_path / "s" / "data" / "part.sfz").write_text('#include "data/keys.sfz"\n<region> sample=a.wav key=$KEY\n')
    text = '<group> hivel=90\n#include "data/part.sfz"\n#define $KEY 73\n<region> sample=B.WAV key=$KEY\n'
    assert read(tmp_path / "s", text, "a.wav", "b.wav") == [SoundLabels(50, 90, ""), SoundLabels(73, 90, "")]


def test_several_instruments_are_labels_and_the_later_of_key_and_keycenter_counts(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "OTHER.SFZ").write_text("<region> sample=b.wav key=40 pitch_keytrack=0\n")
    text = "<group> pitch_keycenter=60\n<region> sample=a.wav key=64\n<effect> default_path=x/\n"
    text += "<region> sample=c.wav key=--5"
    assert read(tmp_path / "s", text, "a.wav", "b.wav", "c.wav") == [
        SoundLabels(64, None, "kit"),
        SoundLabels(None, None, "OTHER"),
        SoundLabels(None, None, "kit"),
    ]


def test_the_first_region_of_a_sample_counts_in_the_instrument_and_the_corpus(tmp_path: Path) -> None:
    """Later ones stretch a sample over more keys, or let it ring as a release."""
    text = "<region> sample=a.wav key=57\n<region> sample=A.wav key=60\n<region> sample=./a.wav trigger=release\n"
    text += "<region> sample=../s/b.wav trigger=release\n<region> sample=b.wav key=58\n"
    folder = write(tmp_path / "s", text, "a.wav", "b.wav")
    found = sfz_samples([folder])
    assert (found.sample(folder / "a.wav"), found.sample(folder / "b.wav")) == (SoundLabels(57, None, ""), None)
    assert [found.is_release(folder / name) for name in ("a.wav", "b.wav", "c.wav")] == [False, True, False]
    build([folder], tmp_path / "corpus", rate=RATE, split="1/0/0")
    assert [(clip.name, clip.key) for clip in Corpus.open(tmp_path / "corpus").clips()] == [("a.wav", 57)]


@pytest.mark.parametrize("text", ["x" * 100_000, " " * 100_000, "<region>" * 10_000, "$" * 100_000, "a=" * 50_000])
def test_odd_texts_are_read_at_once(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "s", text + "\n<region> sample=a.wav key=61", "a.wav") == [SoundLabels(61, None, "")]


def test_an_open_comment_lasts_to_the_end_however_many_begin_in_it(tmp_path: Path) -> None:
    text = "<region> sample=a.wav key=61\n" + "/*" * 400_000 + "\n<region> sample=b.wav key=62"
    assert read(tmp_path / "s", text, "a.wav", "b.wav") == [SoundLabels(61, None, ""), None]


def test_many_regions_under_many_opcodes_of_no_use_are_read(tmp_path: Path) -> None:
    text = "<global> " + " ".join(f"odd{n}=1" for n in range(20_000)) + " key=61\n"
    text += "<region> sample=a.wav\n" * 5_000  # each would copy all opcodes: 100 million
    assert read(tmp_path / "s", text, "a.wav") == [SoundLabels(61, None, "")]


def test_definitions_may_use_definitions_but_not_without_end(tmp_path: Path) -> None:
    text = "#define $a 6\n#define $ab $a$one\n#define $one 1\n<region> sample=a.wav key=$ab"
    assert read(tmp_path / "s", text, "a.wav") == [SoundLabels(61, None, "")]
    nested = "#define $v0 xxxxxxxx\n" + "".join(
        f"#define $v{n} {f'$v{n - 1}' * 8}\n"
        for n in range(1, 15)  # 8 ** 15 characters, from a kilobyte
    )
    with pytest.raises(UserError, match="is longer than 16 MiB; give a shorter one"):
        read(tmp_path / "s", nested + "<region> sample=$v14.wav")


@pytest.mark.parametrize("name", ["../secret.txt", "..\\secret.txt", "data/../../secret.txt", "{outside}/secret.txt"])
def test_a_file_outside_of_the_folder_is_not_included(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("<region> sample=a.wav key=50 region_label=secret", encoding="utf-8")
    with pytest.raises(UserError, match=r"which lies outside of .*; give the folder that has both"):
        read(tmp_path / "s", f'#include "{name.format(outside=tmp_path)}"\n')


def test_a_link_to_a_file_outside_of_the_folder_is_not_included(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("<region> sample=a.wav key=50", encoding="utf-8")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "part.sfz").symlink_to(tmp_path / "secret.txt")
    assert read(tmp_path / "s", "", "a.wav") == [None]
    with pytest.raises(UserError, match="lies outside of"):
        read(tmp_path / "s", '#include "part.sfz"\n')


def test_a_file_that_includes_itself_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="includes itself"):
        read(tmp_path / "s", '#include "kit.sfz"\n')


def test_a_corpus_takes_keys_velocities_and_groups_and_leaves_releases_out(tmp_path: Path) -> None:
    text = """
        <group> group_label=bright lovel=65 hivel=127
        <region> sample=a.wav pitch_keycenter=69
        <region> sample=b.wav pitch_keycenter=46
        <region> sample=bell.wav pitch_keycenter=62
        <group> trigger=release
        <region> sample=off.wav key=57
    """
    folder = write(tmp_path / "s", text, "a.wav", "b.wav", "off.wav", "else.wav")
    soundfile.write(folder / "bell.wav", tone(300, 1.0, (1, 1.41, 2.09, 2.71, 3.33)), RATE)
    build([folder], tmp_path / "corpus", rate=RATE, split="1/0/0")
    corpus = Corpus.open(tmp_path / "corpus")
    clips = {clip.name: clip for clip in corpus.clips("train")}
    assert {name: (clip.key, clip.velocity, clip.label) for name, clip in clips.items()} == {
        "a.wav": (69, 127, "bright"),
        "b.wav": (46, 127, "bright"),
        "bell.wav": (62, 127, "bright"),
        "else.wav": (None, None, ""),
    }
    notes = {name: single_note(corpus.pitch(clip)) for name, clip in clips.items()}
    assert notes["a.wav"] == pytest.approx(69, abs=0.2)  # an octave above the sound, as the sampler says
    assert notes["b.wav"] == pytest.approx(46, abs=0.2)
    assert notes["bell.wav"] == 62
    assert notes["else.wav"] == pytest.approx(60, abs=0.2)


def test_a_folder_of_releases_alone_is_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", "<region> sample=a.wav trigger=release\n", "a.wav")
    with pytest.raises(UserError, match="are releases"):
        build([folder], tmp_path / "corpus", rate=RATE)
    assert not (tmp_path / "corpus").exists()
