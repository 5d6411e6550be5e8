"""The logistic contest of a WaveGAN: its losses written out once more, its penalty's steps, its spectrograms."""

import numpy as np
import pytest
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from timbrel.host.errors import UserError
from timbrel.train.families.gan.wavegan import (
    CELL,
    GAIN_DB,
    HOP,
    LEVEL_DB,
    PENALTY_STEPS,
    SHIFT,
    WINDOW,
    LogisticGAN,
    augmented,
    sameness,
    spectral_power,
)
from timbrel.train.families.recipes import load_recipe

LENGTH = 8192
LABELS = torch.tensor([0, 1, 1])
OFF = [f"loss.{name}=0" for name in ("classification", "recognition", "sameness")]


def gan(*changes):
    torch.manual_seed(0)
    plain = ["network.spectral_size=0", "network.augmentation=false", *OFF]
    small = ["network.model_size=1", *plain, 'network.words=["a","b"]', *changes]
    return LogisticGAN(load_recipe("tuned-wavegan", small))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def clips():
    return 0.1 * torch.randn(3, LENGTH, generator=chance(7))


class Linear(torch.nn.Module):
    """A critic whose slope is its weight."""

    def __init__(self, seed):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(LENGTH, generator=chance(seed)) / 50)

    def forward(self, clips, label, generator):
        return clips @ self.weight


class LinearOfSpectra(Linear):
    """In place of a critic of spectrograms; it classifies by two slopes more."""

    def __init__(self, seed, classifies):
        super().__init__(seed)
        self.classes = torch.nn.Parameter(torch.randn(LENGTH, 2, generator=chance(seed + 1)) / 5)
        self.classifies = classifies

    def forward(self, clips, label):
        return clips @ self.weight, clips @ self.classes if self.classifies else None


def linear(*changes):
    network = gan(*changes)
    network.critic = Linear(3)
    if network.spectral is not None:
        network.spectral = LinearOfSpectra(4, network.spectral.classes is not None)
    return network


def surprise(probability):
    return -np.log(probability).mean()


def probability(score):
    return 1 / (1 + np.exp(-score.detach().double().numpy()))


@pytest.mark.parametrize("critics", [1, 2])
def test_the_critics_loss_is_their_cross_entropy_and_the_penalty_their_squared_slopes(critics):
    network = linear(f"network.spectral_size={critics - 1}")
    terms = {name: float(term.detach()) for name, term in network.criticism(clips(), LABELS, chance(5)).items()}
    made = network.generator(network.draw(3, chance(5)), network.rows(LABELS)).detach()
    scores = [(clips() @ one.weight, made @ one.weight) for one in (network.critic, network.spectral)[:critics]]
    expected = sum(surprise(probability(real)) + surprise(1 - probability(false)) for real, false in scores)
    assert terms["distance"] == pytest.approx(expected, rel=1e-4)
    slope = sum(one.weight.detach() for one in (network.critic, network.spectral)[:critics])
    assert terms["penalty"] == pytest.approx(PENALTY_STEPS * float(slope.square().sum()) / 2, rel=1e-4)


def test_the_penalty_comes_at_every_sixteenth_step_and_in_validation_always():
    network = linear()
    slope = float(network.critic.weight.detach().square().sum()) / 2
    found = []
    for _ in range(2 * PENALTY_STEPS):
        found.append(float(network.criticism(clips(), LABELS, chance())["penalty"].detach()))
        network.follow_weights()
    assert found == pytest.approx(([PENALTY_STEPS * slope] + (PENALTY_STEPS - 1) * [0]) * 2, rel=1e-4)
    assert float(network.eval().criticism(clips(), LABELS, chance())["penalty"].detach()) == pytest.approx(slope)
    network.steps += 1
    assert float(network.criticism(clips(), LABELS, chance())["penalty"].detach()) == pytest.approx(slope)


def test_persuasion_is_the_surprise_that_made_clips_are_real():
    network = linear("network.spectral_size=1")
    found = float(network.persuasion(clips(), LABELS, chance(5))["persuasion"].detach())
    made = network.generator(network.draw(3, chance(5)), network.rows(LABELS)).detach()
    expected = sum(surprise(probability(made @ one.weight)) for one in (network.critic, network.spectral))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_critic_of_spectrograms_classifies_recordings_and_the_generator_is_asked_for_its_labels():
    network = linear("network.spectral_size=1", "loss.classification=2.0", "loss.recognition=3.0")
    heard = network.criticism(clips(), LABELS, chance(5))
    said = network.persuasion(clips(), LABELS, chance(5))
    made = network.generator(network.draw(3, chance(5)), network.rows(LABELS)).detach()
    for terms, name, sound in ((heard, "classification", clips()), (said, "recognition", made)):
        odds = np.exp((sound @ network.spectral.classes).detach().double().numpy())
        expected = surprise((odds / odds.sum(1, keepdims=True))[np.arange(3), LABELS])
        assert float(terms[name].detach()) == pytest.approx(expected, rel=1e-4)
    weighed = {"distance": 1, "penalty": network.weights.penalty, "classification": 2}
    expected = sum(weight * float(heard[name].detach()) for name, weight in weighed.items())
    assert float(network.total(heard).detach()) == pytest.approx(expected, rel=1e-4)
    expected = float(said["persuasion"].detach()) + 3 * float(said["recognition"].detach())
    assert float(network.total(said).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("lacking", ["network.labels=false", "network.spectral_size=0"])
def test_classification_needs_labels_and_spectrograms(lacking):
    for asked in ("loss.classification", "loss.recognition"):
        with pytest.raises(UserError, match=r"need network.labels = true and a network.spectral_size"):
            load_recipe("tuned-wavegan", [*OFF, f"{asked}=1.0", lacking])
        load_recipe("tuned-wavegan", [*OFF, lacking])


def test_sameness_is_the_share_of_recordings_distances_within_labels_that_made_clips_lack():
    labels = torch.tensor([0, 1, 1, 0, 1])
    sounds = torch.randn(5, LENGTH, generator=chance(8))
    sounds[::2, LENGTH // 2 :] *= 1e-2
    near = sounds.mean(0) + 0.3 * (sounds - sounds.mean(0))
    expected = 1 - np.mean(distances(near, labels)) / np.mean(distances(sounds, labels))
    assert 0.2 < expected < 0.9
    assert len(distances(sounds, labels)) == 4
    assert float(sameness(near, sounds, labels)) == pytest.approx(expected, abs=0.002)


def test_sameness_ends_where_made_clips_are_as_far_apart_and_where_no_two_have_a_label():
    sounds = clips()
    assert float(sameness(sounds, sounds, LABELS)) == 0
    assert float(sameness(sounds, sounds[:1].expand(3, -1), LABELS)) == 0
    assert float(sameness(sounds[:1].expand(3, -1), sounds, torch.tensor([0, 1, 2]))) == 0
    assert float(sameness(sounds[:1].expand(3, -1), sounds, LABELS)) > 0.9


def test_sameness_weighs_in_the_generators_loss_and_drives_clips_of_a_label_apart():
    network = gan("loss.sameness=3.0")
    with torch.no_grad():
        network.generator.layers[0].weight.mul_(10)  # at first its clips are too soft to differ
    terms = network.persuasion(clips(), LABELS, chance(5))
    expected = float(terms["persuasion"].detach()) + 3 * float(terms["sameness"].detach())
    assert float(network.total(terms).detach()) == pytest.approx(expected, rel=1e-5)
    before = float(terms["sameness"].detach())
    optimiser = torch.optim.Adam(network.generator.parameters(), 1e-3)
    for _ in range(5):
        optimiser.zero_grad()
        network.persuasion(clips(), LABELS, chance(5))["sameness"].backward()
        optimiser.step()
    assert float(network.persuasion(clips(), LABELS, chance(5))["sameness"].detach()) < before - 0.01
    assert "sameness" not in gan().persuasion(clips(), LABELS, chance(5))


def distances(sounds, labels):
    """The root mean square differences in dB of all pairs with a label, from scipy's spectra."""
    transform = ShortTimeFFT(hann(WINDOW, sym=False), HOP, 8000)
    padded = np.pad(sounds.double().numpy(), [(0, 0), (WINDOW // 2, WINDOW // 2)], "reflect")
    spectra = transform.stft(padded, p0=2, p1=LENGTH // HOP + 3)  # centred on multiples of the hop
    power = (np.abs(spectra[:, :-1]) / (WINDOW / 4)) ** 2
    frames = power.shape[2] // CELL * CELL
    cells = power[:, :, :frames].reshape(len(power), -1, CELL, frames // CELL, CELL).mean((2, 4))
    levels = np.maximum(10 * np.log10(cells + 1e-8), LEVEL_DB)
    pairs = [(one, other) for one in range(len(labels)) for other in range(one) if labels[one] == labels[other]]
    return [np.sqrt(((levels[one] - levels[other]) ** 2).mean()) for one, other in pairs]


@pytest.mark.parametrize("objective", ["criticism", "persuasion"])
def test_each_side_has_slopes_of_its_own_alone(objective):
    network = gan(
        "network.spectral_size=1", "network.augmentation=true", "loss.classification=1.0", "loss.recognition=1.0"
    )
    network.total(getattr(network, objective)(clips(), LABELS, chance())).backward()
    sides = {"criticism": [network.critic, network.spectral], "persuasion": [network.generator]}
    for name, modules in sides.items():
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            assert (parameter.grad is not None and bool(parameter.grad.any())) == (name == objective)


def test_critics_learn_at_a_rate_of_their_own():
    training = load_recipe("tuned-wavegan").training
    network = gan("network.critic_rate=3.0", "network.spectral_size=1")
    critic, generator = network.optimisers["critic"], network.optimisers["generator"]
    assert critic.rate(training) == pytest.approx(3 * training.learning_rate)
    assert generator.rate(training) == training.learning_rate
    assert critic.betas == generator.betas == (0.0, 0.99)
    trained = {id(p) for group in critic.over(network, training).param_groups for p in group["params"]}
    assert trained == {id(p) for module in (network.critic, network.spectral) for p in module.parameters()}
    assert [one.batches for one in network.objectives] == [1, 0]


def test_labels_decide_in_both_critics():
    network = gan("network.spectral_size=2").eval()
    scores = [network._judged(clips(), network.rows(torch.full((3,), label)), chance())[0] for label in (0, 1)]
    assert all(not torch.allclose(*both) for both in zip(*scores, strict=True))


def test_the_power_of_spectra_is_that_of_scipy_and_one_for_a_sine_at_full_scale():
    found = spectral_power(clips()).numpy()
    transform = ShortTimeFFT(hann(WINDOW, sym=False), HOP, 8000)
    spectra = transform.stft(clips().double().numpy(), p0=2, p1=LENGTH // HOP - 1)
    assert found.shape == (3, WINDOW // 2 + 1, LENGTH // HOP + 1)
    np.testing.assert_allclose(found[..., 2:-2], (np.abs(spectra) / (WINDOW / 4)) ** 2, rtol=1e-3, atol=1e-9)
    sine = torch.sin(2 * torch.pi * torch.arange(LENGTH) / 8)[None]
    assert float(spectral_power(sine)[0, WINDOW // 8, 20]) == pytest.approx(1, abs=1e-4)


def test_the_second_critic_sees_levels_on_a_scale_of_forty_decibels():
    critic, seen = gan("network.spectral_size=1").spectral, []
    critic.layers[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    critic(clips(), torch.eye(2)[LABELS])
    expected = (10 * np.log10(spectral_power(clips()).double().numpy() + 1e-8) + 40) / 40
    np.testing.assert_allclose(seen[0][:, 0].numpy(), expected, atol=1e-3)


def test_augmented_clips_are_shifted_with_silence_and_scaled_each_by_its_own():
    sound = torch.zeros(200, 640)
    sound[:, 320] = 0.5
    shifted = augmented(sound, chance())
    places, levels = shifted.argmax(1) - 320, 20 * torch.log10(shifted.max(1).values / 0.5)
    assert (shifted != 0).sum(1).eq(1).all()
    assert (int(places.min()), int(places.max())) == (-10, 10) == (-SHIFT * 640, SHIFT * 640)
    assert -GAIN_DB <= float(levels.min()) < -2.5
    assert 2.5 < float(levels.max()) <= GAIN_DB + 1e-4
    sound[:, -1] = 1
    assert all(float(row[0]) == 0 for row in augmented(sound, chance()))  # nothing comes round


def test_only_what_is_trained_on_is_augmented():
    network = linear("network.augmentation=true")
    scores = []
    for training in (True, False):
        network.train(training)
        scores.append(float(network.criticism(clips(), LABELS, chance(1))["distance"].detach()))
    plain = linear().eval()
    assert scores[1] == float(plain.criticism(clips(), LABELS, chance(1))["distance"].detach())
    assert scores[0] != pytest.approx(scores[1], abs=1e-6)


def test_critics_in_sixteen_bits_judge_nearly_as_in_thirty_two_and_only_in_training():
    small = ("network.spectral_size=2", "loss.classification=1.0", "loss.recognition=1.0")
    plain, short = gan(*small), gan(*small, "network.bfloat16=true")
    for objective in ("criticism", "persuasion"):
        exact, near = (numbers(getattr(one, objective)(clips(), LABELS, chance(5))) for one in (plain, short))
        assert near == pytest.approx(exact, rel=0.02)
        assert near != exact
    exact, near = (numbers(one.eval().criticism(clips(), LABELS, chance(5))) for one in (plain, short))
    assert near == exact
    short.total(short.train().persuasion(clips(), LABELS, chance())).backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in short.generator.parameters())


def numbers(terms):
    return {name: float(term.detach()) for name, term in terms.items()}
