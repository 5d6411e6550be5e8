"""What cannot be used is refused in one line that names it, and nothing is written or lost."""

import subprocess
import sys

import pytest

from .pantry import RENDER, begin_quickly, one_line

BAD = {
    # missing files
    "corpus build none.wav -o new": ["none.wav does not exist", "give sound files or folders"],
    "corpus build good.wav none -o new": ["none does not exist"],
    "corpus build good.wav -o new --split none.json": ["none.json does not exist"],
    "corpus soundfont none.sf2 -o new": ["none.sf2"],
    "train tuned-8 --corpus none -o new": ["corpus none does not exist", "timbrel corpus build"],
    "train none.toml --corpus corpus -o new": ["none.toml does not exist"],
    "train tuned-8 --corpus corpus -o none --resume": ["run none does not exist", "timbrel train"],
    "evaluate none": ["run none does not exist"],
    "export none -o new.onnx": ["run none does not exist"],
    "make none -o new": ["none does not exist"],
    "info none.onnx": ["none.onnx does not exist", "timbrel presets"],
    "verify none.onnx": ["none.onnx does not exist"],
    "render none good.mid -o new.wav": ["'none'"],
    "render none.toml good.mid -o new.wav": ["none.toml does not exist"],
    "render none.onnx good.mid -o new.wav": ["none.onnx does not exist"],
    "render model.onnx none.mid -o new.wav": ["none.mid"],
    f"{RENDER} --channel 2=nothing": ["'nothing'"],
    "panel nothing": ["'nothing'"],  # before an address is printed
    "panel none.toml": ["none.toml does not exist"],
    "play good.toml --null --panel --channel 2=nothing": ["'nothing'"],
    # sounds
    "corpus build empty -o new": ["no sounds in empty", "give files or folders"],
    "corpus build texts -o new": ["no sounds in texts"],
    "corpus build text.wav -o new": ["text.wav", "1 unreadable"],
    "corpus build zero.wav -o new": ["zero.wav", "1 unreadable"],
    "corpus build frameless.wav -o new": ["frameless.wav", "1 too short", "4096 samples"],
    "corpus build three.wav -o new": ["three.wav", "1 too short", "4096 samples"],
    "corpus build nan.wav -o new": ["nan.wav", "1 unreadable"],
    "corpus build silent.wav -o new": ["silent.wav", "1 silent"],
    "corpus build text.wav nan.wav three.wav silent.wav -o new": ["2 unreadable", "1 silent", "1 too short"],
    "make empty -o new": ["no sounds in empty"],
    "make text.wav -o new": ["text.wav", "1 unreadable"],
    "make nan.wav -o new": ["nan.wav", "1 unreadable"],
    "corpus build good.wav -o new --rate 100": ["rate (Hz): 100 is out of range; give 6000 to 192000"],
    "corpus build good.wav -o new --split 0.5/0.6/0.1": ["0.5/0.6/0.1", "sum to 1"],
    "corpus build good.wav -o new --group (": ["'('", "regular expression"],
    "corpus soundfont text.wav -o new": ["text.wav"],
    "corpus soundfont text.wav -o new --notes 60-200": ["200"],
    # corpora, recipes and runs
    "train tuned-8 --corpus corpus-of-tomorrow -o new": ["corpus-of-tomorrow", "format 5", "formats 1 to 4", "again"],
    "train tuned-8 --corpus corpus-cut-off -o new": ["audio-00000.f32 has 1000 bytes", "again"],
    "train tuned-8 --corpus empty -o new": ["empty is no corpus"],
    "train tuned-8 --corpus good.wav -o new": ["good.wav is no corpus"],
    "train tund-8 --corpus corpus -o new": ["'tund-8'", "did you mean 'tuned-8'"],
    "train wrong.toml --corpus corpus -o new": ["'network.latnts'", "did you mean 'latents'"],
    "train text.toml --corpus corpus -o new": ["text.toml", "TOML"],
    "train tuned-8 --corpus corpus -o new --set training.stepps=5": ["'training.stepps'", "did you mean 'steps'"],
    "train tuned-8 --corpus corpus -o new --set training.steps": ["'training.steps'", "key=value"],
    "train tuned-8 --corpus corpus -o new --set training.steps=0": [
        "training.steps",
        "greater than or equal to 1",
        "0",
    ],
    "train tuned-8 --corpus corpus -o new --set network.bottleneck=tanh": ["network.bottleneck", "'tanh'", "'lrelu'"],
    "train tuned-8 --corpus corpus -o new --minutes 0": ["training.minutes", "greater than 0"],
    "train tuned-8 --corpus corpus -o new --set frames.sample_rate=48000": ["44100 Hz", "wants 48000", "--rate 48000"],
    "train tuned-8 --corpus corpus -o new --accelerator abacus": ["--accelerator abacus"],
    "train chroma-8 --corpus corpus -o run --resume": ["run run was trained with another recipe", "run/recipe.toml"],
    "train tuned-8 --corpus corpus -o run-of-tomorrow --resume": ["format 2", "reads 1"],
    "train run-damaged/recipe.toml --corpus corpus -o run-damaged --resume": ["last.ckpt is damaged"],
    "make good.wav -o new --minutes 0": ["--minutes 0 must be above 0, and 100000 at most; give the minutes to"],
    "make good.wav -o new --minutes nan": ["--minutes nan must be above 0, and 100000 at most; give the minutes to"],
    "evaluate run-untrained": ["has no checkpoint", "train it first"],
    "evaluate run-of-tomorrow": ["format 2"],
    "evaluate run-damaged": ["is damaged"],
    "evaluate run-foreign": ["not of format 1"],
    "evaluate run-mixed-up": ["best.ckpt does not fit the recipe beside it"],
    "evaluate empty": ["empty is not a run"],
    "export run-untrained -o new.onnx": ["has no checkpoint", "train it first"],
    "export run-damaged -o new.onnx": ["best.ckpt is damaged"],
    "export run-foreign -o new.onnx": ["not of format 1"],
    "export run-mixed-up -o new.onnx": ["best.ckpt does not fit the recipe beside it"],
    "export empty -o new.onnx": ["empty is not a run"],
    "export run -o new.wav": ["new.wav", "new.onnx"],
    "export run -o new.encoder.onnx": ["new.encoder.onnx", "new.onnx"],
    # models
    "info text.onnx": ["text.onnx cannot be opened as an ONNX model"],
    "info zero.onnx": ["zero.onnx"],
    "info cut-off.onnx": ["cut-off.onnx cannot be opened"],
    "info foreign.onnx": ["foreign.onnx is an ONNX file without a timbrel card", "timbrel export"],
    "info of-tomorrow.onnx": ["card format 2 is newer", "update timbrel"],
    "info of-another-graph.onnx": ["of-another-graph.onnx", "are not the card's"],
    "info without-license.onnx": ["without-license.onnx", "license"],
    "info corpus": ["corpus is a folder"],
    "verify cut-off.onnx": ["cut-off.onnx cannot be opened"],
    "render foreign.onnx good.mid -o new.wav": ["without a timbrel card"],
    "render of-another-kind.onnx good.mid -o new.wav": ["'stream'", "stream must be given"],
    # presets
    "render wrong-key.toml good.mid -o new.wav": ["wrong-key.toml", "'modle'", "did you mean 'model'"],
    "render wrong-part.toml good.mid -o new.wav": ["wrong-part.toml", "'play.vioces'", "did you mean 'voices'"],
    "render wrong-length.toml good.mid -o new.wav": ["wrong-length.toml", "2 numbers", "8 latents", "give 8"],
    "render wrong-cc.toml good.mid -o new.wav": ["wrong-cc.toml", "200", "127"],
    "render wrong-target.toml good.mid -o new.wav": ["'latent.9'", "did you mean 'latent."],
    "render wrong-effect.toml good.mid -o new.wav": ["'Reverbb'", "Reverb"],
    "render wrong-type.toml good.mid -o new.wav": ["wrong-type.toml", "play.voices", "'many'"],
    "render missing-model.toml good.mid -o new.wav": ["'gone.onnx'", "does not exist"],
    "render modelless.toml good.mid -o new.wav": ["modelless.toml", "model"],
    "render of-tomorrow.toml good.mid -o new.wav": ["of-tomorrow.toml", "format 2", "update timbrel"],
    "render text.toml good.mid -o new.wav": ["text.toml is not TOML"],
    "render corpus good.mid -o new.wav": ["corpus is a folder"],
    "render good.wav good.mid -o new.wav": ["good.wav"],
    # MIDI files
    "render model.onnx zero.mid -o new.wav": ["zero.mid", "empty"],
    "render model.onnx text.mid -o new.wav": ["text.mid", "not a MIDI file"],
    "render model.onnx cut-off.mid -o new.wav": ["cut-off.mid", "cut off"],
    "render model.onnx corpus -o new.wav": ["corpus", "folder"],
    # outputs
    "corpus build good.wav -o none/new": ["none does not exist", "make it first"],
    "corpus build good.wav -o empty/../corpus": ["corpus holds a corpus"],
    "corpus build good.wav -o good.wav": ["good.wav", "a file has that name"],
    "train tuned-8 --corpus corpus -o none/new": ["none does not exist"],
    "train tuned-8 --corpus corpus -o corpus": ["corpus exists and is not empty"],
    "train tuned-8 --corpus corpus -o old.wav": ["old.wav", "a file has that name"],
    "export run -o none/new.onnx": ["none does not exist", "make it first"],
    "export run -o old.onnx": ["old.onnx exists", "--overwrite"],
    "make good.wav -o none/new": ["none does not exist"],
    "make good.wav -o corpus": ["corpus exists and is not empty"],
    "make good.wav -o old.wav": ["old.wav", "a file has that name"],
    "render model.onnx good.mid -o none/new.wav": ["none does not exist", "make it first"],
    "render model.onnx good.mid -o old.wav": ["old.wav exists", "--overwrite"],
    "render model.onnx good.mid -o empty": ["empty"],
    "render model.onnx good.mid -o new.mp9": ["new.mp9", ".wav, .flac, .ogg"],
    "render model.onnx good.mid -o new": ["new", "without suffix"],
    f"{RENDER} --rate 15999": ["--rate 15999", "16000 to 96000"],
    f"{RENDER} --channel 17=model.onnx": ["'17=model.onnx'", "1 to 16"],
    f"{RENDER} --channel model.onnx": ["'model.onnx'", "NUMBER=PRESET"],
    # playing live
    "play good.toml --null --block 0": ["--block 0", "[16, 8192]", "128 or 256"],
    "play good.toml --null --block 100000": ["--block 100000", "[16, 8192]"],
    "play good.toml --null --rate 0": ["--rate 0", "[8000, 192000]", "card's own"],
    "play good.toml --null --rate -48000": ["--rate -48000"],
    "play good.toml --null --device system": ["--null and --device system"],
    "play good.toml --null --input default": ["--null has no input, but --input default asks for one; leave one"],
    "play good.toml --null --keys": ["--keys needs a terminal", "MIDI"],
    "play good.toml --null --channel 17=gm-keys": ["--channel '17=gm-keys'", "NUMBER from 1 to 16"],
    "play good.toml --null --channel 2=gm-kays": ["'gm-kays'", "did you mean 'gm-keys'"],
    "play good.toml --null --channel 2=none --channel 2=none": ["--channel '2=none' is the second for channel 2"],
    "play good.toml --input default --channel 2=gm-keys": ["--input goes through one preset", "leave one of them out"],
    "play good.toml --null --controller knobs": ["'knobs'", "did you mean 'eight-knobs'"],
    "play good.toml --null --controller xyz": ["'xyz'", "eight-knobs, launch-control-xl, midi-mix, nanokontrol2"],
    "play good.toml --null --controller none.toml": ["none.toml cannot be read"],
    "play good.toml --null --set none": ["--set none is not a folder"],
    "play good.toml --null --set empty": ["--set empty holds no preset"],
    "play good.toml --null --record old.wav": ["old.wav exists", "--overwrite"],
    "play good.toml --null --record none/new.wav": ["none does not exist", "make it first"],
    "play good.toml --null --record new.mp9": ["--record new.mp9", ".wav, .flac, .ogg"],
    "play good.toml --null --record-midi good.mid": ["good.mid exists", "--overwrite"],
    "play good.toml --null --record-midi none/new.mid": ["none does not exist"],
    "play good.toml --null --record-midi new.wav": ["--record-midi new.wav", ".mid"],
    "play none --null": ["'none'"],
    "play wrong-part.toml --null": ["wrong-part.toml", "'play.vioces'", "did you mean 'voices'"],
    "play of-another-kind.onnx --null": ["'stream'", "stream must be given"],
    "play good.toml --null --midi-api abacus": ["--midi-api 'abacus'", "alsa, jack, coremidi, winmm"],
    "learn none": ["'none'"],
    "learn wrong-key.toml": ["wrong-key.toml", "'modle'"],
    "learn good.toml --target latent.9": ["'latent.9'", "did you mean 'latent."],
    "learn good.toml --target volume": ["'volume'", "latent.0"],
    "learn good.toml --midi-api abacus": ["--midi-api 'abacus'", "alsa, jack, coremidi, winmm"],
}


@pytest.mark.parametrize("line", BAD)
def test_what_cannot_be_used_is_refused_in_a_line(pantry, timbrel, monkeypatch, line):
    begin_quickly(monkeypatch)
    said = one_line(timbrel(*line.split()))
    for words in BAD[line]:
        assert words in said


def test_a_line_ends_a_process_with_status_2_and_without_a_traceback(pantry):
    """In a process of its own: what no test in this one would see, such as a warning at exit."""
    done = subprocess.run(
        [sys.executable, "-m", "timbrel", "info", "cut-off.onnx"], capture_output=True, text=True, cwd=pantry
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
