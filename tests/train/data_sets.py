"""Small data sets of tones: tar files, tables, and those of Hugging Face's datasets."""

import io
import json
import tarfile

import numpy as np
import soundfile

from .sounds import RATE, sine

NOTES = range(60, 66)


def tone(note, seconds=0.3, suffix="WAV", **options):
    """A tone's file as bytes."""
    file = io.BytesIO()
    samples = sine(440 * 2 ** ((note - 69) / 12), seconds=seconds, phase=note)
    soundfile.write(file, samples, RATE, format=suffix, subtype="PCM_16", **options)
    return file.getvalue()


def decoded(data):
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


def shard(path, members):
    """Write a tar file; ``members``: bytes by name, a dict for JSON, or a `tarfile.TarInfo` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            data = json.dumps(content).encode() if isinstance(content, dict) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def tone_shard(path, notes=NOTES, **fields):
    """Write tones with their keys, two members each."""
    members = {}
    for note in notes:
        members[f"tone{note}.flac"] = tone(note, suffix="FLAC")
        members[f"tone{note}.json"] = {"key": note, "label": "low" if note < 63 else "high", **fields}
    return shard(path, members)


def rows_of(notes=NOTES):
    import pyarrow

    return pyarrow.table(
        {
            "audio": pyarrow.array([{"bytes": tone(note), "path": f"/home/she/tone{note}.wav"} for note in notes]),
            "label": pyarrow.array([int(note >= 63) for note in notes], pyarrow.int64()),
            "key": pyarrow.array([*notes], pyarrow.int32()),
            "velocity": pyarrow.array([100 if note % 2 else None for note in notes], pyarrow.int32()),
        }
    )


def parquet(path, table=None, **options):
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(rows_of() if table is None else table, path, **options)
    return path


def hugging_face(notes=NOTES):
    """A data set of Hugging Face's package, whose sounds are not decoded."""
    import datasets

    features = datasets.Features(
        {
            "audio": datasets.Audio(decode=False),
            "label": datasets.ClassLabel(names=["low", "high"]),
            "key": datasets.Value("int32"),
            "velocity": datasets.Value("int32"),
        }
    )
    table = datasets.table.InMemoryTable(rows_of(notes).cast(features.arrow_schema))
    info = datasets.DatasetInfo(features=features, license="CC0-1.0")
    return datasets.Dataset(table, info=info, fingerprint="tones")


def labels_of(corpus):
    return {clip.name: (clip.label, clip.key, clip.velocity) for clip in corpus.clips()}


def samples_by_key(corpus):
    return {clip.key: np.array(corpus.samples(clip)) for clip in corpus.clips()}
