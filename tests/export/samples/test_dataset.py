"""Data sets in folders: labels, shards, resumed and shared runs."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import timbrel
from timbrel.export.samples import dataset
from timbrel.export.samples.dataset import Batch, Job, make_dataset, render_batch
from timbrel.export.samples.drawing import DatasetSettings
from timbrel.host.errors import Failure, UserError
from timbrel.host.preset.library import open_patch

from .datasets_of_notes import NOTES, SMALL, bytes_of, notes_of, small

RATE = SMALL["sample_rate"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set that others should equal."""
    return small(tmp_path_factory.mktemp("whole") / "notes")


def test_labels_say_what_sounds(whole: Path) -> None:
    notes = notes_of(whole)
    assert [labels["number"] for labels, _ in notes] == list(range(NOTES))
    for labels, samples in notes[:20]:
        assert samples.shape == (RATE // 2, 1)
        assert labels["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=0.05)
        assert labels["pitch_hz"] == pytest.approx(440 * 2 ** ((labels["key"] - 69) / 12), rel=1e-4)
        assert labels["model_sha256"] == open_patch("gm-oboe").model.sha256
        spectrum = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples)), 1 << 17))
        near = np.arange(
            round(labels["pitch_hz"] * 0.94 / RATE * (1 << 17)), round(labels["pitch_hz"] * 1.06 / RATE * (1 << 17))
        )
        if spectrum[near].max() > 0.05 * spectrum.max():  # low notes have a weak fundamental
            found = near[spectrum[near].argmax()] * RATE / (1 << 17)
            assert abs(1200 * np.log2(found / labels["pitch_hz"])) < 15


def test_a_note_is_the_one_that_render_plays(whole: Path) -> None:
    labels, samples = notes_of(whole)[0]
    note = timbrel.Note(labels["key"], 0, labels["held_seconds"], labels["velocity"])
    expected = np.asarray(timbrel.open("gm-oboe").render(note, 44100)).mean(axis=0)
    ours = small_at(whole.parent / "44", sample_rate=44100)[0][1][:, 0]
    frames = np.array([ours[: 20 * 1000], expected[: 20 * 1000]]).reshape(2, 20, 1000)
    levels = 10 * np.log10(np.square(frames).mean(axis=2) + 1e-9)
    assert np.median(np.abs(levels[0] - levels[1])) < 0.5  # its phases differ
    assert abs(20 * np.log10(np.std(samples) / np.std(ours))) < 0.5


def small_at(folder: Path, **more: object) -> list:
    return notes_of(small(folder, 1, **more))


def test_two_processes_write_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    assert bytes_of(small(tmp_path / "shared", workers=2)) == bytes_of(whole)


def test_a_stopped_run_goes_on_to_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    def stop(done: float) -> None:
        if done > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "notes", progress=stop)
    left = sorted(path.name for path in (tmp_path / "notes").iterdir())
    assert left == ["index.json", "notes-000000.tar"]
    assert bytes_of(small(tmp_path / "notes")) == bytes_of(whole)


def test_more_notes_are_added_to_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    small(tmp_path / "notes", 3)  # of a shard that grows, and to which another is added
    assert bytes_of(small(tmp_path / "notes")) == bytes_of(whole)
    with pytest.raises(UserError, match="is of 66 notes; ask for as many or more, or give another folder"):
        small(tmp_path / "notes", 65)


@pytest.mark.parametrize("harm", ["flipped", "shorter", "gone"])
def test_a_damaged_shard_is_rendered_again(whole: Path, tmp_path: Path, harm: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "notes")
    shard = folder / "notes-000001.tar"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    if harm == "gone":
        shard.unlink()
    else:
        shard.write_bytes(data if harm == "flipped" else data[:-512])
    said: list[str] = []
    assert bytes_of(small(folder, warn=said.append)) == bytes_of(whole)
    told = {"flipped": "is damaged", "shorter": "has N bytes in place of N", "gone": "is missing"}[harm]
    [line] = said
    assert re.sub(r"\d{4,}", "N", line.removeprefix(str(folder))) == f"/notes-N.tar {told}; it is rendered again"


def test_other_settings_or_presets_do_not_mix(whole: Path) -> None:
    before = bytes_of(whole)
    for more, said in (
        ({"seed": 2}, "holds notes with seed 1, not 2; give another folder"),
        ({"velocities": "5-9"}, "holds notes with velocities '20-127', not '5-9'; give another folder"),
        ({"names": ("gm-pad",)}, "holds notes of other presets or models; give another folder"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            small(whole, **more)
    assert bytes_of(whole) == before


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not empty; give another name or empty it first"):
        small(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 2}')
    with pytest.raises(UserError, match=r"index\.json is no index of a data set, or damaged; give another folder"):
        small(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_full_disk_keeps_whole_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path) -> None:
    real = dataset.flac_bytes
    count = 0

    def fill(samples: np.ndarray, rate: int) -> bytes:
        nonlocal count
        count += 1
        if count > 65:
            raise OSError(28, "No space left on device")
        return real(samples, rate)

    monkeypatch.setattr(dataset, "flac_bytes", fill)
    with pytest.raises(Failure, match=r"cannot write .*notes-000001\.tar: No space left on device"):
        small(tmp_path / "notes")
    assert sorted(path.name for path in (tmp_path / "notes").iterdir()) == ["index.json", "notes-000000.tar"]
    monkeypatch.undo()
    assert bytes_of(small(tmp_path / "notes")) == bytes_of(whole)


def test_stereo_float_onsets_and_labels_of_knobs(tmp_path: Path) -> None:
    more = {"stereo": True, "as_float": True, "onset_seconds": "0.1-0.2", "knobs": {"pan": "0"}, "latents": "uniform"}
    folder = small(tmp_path / "notes", 3, names=("gm-pad", "gm-oboe"), **more)
    for labels, samples in notes_of(folder):
        first = np.flatnonzero(np.abs(samples).max(axis=1) > 0)[0]
        assert labels["onset_seconds"] * RATE <= first + 1 < labels["onset_seconds"] * RATE + 200
        assert np.abs(samples[:, 1]).max() < 1e-3 * np.abs(samples[:, 0]).max()
        assert labels["knobs"] == {"pan": 0.0}
        assert len(labels["latents"]) == len(open_patch(labels["preset"]).model.card.latents)
        assert labels["preset"] in ("gm-pad", "gm-oboe")
    names = set(re.findall(rb"\d{9}\.(\w+)", (folder / "notes-000000.tar").read_bytes()))
    assert names == {b"wav", b"json"}


def test_a_kit_has_no_pitch_and_labels_its_keys(tmp_path: Path) -> None:
    notes = notes_of(small(tmp_path / "notes", 12, names=("drum-kit",)))
    assert {(labels["pitch_hz"], labels["latents"]) for labels, _ in notes} == {(None, None)}
    kit = {entry.key: entry.label for entry in open_patch("drum-kit").preset.keys}
    assert all(labels["label"] == kit[labels["key"]] for labels, _ in notes)
    assert all(labels["peak_dbfs"] > -40 for labels, _ in notes)


def test_a_note_that_still_sounds_fades_at_the_end(tmp_path: Path) -> None:
    for _, samples in notes_of(small(tmp_path / "notes", 3, held_seconds="0.5", velocities="100")):
        assert np.abs(samples[-1]).max() == 0
        assert np.abs(samples[-10:]).max() < 0.2 * np.abs(samples[-400:]).max()


def test_a_silent_note_has_no_loudness(tmp_path: Path) -> None:
    notes = notes_of(small(tmp_path / "notes", 2, knobs={"gain": "0"}))
    assert [labels["loudness_lufs"] for labels, _ in notes] == [None, None]
    assert [labels["peak_dbfs"] for labels, _ in notes] == [-120.0, -120.0]


def test_another_version_or_model_is_refused_by_a_worker() -> None:
    patch, settings = open_patch("gm-oboe"), DatasetSettings(**SMALL)
    job = Job.for_patches(["gm-oboe"], [patch], settings, 64)
    with pytest.raises(UserError, match=r"timbrel 0.1.0 cannot go on with the notes of 9\.9; install the same version"):
        render_batch(job._replace(version="9.9"), Batch(0))
    with pytest.raises(UserError, match="gm-oboe is another preset or model here than at the start"):
        render_batch(job._replace(digests=("0" * 64,)), Batch(0))


def test_a_worker_that_dies_is_one_line_and_whole_shards_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    monkeypatch.setattr(dataset, "render_batch", killed_in_the_second)
    with pytest.raises(Failure, match="a worker died, perhaps for lack of memory; run 'timbrel dataset' again"):
        small(tmp_path / "notes", workers=2)
    monkeypatch.undo()
    assert bytes_of(small(tmp_path / "notes")) == bytes_of(whole)


def killed_in_the_second(job: Job, batch: Batch) -> list[dataset.Member]:
    import os
    import signal

    if batch.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return render_batch(job, batch)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere", "[:1"])
def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster answers at .* start one with 'ray start --head'"):
        small(tmp_path / "notes", ray=address)
    assert not (tmp_path / "notes").exists()


def test_without_ray_one_line_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--ray needs Ray; install it with: pip install 'timbrel\[scale\]'"):
        small(tmp_path / "notes", ray="auto")


def test_equal_keys_sound_differently_and_by_the_seed(tmp_path: Path) -> None:
    more = {"keys": "60", "velocities": "100", "names": ("gm-strings",)}
    first, second = (notes_of(small(tmp_path / str(seed), seed=seed, **more)) for seed in (1, 2))
    sounds = [samples.tobytes() for _, samples in [*first, *second]]
    assert len(set(sounds)) == 132


def test_knobs_in_another_order_go_on_to_the_same_bytes(tmp_path: Path) -> None:
    small(tmp_path / "grown", 2, knobs={"gain": "0.5-1", "pan": "0-1"})
    small(tmp_path / "grown", 4, knobs={"pan": "0-1", "gain": "0.5-1"})
    small(tmp_path / "whole", 4, knobs={"gain": "0.5-1", "pan": "0-1"})
    assert bytes_of(tmp_path / "grown") == bytes_of(tmp_path / "whole")


def test_latents_are_those_of_the_knobs(tmp_path: Path) -> None:
    high = timbrel.open("gm-oboe").knobs["brightness"].high
    for labels, _ in notes_of(small(tmp_path / "notes", 3, latents="uniform", knobs={"brightness": "1"})):
        assert labels["latents"][0] == pytest.approx(high)


def test_a_killed_runs_leftovers_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / ".notes-000000.abc_12.tar").write_bytes(b"half")
    (folder / ".index.xyz.json").write_bytes(b"{")
    assert bytes_of(small(folder, 3)) == bytes_of(small(tmp_path / "whole", 3))


def test_a_changed_file_of_a_preset_is_another_preset(tmp_path: Path) -> None:
    impulse = np.zeros(800, np.float32)
    for place in (0, 400):
        impulse[:] = 0
        impulse[place] = 0.5
        soundfile.write(tmp_path / "room.wav", impulse, 44100)
        (tmp_path / "room.toml").write_text(
            'format = 1\nmodel = "gm-partials-8"\n[[effects]]\nplugin = "Convolution"\n'
            'impulse_response_filename = "room.wav"\n'
        )
        if not place:
            small(tmp_path / "notes", 3, names=(str(tmp_path / "room.toml"),))
    with pytest.raises(UserError, match="holds notes of other presets or models"):
        small(tmp_path / "notes", 5, names=(str(tmp_path / "room.toml"),))


@pytest.mark.parametrize(
    "harm",
    ['"notes": "66"', '"made_by": []', '"shards": [1]', '"shards": [{"file": "notes-000000.tar"}]', '"names": 5'],
)
def test_a_damaged_index_is_one_line(tmp_path: Path, harm: str) -> None:
    folder = small(tmp_path / "notes", 3)
    told = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(told | json.loads(f"{{{harm}}}")))
    with pytest.raises(UserError, match="is no index of a data set, or damaged; give another folder"):
        small(folder, 3)


def test_presets_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two presets are named 'gm-oboe'"):
        small(tmp_path / "notes", 3, names=("gm-oboe", "gm-oboe"))


def test_a_stale_address_of_a_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UserError, match="no Ray cluster answers at 'auto'"):
        small(tmp_path / "notes", ray="auto")


def test_the_index_says_how_it_was_made(whole: Path) -> None:
    told = json.loads((whole / "index.json").read_text())
    assert told["names"] == ["gm-oboe"]
    assert (told["notes"], [shard["notes"] for shard in told["shards"]]) == (NOTES, [64, 2])
    assert told["made_by"]["seed"] == 1


@pytest.mark.parametrize("notes", [0, -5, 10**10])
def test_a_count_out_of_range_is_refused(tmp_path: Path, notes: int) -> None:
    with pytest.raises(UserError, match="is out of range; give 1 to 1000000000"):
        make_dataset(["gm-oboe"], tmp_path / "notes", DatasetSettings(), notes)


def test_two_runs_into_one_folder_are_refused(tmp_path: Path) -> None:
    refused = []

    def second(share: float) -> None:
        with pytest.raises(UserError, match=r"another timbrel is writing into .*notes; wait until it ends"):
            small(tmp_path / "notes", 3)
        refused.append(share)

    assert bytes_of(small(tmp_path / "notes", 3, progress=second)) == bytes_of(small(tmp_path / "whole", 3))
    assert refused == [1]


def test_a_mono_note_has_the_power_of_both_sides() -> None:
    left = np.random.default_rng(1).uniform(-0.5, 0.5, 4000).astype(np.float32)
    sound = np.stack([left, -0.2 * left])
    mono, stereo = (
        dataset._shift_to_onset(sound, 100, DatasetSettings(**SMALL, stereo=wide)) for wide in (False, True)
    )
    np.testing.assert_allclose(mono[0, 100:3000], np.sqrt((1 + 0.2**2) / 2) * left[:2900], atol=1e-6)
    np.testing.assert_allclose(stereo[:, 100:3000], sound[:, :2900])
    assert not mono[:, :100].any()


def test_a_mono_note_of_equal_sides_is_one_of_them() -> None:
    left = np.random.default_rng(1).uniform(-0.5, 0.5, 4000).astype(np.float32)
    mono = dataset._shift_to_onset(np.stack([left, left]), 0, DatasetSettings(**SMALL))
    assert np.array_equal(mono[0, :3000], left[:3000])
