"""A corpus opens again or is refused in one line, and appears whole or not at all."""

import json
import shutil

import numpy as np
import pytest
from timbrel.host.errors import UserError
from timbrel.train.corpus.store import Corpus, writing

from .sounds import RATE, sine


def damage(corpus, **changes):
    path = corpus / "corpus.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_no_corpus_is_refused_with_one_line(corpus, tmp_path):
    def refusal():
        with pytest.raises(UserError) as caught:
            Corpus.open(corpus)
        assert "\n" not in str(caught.value)
        assert str(corpus) in str(caught.value)
        return str(caught.value)

    manifest = (corpus / "corpus.json").read_bytes()
    audio = (corpus / "audio.f32").read_bytes()
    damage(corpus, format=2)
    assert "has format 2, this timbrel reads format 1" in refusal()
    damage(corpus, format=1, rate="fast")
    assert "corpus.json is damaged" in refusal()
    (corpus / "corpus.json").write_bytes(manifest[:-100])
    assert "is damaged" in refusal()
    (corpus / "corpus.json").write_bytes(b"\xff\xfe\x00")
    assert "is damaged" in refusal()
    clips = json.loads(manifest)["clips"]
    (corpus / "corpus.json").write_bytes(manifest)
    damage(corpus, clips=clips[1:])
    assert "do not lie end to end" in refusal()
    (corpus / "corpus.json").write_bytes(manifest)
    (corpus / "audio.f32").write_bytes(audio[:-4])
    assert f"audio.f32 has {len(audio) - 4} bytes where its corpus.json expects {len(audio)}" in refusal()
    (corpus / "audio.f32").write_bytes(audio)
    (corpus / "pitch.f32").unlink()
    assert "pitch.f32 has 0 bytes" in refusal()
    (corpus / "corpus.json").unlink()
    assert "is no corpus" in refusal()
    shutil.rmtree(corpus)
    assert "does not exist" in refusal()


def test_a_corpus_appears_whole_or_not_at_all(tmp_path):
    def write_half():
        with writing(tmp_path / "corpus", RATE) as writer:
            writer.append(sine(), np.zeros(22, np.float32), name="a", group="a")
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        write_half()
    assert list(tmp_path.iterdir()) == []
