"""Sampled instruments, played by sfizz, beside `render`."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pysfizz
import pytest
import soundfile
import timbrel
from timbrel.export.samples.sampler import Layout, Region, _map_knobs, dspreset, sample, sfz
from timbrel.export.samples.strikes import KeyZone, KnobLayer, Strike, VelocityZone, strikes
from timbrel.host.errors import UserError
from timbrel.host.preset.library import open_patch
from timbrel.train.corpus.sfz import sfz_samples

from ..api.test_instrument import cents

RATE = 44_100
BLOCK = 1024  # sfizz plays one sample late after its first block


@pytest.fixture(scope="module")
def oboe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled") / "oboe"
    summary = sample(open_patch("gm-oboe"), folder, every=12, velocities=2, takes=2)
    assert summary.startswith(f"{folder / 'oboe'}.sfz and .dspreset: 24 samples (6 keys, 2 velocities, 2 takes), 24 l")
    return folder


def regions(folder: Path) -> list[dict[str, str]]:
    text = (folder / f"{folder.name}.sfz").read_text()
    return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in text.splitlines() if line.startswith("<region>")]


class Sfizz:
    def __init__(self, folder: Path) -> None:
        self.synth = pysfizz.Synth(RATE, BLOCK)
        assert self.synth.load_sfz_file(folder / f"{folder.name}.sfz")
        self.synth._synth.disable_freewheeling()  # which interpolates, at -53 dB by 2 kHz

    def turn(self, controller: int, value: int) -> None:
        self.synth._synth.cc(0, controller, value)

    def play(self, key: int, velocity: int, held: float) -> np.ndarray:
        return np.asarray(self.synth.render_note(key, velocity, held, held))


def difference_db(played: np.ndarray, rendered: np.ndarray) -> float:
    count = min(played.shape[1], rendered.shape[1]) - 1
    first = played[:, : BLOCK - 8] - rendered[:, : BLOCK - 8]
    rest = played[:, BLOCK + 1 : count + 1] - rendered[:, BLOCK:count]
    power = np.square(first).sum() + np.square(rest).sum()
    return float(10 * np.log10(power / np.square(rendered[:, :count]).sum()))


@pytest.mark.parametrize(("key", "velocity"), [(42, 64), (66, 127), (90, 127)])
def test_before_the_loop_a_sampled_key_is_the_rendered_note(oboe: Path, key: int, velocity: int) -> None:
    rendered = timbrel.open("gm-oboe").render([timbrel.Note(key, 0, 5, velocity)])
    first = next(r for r in regions(oboe) if r["sample"] == f"samples/{key:03d}-v{velocity:03d}-1.flac")
    end = int(first["loop_end"]) - RATE // 4 - BLOCK
    played = Sfizz(oboe).play(key, velocity, end / RATE)
    assert difference_db(played[:, :end], np.asarray(rendered)[:, : end - 1]) < -60


def test_the_second_take_is_the_second_strike(oboe: Path) -> None:
    sounds = [soundfile.read(oboe / "samples" / f"066-v127-{take}.flac")[0] for take in (1, 2)]
    notes = [timbrel.Note(66, 0, 5, 127), timbrel.Note(66, 8, 5, 127)]
    second = np.asarray(timbrel.open("gm-oboe").render(notes))[0, 8 * RATE :]
    count = 3 * RATE
    np.testing.assert_allclose(sounds[1][:count], second[:count], atol=2e-6)
    assert np.abs(sounds[0][:count] - sounds[1][:count]).max() > 1e-3


@pytest.mark.parametrize("key", [47, 61, 70, 81])
def test_between_sampled_keys_it_is_in_tune(oboe: Path, key: int) -> None:
    sfizz = Sfizz(oboe)
    assert abs(cents(sfizz.play(key, 100, 1.0), RATE, key)) < 1


def test_velocities_follow_the_preset_between_layers(oboe: Path) -> None:
    oboe_heard = timbrel.open("gm-oboe")
    for velocity in (127, 110, 90, 64, 40, 20):
        played = Sfizz(oboe).play(66, velocity, 1.0)
        rendered = np.asarray(oboe_heard.render([timbrel.Note(66, 0, 1, velocity)]))
        levels = [20 * np.log10(np.abs(sound[:, RATE // 2 : RATE // 2 + 8192]).std()) for sound in (played, rendered)]
        assert levels[0] == pytest.approx(levels[1], abs=1.5)


def test_loops_have_neither_line_nor_dip_and_nothing_is_clipped(oboe: Path) -> None:
    found = regions(oboe)
    assert len(found) == 24
    for region in found:
        sound = soundfile.read(oboe / region["sample"], always_2d=True)[0].T
        start, end = int(region["loop_start"]), int(region["loop_end"]) + 1
        assert np.abs(sound).max() < 1
        assert sound.shape[1] == end
        looped = np.concatenate([sound, sound[:, start:]], axis=1).mean(axis=0)
        frames = np.lib.stride_tricks.sliding_window_view(looped, 2205)[start::441]
        level = 10 * np.log10(np.square(frames).mean(axis=1))
        at = (end - start - RATE // 4 - 2205) // 441
        joint = slice(at, at + (RATE // 4 + 2 * 2205) // 441)
        others = np.delete(level, np.r_[joint])
        assert level[joint].min() > others.min() - 1
        assert level[joint].max() < others.max() + 1
        edges = np.square(np.diff(looped, 4))
        power = edges[: len(edges) // 256 * 256].reshape(-1, 256).mean(axis=1)
        line = edges[end - 130 : end + 126].mean()
        assert 10 * np.log10(line / power[start // 256 : end // 256].max()) < 1


def test_a_knob_crossfades_layers_on_its_controller(tmp_path: Path) -> None:
    summary = sample(open_patch("gm-oboe"), tmp_path / "k", knobs=["brightness"], every=12, velocities=1, takes=1)
    assert "brightness on CC 70" in summary
    heard = timbrel.open("gm-oboe")
    for position, controller in ((0.0, 0), (1.0, 127), (None, None)):
        sfizz = Sfizz(tmp_path / "k")
        if controller is not None:
            sfizz.turn(70, controller)
        knobs = None if position is None else {"brightness": position}
        rendered = np.asarray(heard.render([timbrel.Note(66, 0, 2, 127)], knobs=knobs))
        played = sfizz.play(66, 127, 1.5)
        assert difference_db(played, rendered[:, : round(1.5 * RATE)]) < -60


def test_a_knob_that_rests_near_an_end_is_heard_once(tmp_path: Path) -> None:
    sample(open_patch("gm-lead"), tmp_path / "k", knobs=["attack"], every=12, velocities=1, takes=1)
    rendered = np.asarray(timbrel.open("gm-lead").render([timbrel.Note(66, 0, 2, 127)]))
    assert difference_db(Sfizz(tmp_path / "k").play(66, 127, 1.0), rendered[:, :RATE]) < -60
    groups = ElementTree.parse(tmp_path / "k" / "k.dspreset").findall(".//group")
    assert [group.attrib["volume"] for group in groups] == ["1.0", "0.0"]
    tables = [
        one.attrib["translationTable"] for one in ElementTree.parse(tmp_path / "k" / "k.dspreset").iter("binding")
    ]
    assert tables == ["0,1;127,0", "0,0;127,1"]


def test_a_second_knob_rests_in_the_format_that_cannot_multiply_volumes() -> None:
    layers = [
        KnobLayer(cc_values=at, lower_cc_values=(None, None), upper_cc_values=(None, None))
        for at in ((0, 64), (127, 64), (0, 0))
    ]
    zone, velocity = KeyZone(60, 60, 60), VelocityZone(1, 127)
    found = [Region("-".join(map(str, one.cc_values)), 1, zone, velocity, 1, one, None) for one in layers]
    knobs = [("brightness", 70, 127), ("breath", 2, 64)]
    tree = ElementTree.fromstring(dspreset(Layout([], found, 1, 0.1, False, False, 2.0, 2.0, knobs)))
    assert [one.attrib["number"] for one in tree.iter("cc")] == ["70"]
    assert [one.attrib["path"] for one in tree.iter("sample")] == ["samples/0-64", "samples/127-64"]


def test_knobs_have_controllers_of_their_own(tmp_path: Path) -> None:
    for knobs in (["gain", "latent 4"], ["latent 4", "gain"]):
        ccs = [cc for _, cc in _map_knobs(open_patch("gm-keys"), knobs)]
        assert len(set(ccs)) == 2
        assert 74 in ccs
    with pytest.raises(UserError, match="a knob is named twice"):
        _map_knobs(open_patch("gm-keys"), ["gain", "gain"])


def test_knobs_may_be_given_one_by_one(timbrel: Callable[..., Any], tmp_path: Path) -> None:
    ended = timbrel("sample", "gm-keys", "-o", tmp_path / "k", "--knobs", "gain", "--knobs", "gain, latent 4")
    assert (ended.status, ended.err) == (
        2,
        "timbrel: --knobs gain,gain,latent 4: a knob is named twice; name each once\n",
    )


def test_the_other_format_names_the_same_samples(oboe: Path) -> None:
    tree = ElementTree.parse(oboe / "oboe.dspreset")
    samples = tree.findall(".//sample")
    known = {region["sample"]: region for region in regions(oboe)}
    assert {one.attrib["path"] for one in samples} == set(known)
    for one in samples:
        region = known[one.attrib["path"]]
        given = [one.attrib[name] for name in ("loNote", "hiNote", "rootNote", "loopStart", "loopEnd", "seqPosition")]
        asked = ("lokey", "hikey", "pitch_keycenter", "loop_start", "loop_end", "seq_position")
        assert given == [region[name] for name in asked]
    assert {(g.attrib["loVel"], g.attrib["hiVel"]) for g in tree.findall(".//group")} == {("1", "64"), ("65", "127")}


def test_a_kit_keeps_its_keys_and_its_ends(tmp_path: Path) -> None:
    sample(open_patch("drum-kit"), tmp_path / "kit", velocities=1, takes=1)
    found = regions(tmp_path / "kit")
    keys = [entry.key for entry in open_patch("drum-kit").preset.keys]
    assert [(int(r["lokey"]), int(r["hikey"]), r["pitch_keytrack"]) for r in found] == [(k, k, "0") for k in keys]
    assert not any("loop_start" in region for region in found)
    assert {(r["sample"][8:11], r["group"], r["off_by"]) for r in found if "group" in r} == {
        ("042", "1", "1"), ("046", "1", "1"),
    }  # fmt: skip
    played = Sfizz(tmp_path / "kit").play(36, 127, 0.3)
    rendered = np.asarray(timbrel.open("drum-kit").render([timbrel.Note(36, 0, 0.3, 127)]))
    assert difference_db(played[:, : RATE // 10], rendered[:, : RATE // 10]) < -60


def test_keys_of_a_kit_carry_their_names_into_samplers_and_corpora(tmp_path: Path) -> None:
    zones = [
        KeyZone(36, 36, 36, False, "my kick <2>=$x"),
        KeyZone(38, 38, 38, False, "trommel 3 ö"),
        KeyZone(40, 40, 40),
    ]
    found = [Region(f"{zone.key}.flac", 1, zone, VelocityZone(1, 127), 1, KnobLayer(), None) for zone in zones]
    layout = Layout(
        [],
        found,
        1,
        0.1,
        one_shot=True,
        mono=False,
        velocity_gain=lambda velocity: (velocity / 127) ** 2,
        bend_semitones=2.0,
    )
    (tmp_path / "samples").mkdir()
    for zone in zones:
        (tmp_path / "samples" / f"{zone.key}.flac").touch()
    (tmp_path / "kit.sfz").write_text(sfz(layout), encoding="utf-8")
    assert "label_key36=my kick -2-x\nlabel_key38=trommel 3 ö\n<global>" in sfz(layout)
    assert "<!-- key 36: my kick -2-x -->" in dspreset(layout)
    read = sfz_samples([tmp_path])
    labels = [read.sample(tmp_path / "samples" / f"{zone.key}.flac") for zone in zones]
    assert [one and one.label for one in labels] == ["my kick -2-x", "trommel 3 ö", ""]


def test_hits_of_a_kit_sound_to_their_end_in_both_samplers_and_a_closed_hat_cuts_the_open_one() -> None:
    found = [
        Region(f"{key}.flac", 1, KeyZone(key, key, key, False), VelocityZone(1, 127), 1, KnobLayer(), None, choke)
        for key, choke in ((36, None), (42, 1), (46, 1))
    ]
    layout = Layout([], found, 1, 0.1, True, False, lambda velocity: velocity / 127, 2.0)
    samples = list(ElementTree.fromstring(dspreset(layout)).iter("sample"))
    assert [one.get("ampEnvEnabled") for one in samples] == ["false"] * 3
    cuts = [(one.get("tags"), one.get("silencedByTags"), one.get("silencingMode")) for one in samples]
    assert cuts == [(None, None, None)] + 2 * [("choke-1", "choke-1", "fast")]
    assert "loop_mode=one_shot" in sfz(layout)
    layered = [replace(region, layer=KnobLayer((0.0,), (0,), (None,), (None,))) for region in found]
    kept = dspreset(replace(layout, regions=layered, one_shot=False, knobs=[("tone", 74, 0)]))
    assert "ampEnvEnabled" not in kept
    assert "silenced" not in kept  # layers of knobs sound together


def test_a_texture_is_one_long_loop_for_all_keys(tmp_path: Path) -> None:
    sample(open_patch("lakeside-soundscape"), tmp_path / "t", velocities=1, takes=1)
    [region] = regions(tmp_path / "t")
    assert (region["lokey"], region["hikey"], region["pitch_keytrack"]) == ("0", "127", "0")
    assert int(region["loop_end"]) - int(region["loop_start"]) > 2 * RATE
    release = re.search(r"ampeg_release=([0-9.]+)", (tmp_path / "t" / "t.sfz").read_text())
    assert release is not None
    assert 1 < float(release[1]) < 8  # its preset's is 4, and a second press ends its notes
    first, second = strikes(Strike(open_patch("lakeside-soundscape"), 60, 127, rest_seconds=6.0), 2, 6.0)
    assert second[:, RATE : 5 * RATE].std() > 0.5 * first[:, RATE : 5 * RATE].std()


def test_a_stream_says_why_it_cannot_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="drum-loops cannot be sampled: it goes on and never repeats"):
        sample(open_patch("drum-loops"), tmp_path / "loops")
    with pytest.raises(UserError, match="no knob is named 'brigtness'; did you mean 'brightness'"):
        sample(open_patch("gm-oboe"), tmp_path / "oboe", knobs=["brigtness"])
    with pytest.raises(UserError, match="layers of 3 knobs are too many"):
        sample(open_patch("gm-oboe"), tmp_path / "oboe", knobs=["air", "noise", "brightness"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(UserError, match="exists and is not empty"):
        sample(open_patch("gm-oboe"), tmp_path / "full")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine"]
