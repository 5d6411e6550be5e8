"""Autoencoders of grains become files that any host can check, and that play."""

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from numpy.lib.stride_tricks import sliding_window_view
from timbrel.export.export import export
from timbrel.export.families.grain import MOST_GAIN_DB, mean_power_gains
from timbrel.export.first_preset import demo, first_preset, played
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.midi.files import Performance
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model
from timbrel.host.play.render import render
from timbrel.host.preset.library import Patch, open_patch
from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run, trained

RATE = 22050
SMALL = ["training.steps=30", "training.batch_size=32", "frames.hop_length=200"]
KINDS = {
    "grain-plain": ["network.hidden=[32]"],
    "grain-adversarial": ["network.hidden=[32]", "network.adjudicator=[16]"],
    "grain-spectral": ["network.hidden=[32]"],
    "grain-convolutional": ["network.hidden=[4, 8]", "network.adjudicator=[16]"],
    "grain-noise": ["network.hidden=[32]", "network.adjudicator=[16]"],
}
TRAINED = {"grain-plain", "grain-adversarial"}  # as grain-spectral, but for their losses


@pytest.fixture(scope="module")
def rains(tmp_path_factory):
    """Rain of five colours, in bursts."""
    folder = tmp_path_factory.mktemp("rains")
    (folder / "sounds").mkdir()
    for index in range(5):
        rng = np.random.default_rng(index)
        noise = np.convolve(rng.standard_normal(2 * RATE), np.exp(-np.arange(30) * (0.1 + 0.3 * index)), mode="same")
        bursts = 1 + np.repeat(rng.random(20), 2 * RATE // 20)
        soundfile.write(folder / "sounds" / f"rain{index}.wav", 0.05 * noise * bursts, RATE)
    build([folder / "sounds"], folder / "corpus", rate=RATE, licence="CC0-1.0")
    return folder / "corpus"


@pytest.fixture(scope="module")
def run_of(rains, tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("runs") / name
            start(load_recipe(name, [*SMALL, *KINDS[name]]), rains, made[name], RunOptions("cpu"))
        return Run.open(made[name])

    return make


@pytest.fixture(scope="module")
def model_of(run_of, tmp_path_factory):
    """The card and the file of such a run's model, which is exported once."""
    made = {}

    def model(name):
        if name not in made:
            path = tmp_path_factory.mktemp("models") / "rain.onnx"
            made[name] = export(run_of(name), path), path
        return made[name]

    return model


# Networks that differ in their training alone are long tests.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in TRAINED else name for name in KINDS]
)
def test_every_kind_exports_with_its_encoder_and_plays(run_of, model_of, tmp_path, name):
    run = run_of(name)
    card, path = model_of(name)
    model = Model(path)
    assert model.card == card
    assert model.verify().passed
    assert card.kind == "grain"
    assert card.chroma is None
    assert (card.frame_length, card.hop_length) == (1002, 250)  # whatever hop it was trained at
    assert (card.prior is not None) == (name not in ("grain-plain", "grain-spectral"))
    assert {mark.label for mark in card.landmarks} <= {f"rain{index}.wav" for index in range(5)}
    network, _, _ = trained(run, "best")
    codes = np.array([mark.latent for mark in card.landmarks[:20]], np.float32)
    with torch.no_grad():
        wanted = network.decode(torch.from_numpy(codes)).numpy()
    no_chroma = np.zeros(20, np.intp)
    if name == "grain-noise":  # each bin has one gain
        gains = np.median(model.decode(codes, no_chroma) / wanted, axis=0)
        assert gains[card.frame_length // 2 + 1 :] == pytest.approx(1, abs=5e-3)
        wanted *= gains
    np.testing.assert_allclose(model.decode(codes, no_chroma), wanted, atol=5e-3 * np.ptp(wanted))
    apart = [model.decode(codes[first : first + 3], no_chroma) for first in range(0, 20, 3)]
    assert np.array_equal(np.concatenate(apart), model.decode(codes, no_chroma))  # rows know nothing of their batch
    windows = 0.1 * np.random.default_rng(0).standard_normal((6, 1002)).astype(np.float32)
    with torch.no_grad():
        placed = network.encode(torch.from_numpy(windows)).numpy()
    found = Encoder(model).encode(windows)
    assert np.median(np.abs(found - placed).max(1)) < 0.01 * np.ptp(codes)
    events = [NoteOn(0, 0, 60, 100), NoteOff(24000, 0, 60)]
    performance = Performance(events=events, length=24000, channels=[0], warnings=[])
    render({0: open_patch(str(path))}, performance, tmp_path / "rain.wav", sample_rate=48000)
    sound, _ = soundfile.read(tmp_path / "rain.wav")
    assert np.isfinite(sound).all()
    assert 0.001 < sound[4800:20000].std() < 0.5


def test_noise_has_the_mean_spectrum_of_its_sounds(rains, run_of, model_of):
    card, path = model_of("grain-noise")
    corpus, model, length = Corpus.open(rains), Model(path), card.frame_length
    sounds = [np.array(corpus.samples(clip)) for clip in corpus.clips("train")]
    windows = np.concatenate([sliding_window_view(sound, length)[::200] for sound in sounds])
    codes = Encoder(model).encode(windows)
    spectra = [
        scipy.signal.welch(sound, RATE, nperseg=length, noverlap=length - 200, detrend=False)[1] for sound in sounds
    ]
    counts = [len(sliding_window_view(sound, length)[::200]) for sound in sounds]
    expected = np.average(spectra, axis=0, weights=counts) * RATE / 2 * length  # of a one-sided density
    network, _, _ = trained(run_of("grain-noise"), "best")
    with torch.no_grad():
        before = network.decode(torch.from_numpy(codes)).numpy()
    errors = [
        np.median(np.abs(10 * np.log10(np.square(frames[:, 5:450]).mean(0) / expected[5:450])))
        for frames in (model.decode(codes, np.zeros(len(codes), np.intp)), before)
    ]
    assert errors[0] < 0.3 < 1 < errors[1]


def test_gains_of_bins_are_limited_and_leave_the_offset_and_the_envelope():
    rng = np.random.default_rng(3)
    windows = 0.1 * rng.standard_normal((4000, 64)).astype(np.float32) + np.float32(0.5)
    colour = np.linspace(0.5, 2, 33)
    colour[20] = 100
    frames = np.concatenate([0.1 * np.sqrt(64) * colour, np.full(7, 3.0)])[np.newaxis].repeat(9, 0)
    gains = mean_power_gains(windows, frames)
    assert gains[[0, *range(33, 40)]] == pytest.approx(1)
    inner = np.setdiff1d(np.arange(3, 31), [20])  # the window smears the offset to its neighbours
    assert gains[inner] * colour[inner] == pytest.approx(1, abs=0.03)
    assert gains[20] == pytest.approx(10 ** (-MOST_GAIN_DB / 20))


def test_a_texture_is_as_loud_as_every_other_instrument_or_peaks_a_decibel_below_full_scale(model_of):
    """Its walk from landmark to landmark, before the limiter: -20 LUFS at full velocity."""
    import pyloudnorm

    model = Model(model_of("grain-noise")[1])
    patch = Patch("rain", first_preset(model), model, model.path.parent)
    performance = demo(patch, 127)
    sound = played(patch, performance.events, performance.length)
    loud, peak = pyloudnorm.Meter(44100).integrated_loudness(sound.T), 20 * np.log10(np.abs(sound).max())
    assert loud <= -19.8
    assert peak <= -0.99
    assert loud == pytest.approx(-20, abs=0.2) or peak == pytest.approx(-1, abs=0.02)
