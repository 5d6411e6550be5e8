"""The autoencoder of whole short sounds: its features, what it begins with, its losses, and how it goes on."""

import copy
import signal

import librosa
import numpy as np
import pytest
import torch
from timbrel.host.engines.clip.synthesis import SpectraSound
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel
from timbrel.train import checkpoint, loop
from timbrel.train.families import FAMILIES
from timbrel.train.families.clip.data import hits
from timbrel.train.families.clip.features import ClipFeatures, attack_parts
from timbrel.train.families.clip.network import ATTACK_WEIGHT, LOUDNESS, ClipAutoencoder, Flow
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.loop import Diverged
from timbrel.train.run import Run

from .loops import CPU
from .struck import RATE, SMALL, corpus_of, drums, hat, tom

LENGTH, TRANSFORM, HOP, PART = 4096, 512, 128, 16  # of the smallest network
WORDS = ["hat", "tom"]


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def recipe(*changes):
    return load_recipe("tuned-clip", [*SMALL, *changes])


def network_of(*changes, words=(), **network):
    asked = recipe(*changes)
    told = asked.network.model_copy(update={"words": list(words), **network})
    torch.manual_seed(3)
    return ClipAutoencoder(asked.model_copy(update={"network": told}))


def clips(count=6):
    found = np.zeros((count, LENGTH), np.float32)
    for number, row in enumerate(found):
        sound = (tom if number % 2 else hat)(number)
        row[: len(sound)] = sound
    return found


# ---- features


def faded(row):
    return row * np.concatenate([np.ones(LENGTH - LENGTH // 32), np.linspace(1, 0, LENGTH // 32)])


def test_the_shape_of_spectra_and_parts_follows_from_the_rate():
    network = network_of()
    taken = network.features
    assert (taken.transform, taken.hop, taken.part) == (TRANSFORM, HOP, PART)
    assert (taken.spectra, taken.points) == (LENGTH // HOP + 1, LENGTH // PART)


def test_bands_are_triangles_that_add_up_to_one_and_lie_as_far_apart_as_is_said():
    network = network_of()
    into, out_of = network.features.into.numpy(), network.features.out_of.numpy()
    hertz = np.arange(TRANSFORM // 2 + 1) * RATE / TRANSFORM
    assert out_of.sum(0) == pytest.approx(np.ones(len(hertz)), abs=1e-5)
    assert into.sum(1) == pytest.approx(np.ones(len(into)), abs=1e-5)
    assert into == pytest.approx(out_of / out_of.sum(1, keepdims=True), abs=1e-6)
    middles = (out_of * hertz).sum(1) / out_of.sum(1)
    apart = np.diff(middles)
    wide = np.maximum(RATE / TRANSFORM, 0.03 * (middles[:-1] + 100))
    assert apart[1:-2] == pytest.approx(wide[1:-2], rel=0.1)


def test_features_are_levels_of_bands_and_parts_under_the_loudest_mel_band():
    """A plain loop, with librosa's mel spectrogram for what is loudest."""
    network, given = network_of(), clips()
    found, mel = network.features(torch.from_numpy(given))
    bands, levels = (part.numpy() for part in network.features.parts(found))
    assert found.shape == (6, network.features.width)
    deepest = 80 / 20 * np.log(10)
    for row in range(len(given)):
        sound = faded(given[row])
        settings = {"sr": RATE, "n_fft": TRANSFORM, "hop_length": HOP, "n_mels": 64, "pad_mode": "constant"}
        expected = librosa.feature.melspectrogram(y=sound, **settings)
        loudest = expected.max()
        decibels = 10 * np.log10(np.maximum(expected.T / loudest, 1e-9))
        loud = decibels > -60  # below, rounding counts
        assert mel[row].numpy()[loud] == pytest.approx(decibels[loud], abs=0.05)
        padded = np.pad(sound, TRANSFORM // 2)
        asked = np.zeros_like(bands[row])
        for place in range(network.features.spectra):
            piece = padded[place * HOP : place * HOP + TRANSFORM]
            power = np.abs(np.fft.rfft(piece * np.hanning(TRANSFORM + 1)[:-1])) ** 2
            asked[place] = 0.5 * np.log(np.maximum(network.features.into.numpy() @ power / loudest, 1e-12))
        asked = np.maximum(asked, asked.max() - deepest)
        assert bands[row] == pytest.approx(asked, abs=2e-2)
        parts = [
            np.mean(sound[part * PART : (part + 1) * PART] ** 2) / loudest for part in range(network.features.points)
        ]
        asked = 0.5 * np.log(np.maximum(parts, 1e-12))
        assert levels[row] == pytest.approx(np.maximum(asked, asked.max() - deepest), abs=3e-2)


def test_features_do_not_change_with_gain_and_silence_has_some():
    network, given = network_of(), torch.from_numpy(clips())
    assert torch.allclose(network.features(given)[0], network.features(0.05 * given)[0], atol=1e-3)
    assert torch.isfinite(network.features(0 * given)[0]).all()


def test_frames_are_the_magnitudes_and_levels_of_the_features(monkeypatch):
    """Where the features come back as they were, the sound nearly does: bands are all that is lost."""
    network, given = network_of(), clips()
    features = network.features(torch.from_numpy(given))[0]
    monkeypatch.setattr(network, "decoded", lambda latents, labels: features)
    frames = network.decode(torch.zeros(6, 4)).numpy()
    assert frames.shape == (6, network.features.spectra * (TRANSFORM // 2 + 1) + network.features.points)
    assert frames.min() >= 0
    sounds = SpectraSound(LENGTH, TRANSFORM, HOP, network.features.points)(frames)
    toms = distance_db(log_mel(given, RATE), log_mel(sounds, RATE))[1::2]
    hats = distance_db(log_mel(given, RATE), log_mel(sounds, RATE))[::2]
    assert toms.max() < 2.5
    assert hats.max() < 5  # noise of two bands is not the noise of two others


# ---- what it begins with


class Rows:
    """Data that are the features of these clips."""

    def __init__(self, rows):
        self.rows, self.mel = ClipFeatures(RATE, rows.shape[1])(torch.from_numpy(rows))

    def __len__(self):
        return len(self.rows)

    def batch(self, chosen, rng):
        return self.rows[chosen], self.mel[chosen]


def test_outer_layers_begin_as_principal_components_scaled_alike():
    network, rows = network_of("network.components=8"), clips(40)
    network.initialise(Rows(rows))
    features = network.features(torch.from_numpy(rows))[0]
    attacks = attack_parts(network.features.parts(features)[1]).double()
    alike = (attacks - attacks.mean()) / attacks.std().clamp_min(1)
    wide = network.features.width
    told = torch.cat([features, alike], 1).numpy().astype(np.float64)
    middle, counts = told.mean(0), np.concatenate([np.ones(wide), [ATTACK_WEIGHT * np.sqrt(wide + 1)]])
    counts[wide - network.features.points : wide] = LOUDNESS
    _, sizes, axes = np.linalg.svd((told - middle) * counts, full_matrices=False)
    assert network.middle.numpy() == pytest.approx(middle, abs=1e-4)
    assert network.outer.bias.detach().numpy() == pytest.approx(middle, abs=1e-4)
    inner, outer = (layer.weight.detach().numpy() for layer in (network.inner, network.outer))
    inner = inner / (np.sqrt(inner.shape[1]) / 4) / counts  # as it is applied, to what counts as much
    outer = outer * counts[:, None]
    scale = sizes[:8].mean() / np.sqrt(len(rows) - 1)  # the mean deviation along the axes
    assert np.linalg.norm(inner, axis=1) == pytest.approx(np.full(8, 1 / scale), rel=0.01)
    for axis, row in zip(axes[:4], inner, strict=False):  # the others have neighbours as large
        assert abs(axis @ row) * scale == pytest.approx(1, abs=0.01)
    with torch.no_grad():
        given = network.outer(network._components(features)).numpy()
    lost = np.square((given - told) * counts).sum()
    assert np.square(sizes[8:]).sum() * 0.999 < lost < np.square(sizes[8:]).sum() * 1.01
    assert outer.T @ outer == pytest.approx(np.eye(8) * scale**2, abs=0.01 * scale**2)


def test_a_step_moves_no_code_far_however_long_clips_are():
    for length in (LENGTH, 16 * LENGTH):
        network = network_of(f"frames.frame_length={length}", f"frames.hop_length={length}")
        rows = np.stack([(tom if seed % 2 else hat)(seed, seconds=length / RATE) for seed in range(12)])
        given = network.features(torch.from_numpy(rows))
        network.initialise(Rows(rows))
        steps = torch.optim.Adam(network.parameters(), lr=1e-3)
        before = network.encode(given[0]).detach()
        sum(network.reconstruction(*given, torch.zeros(12, dtype=torch.int64), torch.Generator()).values()).backward()
        steps.step()
        assert (network.encode(given[0]) - before).abs().max() < 1


def test_fewer_clips_than_components_come_back_as_they_are():
    network, rows = network_of("network.components=24"), clips(3)
    network.initialise(Rows(rows))
    with torch.no_grad():
        features = network.features(torch.from_numpy(rows))[0]
        given = network.outer(network._components(features))
    assert torch.allclose(given, network._with_attack(features), atol=0.02)
    assert not network.inner.weight[3:].any()
    assert not network.outer.weight[:, 3:].any()
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_beginning_twice_gives_the_same_weights():
    one, two = network_of(), network_of()
    for network in (one, two):
        torch.rand(7)
        network.initialise(Rows(clips(12)))
    assert torch.equal(one.inner.weight, two.inner.weight)
    assert torch.equal(one.outer.weight, two.outer.weight)


# ---- losses


def test_what_latents_tell_is_counted_in_nats_as_scipy_counts_it():
    """The divergence of each latent's normal distribution from a standard one, by quadrature."""
    network = network_of()
    given = network.features(torch.from_numpy(clips()))
    terms = network.reconstruction(*given, torch.zeros(6, dtype=torch.int64), torch.Generator())
    with torch.no_grad():
        told, variance = network.encoder(network._components(given[0])).chunk(2, 1)
    grid = np.linspace(-12, 12, 40001)
    total = 0.0
    for middle, spread in zip(told.ravel().tolist(), np.exp(variance.ravel().numpy() / 2).tolist(), strict=True):
        density = np.exp(-0.5 * ((grid - middle) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        nats = density * (0.5 * grid**2 - 0.5 * ((grid - middle) / spread) ** 2 - np.log(spread))
        total += np.trapezoid(nats, grid)
    assert float(terms["distribution"].detach()) == pytest.approx(total / 6, rel=1e-3)


def test_a_step_shows_its_latents_to_the_map_of_codes_and_validation_does_not():
    network = network_of()
    given = *network.features(torch.from_numpy(clips())), torch.zeros(6, dtype=torch.int64)
    network.eval().reconstruction(*given, torch.Generator())
    network.follow_weights()
    assert int(network.flow.steps) == 0
    network.train().reconstruction(*given, torch.Generator())
    network.follow_weights()
    assert int(network.flow.steps) == 1
    with torch.no_grad():
        told = network.encoder(network._components(given[0]))[:, :4]
    assert network.flow.middles[0].numpy() == pytest.approx(told.mean(0).numpy(), abs=0.5)  # its chance beside


def test_a_recording_is_encoded_as_of_the_label_that_it_is_taken_for():
    network = network_of(words=WORDS)
    torch.nn.init.normal_(network.flow.middles, std=3.0)
    features = network.features(torch.from_numpy(clips()))[0]
    with torch.no_grad():
        heard, codes = network.label_probabilities(features).argmax(1), network.encode(features)
        told = network.encoder(network._components(features))[:, :4]
        expected = network.flow.codes(told, torch.eye(2)[heard])
        other = network.flow.codes(told, torch.eye(2)[1 - heard])
    assert torch.allclose(codes, expected, atol=1e-5)
    assert not torch.allclose(codes, other, atol=0.1)


def test_terms_are_those_that_have_weights_and_all_are_finite_numbers():
    for words in ((), WORDS):
        network = network_of(words=words)
        network.initialise(Rows(clips(12)))
        given = network.features(torch.from_numpy(clips(12)))
        terms = network.reconstruction(*given, torch.arange(12) % 2, torch.Generator().manual_seed(0))
        labelled = {"label", "obedience"} if words else set()
        assert set(terms) - {"surprise"} == set(network.weights.model_dump()) - ({"label", "obedience"} - labelled)
        assert all(torch.isfinite(term) for term in terms.values())


def test_levels_that_no_sound_reaches_have_finite_terms_and_gradients():
    """A second training starts from its trial: clips that this had none of may lie hundreds of deviations away."""
    network = network_of()
    network.initialise(Rows(clips(12)))
    with torch.no_grad():
        network.outer.bias[:-1] += 130  # nepers
    given = network.features(torch.from_numpy(clips(12)))
    terms = network.reconstruction(*given, torch.zeros(12, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(term) for term in terms.values())
    network.total(terms).backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    levels_gradient = gradients["outer.bias"][-1 - network.features.points : -1]
    assert (levels_gradient > 0).all()  # and lead back


def test_a_clip_that_comes_back_as_it_was_has_lost_nothing(monkeypatch):
    network, given = network_of(), torch.from_numpy(clips())
    given = network.features(given)
    features, attacks = given[0], attack_parts(network.features.parts(given[0])[1])
    monkeypatch.setattr(network, "_features", lambda latents, told: (features, attacks))
    terms = network.reconstruction(*given, torch.zeros(6, dtype=torch.int64), torch.Generator())
    assert float(terms["spectrum"]) == pytest.approx(0, abs=2e-3)
    assert float(terms["loudness"]) == pytest.approx(0, abs=2e-3)
    assert float(terms["envelope"]) == pytest.approx(0, abs=2e-3)
    assert float(terms["attack"]) == 0
    assert float(terms["mel"]) < 3  # bands are not bins
    monkeypatch.setattr(network, "_features", lambda latents, told: (features + 0.1, attacks))
    terms = network.reconstruction(*given, torch.zeros(6, dtype=torch.int64), torch.Generator())
    for name in ("spectrum", "loudness", "envelope"):
        assert float(terms[name]) == pytest.approx(2 / np.log(10), rel=0.05)  # 0.1 nepers in dB


def test_what_is_asked_of_random_codes_moves_the_decoder_and_not_the_listener():
    network = network_of(words=WORDS)
    network.initialise(Rows(clips(12)))
    asked = torch.arange(16) % 2
    network._obedience(network._features(torch.randn(16, 4), torch.eye(2)[asked])[0], asked).backward()
    moved = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    assert moved
    assert all(name.startswith(("decoder.", "outer.")) for name in moved)


def test_the_chance_in_latents_follows_from_the_generator_alone():
    network = network_of()
    network.initialise(Rows(clips(12)))
    given = *network.features(torch.from_numpy(clips(12))), torch.zeros(12, dtype=torch.int64)

    def mel(seed):
        torch.rand(3)
        return float(network.reconstruction(*given, torch.Generator().manual_seed(seed))["mel"].detach())

    assert mel(1) == mel(1) != mel(2)


# ---- training


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return drums(tmp_path_factory.mktemp("drums") / "corpus")


@pytest.fixture(scope="module")
def labelled(corpus, tmp_path_factory):
    """A conditional run of some seconds: its network."""
    folder = tmp_path_factory.mktemp("runs") / "labelled"
    changes = ["network.labels=true", "training.steps=100", "training.learning_rate=2e-3", "frames.enough=64"]
    start(recipe(*changes), corpus.folder, folder, CPU)
    network = ClipAutoencoder(Run.open(folder).recipe)
    checkpoint.restore(folder / "last.ckpt", network)
    return network.eval()


@torch.no_grad()
def test_labels_are_heard_of_clips_that_were_never_trained_on_and_obeyed(labelled, corpus):
    found = hits(corpus, "test", WORDS)
    heard = labelled.label_probabilities(
        labelled.features(torch.from_numpy(found.take_clips(corpus, np.arange(8), LENGTH)))[0]
    )
    assert heard.sum(1).numpy() == pytest.approx(np.ones(8), abs=1e-5)
    assert (heard.argmax(1).numpy() == found.labels).all()
    codes = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    bright = []
    for number in (0, 1):
        bands, _ = labelled.features.parts(labelled.decoded(codes, torch.eye(2)[[number] * 64]))
        power = torch.exp(2 * bands).sum(1)
        bright.append((power * torch.arange(power.shape[1])).sum(1) / power.sum(1))
    assert (bright[0] > bright[1]).float().mean() > 0.75  # hats, and toms of the same codes


@torch.no_grad()
def test_what_was_learned_comes_back_and_the_codes_are_near_to_normal(labelled, corpus):
    asked = recipe("frames.enough=64").model_copy(update={"network": labelled.settings})
    trained_on = FAMILIES["clip"].data(corpus, asked, corpus.folder).spread(1000)[0].float()
    codes = labelled.encode(trained_on)
    assert codes.mean(0).abs().max() < 0.7
    assert 0.4 < float(codes.std(0).min()) <= float(codes.std(0).max()) < 1.6
    found = hits(corpus, "train", WORDS)
    given = torch.from_numpy(found.take_clips(corpus, np.arange(24), LENGTH))
    codes = labelled.encode(labelled.features(given)[0])
    sound = SpectraSound(LENGTH, TRANSFORM, HOP, labelled.features.points)
    asked, rows = log_mel(given.numpy(), RATE), torch.eye(2)[torch.from_numpy(found.labels)]
    own, next_ones = (
        np.median(distance_db(asked, log_mel(sound(labelled.decode(moved, rows).numpy()), RATE)))
        for moved in (codes, codes.roll(2, 0))
    )
    assert own < 11
    assert own < 0.95 * next_ones  # of another clip with the same label


@torch.no_grad()
def test_a_preview_has_each_clip_and_what_comes_back_of_it(labelled, corpus):
    asked = recipe("network.labels=true").model_copy(update={"network": labelled.settings})
    batch = list(next(FAMILIES["clip"].data(corpus, asked, corpus.folder).validation(3)))
    sounds = FAMILIES["clip"].preview(labelled, None, batch)
    assert len(sounds) == 6
    assert all(sound.shape == (LENGTH,) for sound in sounds)
    found = hits(corpus, "train", WORDS)
    recordings = found.take_clips(corpus, np.array([0, 11, 23]), LENGTH)
    levels = log_mel(recordings, RATE), log_mel(np.stack(sounds[::2]), RATE)
    assert distance_db(*levels).max() < 5  # what its own features sound like


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(corpus, tmp_path, monkeypatch):
    asked = recipe("network.labels=true", "training.steps=12", "frames.enough=64")
    start(asked, corpus.folder, tmp_path / "whole", CPU)
    original, waiting = loop._Loop._step, {4}

    def step(self, done):
        if self.progress.step in waiting:
            waiting.remove(self.progress.step)
            signal.raise_signal(signal.SIGINT)
        return original(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "_step", step)
        assert start(asked, corpus.folder, tmp_path / "parts", CPU).step == 5
    assert resume(tmp_path / "parts", asked, CPU).step == 12
    one, two = (checkpoint.load(tmp_path / name / "last.ckpt")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_two_clips_are_enough_to_begin_with(tmp_path):
    pair = corpus_of(tmp_path / "pair", [tom(0), hat(0)])
    outcome = start(recipe("training.steps=3", "frames.enough=0"), pair.folder, tmp_path / "run", CPU)
    assert outcome.step == 3
    assert np.isfinite(outcome.validation)


def test_a_loss_that_is_no_number_is_said_in_a_line(tmp_path, monkeypatch):
    """Not by an error of the map of codes, which the first step turns and the second shows latents that are none."""
    total = ClipAutoencoder.total
    monkeypatch.setattr(ClipAutoencoder, "total", lambda self, terms: total(self, terms) * np.nan)
    pair = corpus_of(tmp_path / "pair", [tom(0), hat(0)])
    with pytest.raises(Diverged, match="the loss is nan"):
        start(recipe("training.steps=3", "frames.enough=0"), pair.folder, tmp_path / "run", CPU)


def test_bands_are_told_from_their_neighbours_as_much_more_as_was_learned():
    network = network_of()
    bands = torch.full((1, network.features.spectra, network.features.bands), -2.0)
    bands[0, 3, 20] = 1.0
    levels = torch.randn(1, network.features.points)
    features = torch.cat([bands.flatten(1), levels], 1)
    with torch.no_grad():
        network.contrast.fill_(0.3)
        sharp, kept = network.features.parts(network._sharpened(features))
    assert torch.equal(kept, levels)
    assert float(sharp[0, 3, 20]) == pytest.approx(1.0 + 0.3 * 3 * 8 / 9, abs=1e-4)
    assert float(sharp[0, 3, 24]) == pytest.approx(-2.0 - 0.3 * 3 / 9, abs=1e-4)
    assert float(sharp[0, 3, 25]) == float(sharp[0, 4, 20]) == pytest.approx(-2.0, abs=1e-4)


def test_what_is_decoded_rises_when_the_decoder_says(monkeypatch):
    """Also of a network that has learned nothing but principal components; three are as many as three clips need."""
    network, rows = network_of("network.components=24"), clips(3)
    network.initialise(Rows(rows))
    features = network.features(torch.from_numpy(rows))[0]
    asked = attack_parts(network.features.parts(features)[1])
    with torch.no_grad():
        monkeypatch.setattr(network, "_bent", lambda latents, told: network._components(features))
        given, attacks = network._features(torch.zeros(3, 4), torch.ones(3, 1))
    assert attacks.numpy() == pytest.approx(asked.numpy(), abs=0.1)
    assert (attack_parts(network.features.parts(given)[1]) - asked).abs().max() <= 1


def test_an_attack_that_is_told_wrong_counts_in_milliseconds(monkeypatch):
    network, rows = network_of("network.components=24"), clips(3)
    network.initialise(Rows(rows))
    features, mel = network.features(torch.from_numpy(rows))
    components = network._components(features).detach()
    monkeypatch.setattr(network, "_bent", lambda latents, told: components)
    none = torch.zeros(3, dtype=torch.int64)
    with torch.no_grad():
        network.outer.bias[-1] += 5 / network.attack[1]  # five parts later
        terms = network.reconstruction(features, mel, none, torch.Generator())
    assert float(terms["attack"]) == pytest.approx(5 * 1000 * network.features.part / RATE, rel=0.02)


def test_dull_spectra_teach_it_contrast(monkeypatch):
    """The decoded are half as far from their neighbours as the recordings are."""
    network, given = network_of(), network_of().features(torch.from_numpy(clips()))
    network.initialise(Rows(clips()))
    bands, levels = network.features.parts(given[0])
    dull = 0.5 * (bands + torch.nn.functional.avg_pool1d(bands, 9, 1, 4, count_include_pad=False))
    given_back = torch.cat([dull.flatten(1), levels], 1), attack_parts(levels)
    monkeypatch.setattr(network, "_features", lambda latents, told: given_back)
    network.reconstruction(*given, torch.zeros(6, dtype=torch.int64), torch.Generator())["sharpness"].backward()
    assert network.contrast.grad is not None
    assert network.contrast.grad < 0


@torch.no_grad()
def test_training_makes_the_latents_less_surprising(labelled, corpus):
    found = hits(corpus, "train", WORDS)
    features = labelled.features(torch.from_numpy(found.take_clips(corpus, np.arange(24), LENGTH)))[0]
    latents = labelled.encoder(labelled._components(features))[:, : labelled.settings.latents]
    rows = torch.eye(2)[torch.from_numpy(found.labels)]
    untrained = copy.deepcopy(labelled.flow)
    untrained.couplings = Flow(labelled.settings.latents, 2).couplings  # with the same means and covariances
    assert labelled.flow.surprise(latents, rows) < untrained.surprise(latents, rows) - 0.5
