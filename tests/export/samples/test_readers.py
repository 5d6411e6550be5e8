"""Shards as webdataset and Hugging Face's datasets read them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .datasets_of_notes import notes_of, small


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("read") / "notes")


def test_webdataset_reads_all_notes(shards: Path) -> None:
    import webdataset

    found = list(webdataset.WebDataset([str(path) for path in sorted(shards.glob("*.tar"))], shardshuffle=False))
    for note, (labels, samples) in zip(found, notes_of(shards), strict=True):
        assert json.loads(note["json"]) == labels
        assert np.array_equal(soundfile.read(io.BytesIO(note["flac"]), always_2d=True)[0], samples)


def test_datasets_reads_all_notes(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets
    import pyarrow

    labels = datasets.Features.from_arrow_schema(pyarrow.Table.from_pylist([notes_of(shards)[0][0]]).schema)
    features = datasets.Features(
        {"__key__": datasets.Value("string"), "flac": datasets.Value("binary"), "json": labels}
    )
    files = [str(path) for path in sorted(shards.glob("*.tar"))]
    found = datasets.load_dataset(
        "webdataset", data_files={"train": files}, split="train", features=features, cache_dir=str(tmp_path)
    )
    for note, (labels, samples) in zip(found, notes_of(shards), strict=True):
        assert note["json"] == labels
        assert np.array_equal(soundfile.read(io.BytesIO(note["flac"]), always_2d=True)[0], samples)
