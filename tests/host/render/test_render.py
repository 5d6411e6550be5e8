"""Performances as files: the same bytes twice, stems, and nothing half-written when it fails."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
import timbrel.host.play.render as render_module
from timbrel.host import progress
from timbrel.host.audio.output import limited
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import ControlChange
from timbrel.host.midi.files import Performance
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import blocks, render

from ...patience import until
from .performances import RATE, SHORT, note, performance

TUNE = performance(
    sorted(
        [e for i in range(8) for e in note(55 + 3 * i, 4000 * i, 4000 * i + 5000)]
        + [ControlChange(500 * i, 0, 20, 2 * i) for i in range(60)],
        key=lambda e: e.time,
    ),
    0.8,
)

KNOBS = [
    {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 20, "target": "effects.0.wet_level", "low": 0.0, "high": 0.5},
]
WET = {"cc": KNOBS, "effects": [{"plugin": "Reverb", "room_size": 0.2}]}


@pytest.mark.parametrize(("suffix", "processes"), [(".wav", 2), (".flac", 1)])
def test_the_same_performance_gives_the_same_bytes_twice(rendered, make_patch, suffix, processes, monkeypatch):
    monkeypatch.setattr(render_module, "WORTH_SHARING_SECONDS", 0.0)
    _, first = rendered({0: make_patch(**WET)}, TUNE, f"a{suffix}")
    _, second = rendered({0: make_patch(**WET)}, TUNE, f"b{suffix}", processes=processes)
    assert first.read_bytes() == second.read_bytes()
    assert soundfile.info(first).subtype == "PCM_24"


def test_the_same_performance_gives_the_same_ogg_samples_twice(rendered, make_patch):
    first, _ = rendered({0: make_patch(**WET)}, TUNE, "a.ogg")
    second, _ = rendered({0: make_patch(**WET)}, TUNE, "b.ogg")
    assert np.array_equal(first, second)
    assert np.abs(first).max() > 0.05


def test_wav_flac_and_ogg_hold_the_same_sound(rendered, make_patch):
    wav, flac, ogg = (rendered({0: make_patch()}, TUNE, f"out{s}")[0] for s in (".wav", ".flac", ".ogg"))
    assert wav.shape == flac.shape == ogg.shape
    assert np.abs(wav - flac).max() <= 2.0**-22  # libsndfile rounds the one and cuts the other
    assert np.abs(wav - ogg).max() < 0.05


def test_an_independent_process_renders_the_same_bytes(rendered, make_patch, tiny_path, tmp_path):
    _, path = rendered({0: make_patch(**WET)}, TUNE)
    preset = tmp_path / "made.toml"
    patch = make_patch(**WET)
    preset.write_text(patch.preset.model_copy(update={"model": str(tiny_path())}).to_toml())
    code = f"""
        import sys
        from pathlib import Path
        from timbrel.host.events import *
        from timbrel.host.preset.library import open_patch
        from timbrel.host.midi.files import Performance
        from timbrel.host.play.render import render
        tune = {TUNE!r}
        render({{0: open_patch({str(preset)!r})}}, tune, Path({str(tmp_path / "other.wav")!r}), sample_rate={RATE})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    assert (tmp_path / "other.wav").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("gain_db", [-12.0, 24.0], ids=["soft", "bent by the limiter"])
def test_a_file_of_floats_holds_the_racks_samples_to_the_bit(rendered, make_patch, gain_db):
    patch = make_patch(effects=[{"plugin": "Gain", "gain_db": gain_db}])
    mix, path = rendered({0: patch}, TUNE, as_float=True, stems=True)
    sound = np.concatenate([mix for _, mix, _ in blocks(Rack({0: patch}, RATE), TUNE, 30.0, RATE)], axis=1)
    assert soundfile.info(path).subtype == "FLOAT"
    assert (limited(sound) > 0.01) == (gain_db > 0)
    assert mix.tobytes() == sound.tobytes()
    assert path.with_name("out-ch01.wav").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_sound_begins_at_its_time_at_every_rate_with_latency_taken_off(make_patch, rate, tmp_path):
    tune = Performance(note(72, rate // 2, rate), rate, [0], [])
    effects = [{"plugin": "Gain"}]
    render({0: make_patch(envelope=SHORT, effects=effects)}, tune, tmp_path / "out.wav", sample_rate=rate)
    audio, found = soundfile.read(tmp_path / "out.wav")
    assert found == rate
    begun = np.flatnonzero(np.abs(audio[:, 0]) > 1e-3)[0]
    assert begun == pytest.approx(rate // 2, abs=rate // 500)  # 2 ms: the attack, and what rings before it
    assert np.abs(audio[: rate // 2 - 200]).max() == 0


def test_a_silence_inside_the_performance_is_kept(rendered, make_patch):
    tune = performance([*note(60, 0, 2000), *note(64, 4 * RATE, 4 * RATE + 2000)], 4.2)
    audio, _ = rendered({0: make_patch(envelope=SHORT)}, tune)
    assert np.all(audio[:, RATE : 4 * RATE - 100] == 0)  # a resampler rings before a sound
    assert np.abs(audio[:, 4 * RATE :]).max() > 0.01


@pytest.mark.parametrize("size", [128, 1000, 16_384, 50_000])
def test_the_sound_of_a_performance_does_not_depend_on_the_blocks_it_is_made_in(make_patch, size):
    made = [
        np.concatenate([mix for _, mix, _ in blocks(Rack({0: make_patch(**WET)}, RATE), TUNE, 0.5, RATE, s)], axis=1)
        for s in (size, 4096)
    ]
    shorter = min(sound.shape[1] for sound in made)
    assert shorter >= TUNE.length
    assert np.array_equal(made[0][:, :shorter], made[1][:, :shorter])


def test_stems_add_up_to_the_mix_below_the_limiters_knee(make_patch, tmp_path):
    channels = {c: make_patch(envelope=SHORT, play={"gain_db": -12.0, "pan": pan}) for c, pan in ((0, -0.5), (4, 0.5))}
    tune = performance([*note(60, 0, 20_000), *note(67, 0, 30_000, channel=4)][::1], 1.0, (0, 4))
    tune.events.sort(key=lambda event: event.time)
    files = render(channels, tune, tmp_path / "out.wav", sample_rate=RATE, stems=True)
    assert [file.name for file in files] == ["out.wav", "out-ch01.wav", "out-ch05.wav"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    mix, *stems = (soundfile.read(file, dtype="float64")[0] for file in files)
    assert all(np.abs(stem).max() > 0.01 for stem in stems)
    assert np.abs(mix).max() < 0.7
    assert np.abs(mix - sum(stems)).max() < 3 * 2.0**-23  # each file rounds to 24 bits


def test_several_presets_on_several_channels_sound_as_each_alone(rendered, make_patch):
    low, high = make_patch(play={"pan": -1.0}), make_patch(play={"pan": 1.0})
    events = [*note(48, 0, 20_000, channel=0), *note(72, 0, 20_000, channel=1)]
    events.sort(key=lambda event: event.time)
    both, _ = rendered({0: low, 1: high}, performance(events, 0.6, (0, 1)))
    left, _ = rendered({0: low}, performance(note(48, 0, 20_000), 0.6), "low.wav")
    right, _ = rendered({1: high}, performance(note(72, 0, 20_000, channel=1), 0.6, (1,)), "high.wav")
    assert np.array_equal(both[0], left[0])
    assert np.array_equal(both[1], right[1])


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0])
def test_a_performance_without_notes_is_silence_as_long_as_it_is(rendered, seconds):
    audio, _ = rendered({}, performance([], seconds, ()))
    assert seconds * RATE <= audio.shape[1] <= seconds * RATE + 16_384
    assert np.all(audio == 0)


def test_progress_rises_to_one(make_patch, tmp_path):
    told = []
    render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert min(told) >= 0


@pytest.mark.parametrize("gain_db", [0.0, 12.0])
def test_a_limiter_that_has_to_work_hard_is_told_of_with_its_moment(make_patch, tmp_path, gain_db):
    soft, loud = make_patch(), make_patch(play={"gain_db": gain_db})
    chord = [e for key in range(48, 64) for e in note(key, 2 * RATE, 4 * RATE, channel=1)]
    tune = performance(sorted([*note(off=RATE), *(chord if gain_db else [])], key=lambda e: e.time), 4.0, (0, 1))
    said = []
    render({0: soft, 1: loud}, tune, tmp_path / "out.wav", sample_rate=RATE, say=said.append)
    if gain_db == 0:
        assert said == []
        return
    sound, _ = soundfile.read(tmp_path / "out.wav")
    shares = [np.mean(np.abs(sound[at : at + 16384]) > 0.7) for at in range(0, 4 * RATE, 16384)]
    [line] = said
    assert "out.wav is too loud: at 0:0" in line
    at, share = int(line.split("at 0:0")[1][0]), int(line.split("bends ")[1].split("%")[0])
    assert 2 <= at <= 4
    assert share == pytest.approx(100 * max(shares), abs=2)
    assert line.endswith("of the samples; lower its presets' gain_db")


def test_a_block_that_takes_for_ever_is_told_of_before_it_is_done(make_patch, tmp_path, monkeypatch, caplog):
    played = Rack.process

    def process(self, events, count):
        until(lambda: caplog.records)
        return played(self, events, count)

    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(Rack, "process", process)
    render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE)
    [line] = [record.getMessage() for record in caplog.records]
    assert re.match(r"0\.0 s of sound took \d+ s to render; ", line)


def test_a_failing_write_leaves_nothing_behind(make_patch, tmp_path):
    def stop(done):
        raise OSError(28, "No space left on device")

    with pytest.raises(Failure, match="No space left on device; nothing was kept"):
        render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, stems=True, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_render_leaves_nothing_behind_and_keeps_what_was_there(make_patch, tmp_path):
    (tmp_path / "out.wav").write_text("mine")

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, overwrite=True, progress=stop)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.wav", "mine")]


def test_when_the_disk_fills_as_the_last_file_is_closed_none_appears(make_patch, tiny_path, tmp_path):
    patch = {c: make_patch(play={"gain_db": g}) for c, g in ((0, 0.0), (1, -40.0))}
    events = [*note(60, 0, 20_000), *note(67, 0, 20_000, channel=1)]
    tune = performance(sorted(events, key=lambda e: e.time), 1.0, (0, 1))
    sizes = [f.stat().st_size for f in render(patch, tune, tmp_path / "try.flac", sample_rate=RATE, stems=True)]
    assert sizes[2] < sizes[0] - 1000
    presets = []
    for channel in patch:
        presets.append(tmp_path / f"{channel}.toml")
        presets[-1].write_text(patch[channel].preset.model_copy(update={"model": str(tiny_path())}).to_toml())
    before = sorted(tmp_path.iterdir())
    code = f"""
        import resource, signal
        from pathlib import Path
        from timbrel.host.errors import Failure
        from timbrel.host.events import *
        from timbrel.host.preset.library import open_patch
        from timbrel.host.midi.files import Performance
        from timbrel.host.play.render import render
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        patches = {{i: open_patch(name) for i, name in enumerate({[str(p) for p in presets]!r})}}
        resource.setrlimit(resource.RLIMIT_FSIZE, ({sizes[0] - 100}, {sizes[0] - 100}))
        try:
            render(patches, {tune!r}, Path({str(tmp_path / "out.flac")!r}), sample_rate={RATE}, stems=True)
        except Failure as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "out.flac" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_exists_is_kept_stems_included(make_patch, tmp_path):
    (tmp_path / "out-ch01.wav").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, stems=True)
    assert [file.name for file in tmp_path.iterdir()] == ["out-ch01.wav"]
    render({0: make_patch()}, TUNE, tmp_path / "out.wav", sample_rate=RATE, stems=True, overwrite=True)
    assert soundfile.info(tmp_path / "out-ch01.wav").frames > 0
