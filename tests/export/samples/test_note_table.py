"""Data sets of given notes: rows of a table become notes, and bad rows one line."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from timbrel.export.samples import dataset, note_table
from timbrel.export.samples.dataset import make_dataset
from timbrel.export.samples.drawing import BATCH, DatasetSettings
from timbrel.export.samples.note_table import read_notes
from timbrel.host.errors import UserError
from timbrel.host.files import stamp
from timbrel.host.preset.library import open_patch

from ..clusters import cluster, killing
from .datasets_of_notes import SMALL, bytes_of, notes_of


def table_of(path: Path, rows: list[dict]) -> Path:
    """Write rows as a program for tables would: lists and objects as JSON."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: json.dumps(cell) if isinstance(cell, list | dict) else cell for name, cell in row.items()}
            )
    return path


def rendered(folder: Path, table: Path | None, *names: str, notes: int | None = None, **more: object) -> Path:
    shared = {name: more.pop(name) for name in ("workers", "ray", "progress") if name in more}
    settings = DatasetSettings(**{**SMALL, **more})
    make_dataset(names or ("gm-oboe",), folder, settings, notes, table=table, **shared)
    return folder


def test_the_labels_of_a_data_set_written_as_a_table_give_its_notes_again(tmp_path: Path) -> None:
    presets = ("gm-oboe", "gm-pad", "drum-kit")
    more = {"onset_seconds": "0-0.2", "held_seconds": "0.05-0.2", "knobs": {"gain": "0.4-0.6"}}
    drawn = notes_of(rendered(tmp_path / "drawn", None, *presets, notes=70, **more))
    table = table_of(tmp_path / "notes.csv", [labels for labels, _ in drawn])
    given = notes_of(rendered(tmp_path / "given", table, *presets))
    for (labels, samples), (new_labels, new_samples) in zip(drawn, given, strict=True):
        measured = ("loudness_lufs", "peak_dbfs")
        assert {name: labels[name] for name in labels if name not in measured} == {
            name: new_labels[name] for name in new_labels if name not in measured
        }
        np.testing.assert_allclose(new_samples, samples, atol=1e-3)  # labels are rounded


def test_columns_that_a_table_lacks_and_empty_cells_are_drawn_as_without_it(tmp_path: Path) -> None:
    drawn = notes_of(rendered(tmp_path / "drawn", None, notes=4))
    table = table_of(tmp_path / "notes.csv", [{"key": 50}, {"key": ""}, {"key": "60.0"}, {"key": 61}])
    given = notes_of(rendered(tmp_path / "given", table))
    assert [labels["key"] for labels, _ in given] == [50, drawn[1][0]["key"], 60, 61]
    assert given[1][0] == drawn[1][0]
    assert np.array_equal(given[1][1], drawn[1][1])
    assert [labels["velocity"] for labels, _ in given] == [labels["velocity"] for labels, _ in drawn]


def test_codes_landmarks_and_knobs_are_those_of_the_row(tmp_path: Path) -> None:
    card = open_patch("gm-chroma-8").model.card
    landmark = card.landmarks[5]
    low, high = np.array(card.spans).T
    code = (0.25 * low + 0.75 * high).tolist()
    rows = [
        {"latents": code, "landmark": "", "knobs": ""},
        {"latents": "", "landmark": landmark.label, "knobs": ""},
        {"latents": "", "landmark": "", "knobs": {"gain": 0.25}},
    ]
    first, second, third = (
        labels for labels, _ in notes_of(rendered(tmp_path / "n", table_of(tmp_path / "t.csv", rows), "gm-chroma-8"))
    )
    assert first["latents"] == pytest.approx(code, abs=1e-6)
    named = next(one for one in card.landmarks if one.label == landmark.label)
    assert (second["landmark"], second["latents"]) == (landmark.label, pytest.approx(named.latent, abs=1e-6))
    assert third["knobs"] == {"gain": 0.25}
    assert "knobs" not in first
    assert "landmark" not in third


def test_a_knob_of_a_row_counts_before_that_of_the_settings(tmp_path: Path) -> None:
    table = table_of(tmp_path / "t.csv", [{"knobs": {"gain": 0.25}}, {"knobs": ""}])
    notes = notes_of(rendered(tmp_path / "n", table, knobs={"gain": "0.5"}))
    assert [labels["knobs"] for labels, _ in notes] == [{"gain": 0.25}, {"gain": 0.5}]


def test_latents_count_before_a_landmark_and_may_be_rounded(tmp_path: Path) -> None:
    card = open_patch("gm-chroma-8").model.card
    high = [high for _, high in card.spans]
    rows = [{"latents": [number + 9e-7 for number in high], "landmark": card.landmarks[5].label}]
    [(labels, _)] = notes_of(rendered(tmp_path / "n", table_of(tmp_path / "t.csv", rows), "gm-chroma-8"))
    assert labels["latents"] == pytest.approx(high, abs=1e-6)


def test_a_table_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfkey\r\n60\r\n")
    assert [note.key for note in read_notes(tmp_path / "t.csv")] == [60]


def test_empty_lines_before_the_columns_and_between_notes_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\r\n\r\nkey,knobs\r\n\r\n60,null\r\n\r\n")
    assert [(note.key, note.knobs) for note in read_notes(tmp_path / "t.csv")] == [(60, ())]


def test_a_table_has_no_more_notes_than_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note_table, "MOST_NOTES", 1)
    with pytest.raises(UserError, match=r"t\.csv has more than 1 notes; split it"):
        rendered(tmp_path / "n", table_of(tmp_path / "t.csv", [{"key": 60}, {"key": 61}]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key\n60\n200\n", "row 2: key '200' is not a MIDI key, 0 to 127; correct the row, or take it out"),
        ("key\n60.5\n", "row 1: key '60.5' is not a MIDI key"),
        ("key,velocity\n60,100\n60\n", "row 2: it has 1 of 2 values"),
        ("velocity\n0\n", "row 1: velocity '0' is not a MIDI velocity, 1 to 127"),
        ("note\n60\n", "has an unknown column 'note'"),
        ("key,key\n1,2\n", "has two columns 'key'; leave one out"),
        ("latents\n[0.5]\n", "row 1: latents has 1 numbers, the model of gm-oboe 8"),
        ("latents\n[true]\n", "row 1: latents '[true]' is not a JSON list of numbers"),
        ('latents\n"[99,0,0,0,0,0,0,0]"\n', "row 1: latents[0] 99 is out of range; give 0.02817 to"),
        ('knobs\n"{""zzz"": 0.5}"\n', "row 1: gm-oboe has no knob named 'zzz'"),
        ('knobs\n"{""gain"": 2}"\n', "is not a JSON object of positions, 0 to 1"),
        ("preset\nother\n", "row 1: preset 'other' is none of the presets that were given (gm-oboe)"),
        ("landmark\nzz\n", "row 1: the model of gm-oboe has no landmark 'zz'"),
        ("onset_seconds\n0.1\n0.5\n", "row 2: onset_seconds leaves no room in 0.5 seconds"),
        ("held_seconds\nnan\n", "row 1: held_seconds 'nan' is not seconds, 0.001 to 30"),
        ('key\n60\n"61', "row 2: it is no CSV (unexpected end of data)"),
        ('knobs\n"[]"\n', "row 1: knobs '[]' is not a JSON object of positions, 0 to 1"),
        ("knobs\nfalse\n", "row 1: knobs 'false' is not a JSON object of positions, 0 to 1"),
        ("key;velocity\n60;100\n", "has ';' between its columns; save it as a CSV file with commas"),
        ("key\tvelocity\n60\t100\n", "has '\\t' between its columns; save it as a CSV file with commas"),
        ("key;velocity\n0,5;1\n", "has ';' between its columns"),
        ("\n\n", "is empty; its first line names columns, such as key,velocity"),
        ("", "is empty; its first line names columns, such as key,velocity"),
        ("key\n", "has no notes; give a row for each, below the names of columns"),
        ("key\n\xff", "is no text in UTF-8"),
    ],
)
def test_a_bad_row_is_one_line_with_its_number_and_nothing_is_written(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        rendered(tmp_path / "notes", tmp_path / "t.csv")
    assert len(caught.value.args) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("preset", "row", "said"),
    [
        ("drum-kit", {"key": 3}, "drum-kit has no key 3"),
        ("drum-kit", {"latents": [0.5]}, "the keys of drum-kit have codes of their own"),
    ],
)
def test_a_row_that_does_not_fit_its_preset_is_refused(tmp_path: Path, preset: str, row: dict, said: str) -> None:
    more = {"latents": [0.0] * len(open_patch(preset).model.card.latents)} if "latents" in row else {}
    with pytest.raises(UserError, match=f"row 1: {re.escape(said)}"):
        rendered(tmp_path / "notes", table_of(tmp_path / "t.csv", [row | more]), preset)


@pytest.mark.parametrize("notes", [None, 5])
def test_a_data_set_has_a_number_of_notes_or_a_table(tmp_path: Path, notes: int | None) -> None:
    table = table_of(tmp_path / "t.csv", [{"key": 60}]) if notes else None
    with pytest.raises(UserError, match="--notes and --table are two ways to say which notes are rendered"):
        rendered(tmp_path / "notes", table, notes=notes)


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"key": 60 + number % 12, "velocity": 1 + number % 127} for number in range(3 * BATCH + 1)]
    return table_of(tmp_path_factory.mktemp("table") / "t.csv", rows)


@pytest.fixture(scope="module")
def whole(long_table: Path) -> Path:
    return rendered(long_table.parent / "whole", long_table)


def test_two_processes_write_the_bytes_of_one(whole: Path, long_table: Path, tmp_path: Path) -> None:
    assert bytes_of(rendered(tmp_path / "notes", long_table, workers=2)) == bytes_of(whole)


def test_a_stopped_table_goes_on_to_the_same_bytes(whole: Path, long_table: Path, tmp_path: Path) -> None:
    def stop(done: float) -> None:
        if done > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rendered(tmp_path / "notes", long_table, progress=stop)
    assert (tmp_path / "notes" / "notes-000001.tar").exists()
    assert bytes_of(rendered(tmp_path / "notes", long_table)) == bytes_of(whole)


def test_another_table_does_not_go_on_with_a_data_set(whole: Path, long_table: Path, tmp_path: Path) -> None:
    before = bytes_of(whole)
    changed = tmp_path / "t.csv"
    changed.write_bytes(long_table.read_bytes().replace(b"60,1\r\n", b"61,1\r\n", 1))
    for table, notes in ((changed, None), (None, 3 * BATCH + 1)):
        with pytest.raises(UserError, match="holds notes of another table, or of none; give another folder"):
            rendered(whole, table, notes=notes)
    assert bytes_of(whole) == before


def test_a_table_that_changes_while_it_is_rendered_stops_before_a_row_of_another(
    whole: Path, long_table: Path, tmp_path: Path
) -> None:
    """Its index would state the digest of the table that was checked."""
    table = tmp_path / "t.csv"
    table.write_bytes(long_table.read_bytes())

    def edit(done: float) -> None:
        if 0.4 < done < 0.6:
            table.write_bytes(long_table.read_bytes().replace(b"60,", b"72,") + b"60,1\r\n")

    with pytest.raises(UserError, match=r"t\.csv changed while its notes were rendered; give the earlier one again"):
        rendered(tmp_path / "notes", table, progress=edit)
    table.write_bytes(long_table.read_bytes())
    assert bytes_of(rendered(tmp_path / "notes", table)) == bytes_of(whole)


def test_a_table_is_read_a_batch_at_a_time(long_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were read beyond those of the batches that were taken."""
    read = []
    plain = dataset.read_notes
    monkeypatch.setattr(dataset, "read_notes", lambda path: (read.append(note) or note for note in plain(path)))
    batches = dataset._batches([1, 2, 3], long_table, stamp(long_table))
    for number in (1, 2, 3):
        assert next(batches).number == number
        assert len(read) <= (number + 1) * BATCH


@pytest.mark.slow
def test_a_cluster_writes_the_bytes_of_one_process_though_a_node_dies(
    whole: Path, long_table: Path, tmp_path: Path
) -> None:
    with cluster() as (address, second):
        shared = rendered(tmp_path / "shared", long_table, ray=address, progress=killing(second, 1))
    assert bytes_of(shared) == bytes_of(whole)
