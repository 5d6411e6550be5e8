"""`timbrel process` takes options and MIDI files, and refuses in a line what cannot be processed."""

import numpy as np
import pytest
import soundfile
from timbrel.host.audio.sound_files import read_sound
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.encoder import encoder_path
from timbrel.host.resynthesis.process import with_options

from .processing import HOP, LENGTH, RATE, noise


def test_a_note_of_its_kind_goes_through_a_shipped_model_and_is_known_again(make_tone, sound_of, tmp_path, timbrel):
    from timbrel.host.signal import sounding_note

    sound = sound_of(make_tone(64, 1.5), 44_100)
    ended = timbrel("process", sound, "--preset", "gm-chroma-8", "-o", tmp_path / "out.wav")
    assert (ended.status, ended.err) == (0, "")
    assert "1.5 s; live it would come 98.7 ms late" in ended.out
    assert float(ended.out.split("convergence ")[1].split(",")[0]) < 0.6
    assert sounding_note(read_sound(tmp_path / "out.wav")[0][0], 44_100) == pytest.approx(64, abs=0.2)


def test_options_take_the_place_of_what_the_preset_says(keyed, make_patch):
    patch = make_patch(keyed, process={"wet": 0.3, "scale": 0.5, "shift": [0.1, 0.2]})
    changed = with_options(patch, ["2", "1=3"], ["0=-0.5"], {"wet": None, "to": "middle", "amount": 0.75})
    assert changed.preset.process.model_dump(exclude_unset=True) == {
        "wet": 0.3,
        "scale": 2.0,
        "scales": [1.0, 3.0],
        "shift": [-0.5, 0.2],
        "to": "middle",
        "amount": 0.75,
    }


@pytest.mark.parametrize(("level", "said"), [(1.5, "reach 1.5, and 1 is full scale; lower the level of"), (1.0, "")])
def test_samples_that_are_clipped_are_told(shelf, sound_of, tmp_path, timbrel, level, said):
    sound, output = sound_of(level * np.sin(np.arange(30_000))), tmp_path / "out.wav"
    ended = timbrel("process", sound, "--preset", shelf / "keyed.onnx", "--wet", 0, "-o", output)
    line = f"warning: {output} is clipped: its samples {said} {sound}\n" if said else ""
    assert (ended.status, ended.err) == (0, line)


@pytest.fixture(scope="module")
def shelf(analytic, keyed, make_allpass, tmp_path_factory):
    """A folder of sounds and presets of which most do not go together."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, samples in {
        "good": noise(30_000),
        "short": noise(1023),
        "silent": noise(30_000, level=1e-5),
        "nan": np.full(30_000, np.nan),
        "late": np.concatenate([noise(29_000), [np.nan]]),
    }.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", noise(30_000), 4000)
    analytic().save(folder / "alone.onnx")
    for name, path in {
        "keyed": keyed.path,
        "grain": make_allpass("grain", frame_length=LENGTH, hop_length=HOP).path,
    }.items():
        (folder / f"{name}.onnx").write_bytes(path.read_bytes())
        encoder_path(folder / f"{name}.onnx").write_bytes(encoder_path(path).read_bytes())
    heading = 'format = 1\nmodel = "keyed.onnx"\n'
    (folder / "shifts.toml").write_text(heading + "[process]\nshift = [0.1]\n")
    (folder / "typo.toml").write_text(heading + "[process]\nweet = 1.0\n")
    (folder / "loud.toml").write_text(heading + "[process]\nwet = 2.0\n")
    (folder / "knob.toml").write_text(heading + '[[cc]]\nnumber = 1\ntarget = "process.wet"\nlow = 0\nhigh = 7\n')
    (folder / "kept.wav").write_text("kept")
    return folder


WRONG = {
    "gone.wav --preset keyed.onnx": "cannot read gone.wav: there is no such file",
    "good.wav": "'--preset'",
    "good.wav --preset alone.onnx": "alone.onnx has no encoder",
    "short.wav --preset keyed.onnx": "short.wav lasts 0.0464 s, and a frame of model 'analytic' 0.0464 s; give a",
    "silent.wav --preset keyed.onnx": "silent.wav is silent, no frame is louder than -80 dB",
    "nan.wav --preset keyed.onnx": "nan.wav: it holds samples that are not finite",
    "late.wav --preset keyed.onnx": "late.wav: it holds samples that are not finite",
    "slow.wav --preset keyed.onnx": "slow.wav has a rate of 4000 Hz; give a sound of 6000 to 192000 Hz",
    "good.wav --preset keyed.onnx --scale 2=1": "--scale 2=1: model 'analytic' has 2 latents; give N=V, N from 0 to 1",
    "good.wav --preset keyed.onnx --shift 0.5": "--shift 0.5: model 'analytic' has 2 latents; give N=V, N from 0 to 1",
    "good.wav --preset keyed.onnx --shift 0=x": "--shift 0=x: 'x' is no number; give one, such as 0.5",
    "good.wav --preset keyed.onnx --shift 0=nan": "process.shift.0: Input should be a finite number",
    "good.wav --preset keyed.onnx --scale 9": "process.scale: Input should be less than or equal to 4",
    "good.wav --preset keyed.onnx --wet 2": "process.wet: Input should be less than or equal to 1",
    "good.wav --preset keyed.onnx --smooth -1": "process.smooth_seconds: Input should be greater than or equal to 0",
    "good.wav --preset keyed.onnx --freeze -1": "'--freeze'",
    "good.wav --preset keyed.onnx --freeze inf": "--freeze inf is not within good.wav, which lasts 1.36 s; give an ear",
    "good.wav --preset keyed.onnx --freeze 1.4": "--freeze 1.4 is not within good.wav, which lasts 1.36 s; give an ear",
    "good.wav --preset keyed.onnx --phase none": "'--phase'",
    "good.wav --preset keyed.onnx --to midle": "'midle' is no landmark of model 'analytic' and no preset; did you mean",
    "good.wav --preset keyed.onnx --to gone.toml": "gone.toml does not exist",
    "good.wav --preset keyed.onnx --to gm-hall": "process.to 'gm-hall' has 8 latents, model 'analytic' has 2",
    "good.wav --preset keyed.onnx --amount 0.5": "--amount 0.5 of which way? give --to",
    "good.wav --preset keyed.onnx --midi gone.mid": "gone.mid",
    "good.wav --preset grain.onnx --phase own": "phase 'own' is for models of kind 'spectrum'",
    "good.wav --preset shifts.toml": "process.shift has 1 numbers, model 'analytic' has 2 latents; give 2",
    "good.wav --preset typo.toml": "unknown key 'process.weet'; did you mean 'wet'?",
    "good.wav --preset loud.toml": "process.wet = 2.0 should be less than or equal to 1",
    "good.wav --preset knob.toml": "CC 1 to 'process.wet': high = 7 is out of range [0, 1]",
    "good.wav --preset keyed.onnx --rate 15999": "--rate 15999 is out of range; give 16000 to 96000 Hz",
    "good.wav --preset keyed.onnx -o kept.wav": "kept.wav exists; give another name, or --overwrite",
    "good.wav --preset keyed.onnx -o new.mp3": "its suffix '.mp3' names no format",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_processed_is_refused_in_a_line_and_nothing_is_written(shelf, timbrel, monkeypatch, line):
    monkeypatch.chdir(shelf)
    before = {path: path.read_bytes() for path in shelf.iterdir()}
    ended = timbrel("process", *line.split(), *([] if "-o" in line.split() else ["-o", "new.wav"]))
    assert (ended.status, ended.out) == (2, ""), ended
    [said] = ended.err.splitlines()
    assert WRONG[line] in said
    assert {path: path.read_bytes() for path in shelf.iterdir()} == before


def test_a_midi_file_plays_the_chroma_and_turns_knobs(shelf, timbrel, tmp_path, keyed, make_patch):
    from timbrel.host.midi.recorder import Recorder

    with Recorder(tmp_path / "keys.mid", RATE, False) as recorder:
        recorder.add([NoteOn(0, 0, 61, 100), ControlChange(0, 0, 70, 127), NoteOff(20_000, 0, 61)])
    outputs = [tmp_path / "heard.wav", tmp_path / "played.wav"]
    for output, options in zip(outputs, ([], ["--midi", tmp_path / "keys.mid"]), strict=True):
        options = ["--preset", shelf / "keyed.onnx", "-o", output, "--rate", 44100, *options]
        assert timbrel("process", shelf / "good.wav", *options).status == 0
    heard, played = (read_sound(output)[0] for output in outputs)
    assert np.abs(heard - played)[:, :38_000].max() > 0.01
