"""The WaveGAN is the paper's, and what was added to it does what it says."""

import math

import numpy as np
import pytest
import torch
from timbrel.train import checkpoint
from timbrel.train.families.gan.wavegan import LABEL_WIDTH, LEAK, WaveGAN, leaky_relu, penalty, phase_shuffled
from timbrel.train.families.recipes import load_recipe
from timbrel.train.network import SHARED

SMALL = ["network.model_size=2"]
WORDS = ['network.words=["a","b","c"]', "network.labels=true"]


def wavegan(*changes):
    torch.manual_seed(0)
    return WaveGAN(load_recipe("clip-wavegan", [*SMALL, *changes]))


def clips_of(length):
    return f"frames.frame_length={length}", f"frames.hop_length={length}"


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the paper's numbers


def test_the_recipe_holds_the_papers_numbers():
    """Appendix D, Table 4 and section 5."""
    recipe = load_recipe("clip-wavegan")
    assert (recipe.network.latents, recipe.network.model_size, recipe.network.phase_shuffle) == (100, 64, 2)
    assert (recipe.frames.sample_rate, recipe.frames.frame_length) == (16000, 16384)
    assert (recipe.training.batch_size, recipe.training.learning_rate, recipe.training.schedule) == (
        64,
        1e-4,
        "constant",
    )
    assert recipe.loss.penalty == 10
    assert not recipe.frames.normalised
    assert not recipe.network.average
    assert not recipe.network.labels
    criticism, persuasion = WaveGAN.objectives
    assert criticism.batches == 5
    assert not persuasion.batches
    assert {adam.betas for adam in WaveGAN.optimisers.values()} == {(0.5, 0.9)}
    assert SHARED not in WaveGAN.optimisers


@pytest.mark.parametrize(("length", "layers"), [(8192, 5), (16384, 5), (32768, 6), (65536, 6)])
@pytest.mark.parametrize("size", [1, 3])
def test_weights_are_as_many_as_the_papers_tables_say(length, layers, size):
    """Table 1 and 2: a dense layer to 16 × the widest, then kernels of 25, each layer half as wide, to one channel."""
    network = wavegan(*clips_of(length), f"network.model_size={size}")
    widths = [size * 2**place for place in range(layers)]
    kernels = sum(25 * a * b for a, b in zip([1, *widths], widths, strict=False))
    seen = 16 * widths[-1]
    assert count(network.generator) == 101 * seen + kernels + sum(widths[:-1]) + 1
    assert count(network.critic) == seen + 1 + kernels + sum(widths)


def test_at_the_papers_size_the_generator_has_nineteen_million_weights():
    network = WaveGAN(load_recipe("clip-wavegan"))
    assert (count(network.generator), count(network.critic)) == (19_065_345, 17_427_969)


@pytest.mark.parametrize("length", [8192, 16384, 32768, 65536])
def test_clips_of_each_length_are_made_and_judged(length):
    network = wavegan(*clips_of(length), "network.model_size=1").eval()
    clips = network.decode(network.draw(2, chance()))
    assert clips.shape == (2, length)
    assert clips.abs().max() <= 1
    assert network.judge(clips, None).shape == (2,)


def test_codes_are_evenly_distributed_between_minus_one_and_one():
    codes = wavegan().draw(400, chance()).flatten()
    assert codes.min() >= -1
    assert codes.max() <= 1
    assert float(codes.mean()) == pytest.approx(0, abs=0.02)
    assert float(codes.std()) == pytest.approx(1 / math.sqrt(3), abs=0.01)


# ---- phase shuffle


def mirrored(sound, by):
    """A sound moved by some samples, sample by sample; beyond its ends it goes back the way it came."""
    moved = []
    for place in range(len(sound)):
        source = place - by
        source = -source if source < 0 else source
        source = 2 * (len(sound) - 1) - source if source >= len(sound) else source
        moved.append(float(sound[source]))
    return moved


def test_phase_shuffle_moves_all_by_one_number_and_mirrors_what_comes_in():
    value = torch.randn(2, 3, 11, generator=chance(1))
    seen = set()
    for seed in range(60):
        found = phase_shuffled(value, 2, chance(seed))
        fits = [by for by in range(-2, 3) if found[1, 2].tolist() == pytest.approx(mirrored(value[1, 2], by))]
        assert len(fits) == 1
        for row, before in zip(found.reshape(6, 11), value.reshape(6, 11), strict=True):
            assert row.tolist() == pytest.approx(mirrored(before, fits[0]))
        seen.add(fits[0])
    assert seen == {-2, -1, 0, 1, 2}


def test_no_shuffle_leaves_all_as_it_is():
    value = torch.randn(2, 3, 11)
    assert phase_shuffled(value, 0, chance()) is value


def test_the_critic_is_shuffled_while_it_learns_and_not_where_it_judges():
    network = wavegan()
    clips = 0.1 * torch.randn(3, 16384)
    learning = {tuple(network.critic(clips, None, chance(seed)).tolist()) for seed in range(5)}
    network.eval()
    judging = {tuple(network.critic(clips, None, chance(seed)).tolist()) for seed in range(5)}
    assert len(learning) > 1
    assert len(judging) == 1


# ---- the contest


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_that_of_its_weights_length(length):
    """Its slope is its weight everywhere: (|w| - 1)²."""
    weight = torch.randn(50, generator=chance())
    weight = (length * weight / weight.norm()).requires_grad_()
    clips = torch.randn(4, 50, requires_grad=True)
    (slope,) = torch.autograd.grad((clips @ weight).sum(), clips, create_graph=True)
    found = penalty(slope)
    assert float(found.detach()) == pytest.approx((length - 1) ** 2, abs=1e-6)
    if length:
        (of_weight,) = torch.autograd.grad(found, weight)
        expected = 2 * (length - 1) * (weight / weight.norm()).detach()
        torch.testing.assert_close(of_weight, expected, atol=1e-5, rtol=1e-4)


def test_the_critics_terms_are_its_answers_and_slopes_between_real_and_made():
    """Written out once more, with the critic of one dense layer, whose slope is its weight."""

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(16384, generator=chance(3)) / 100)

        def forward(self, clips, label, generator):
            return clips @ self.weight

    network = wavegan()
    network.critic = Linear()
    clips = 0.1 * torch.randn(6, 16384, generator=chance(4))
    terms = {n: t.detach() for n, t in network.criticism(clips, torch.zeros(6, dtype=torch.long), chance(5)).items()}
    made = network.generator(network.draw(6, chance(5))).detach()
    weight = network.critic.weight.detach()
    assert float(terms["distance"]) == pytest.approx(float((made @ weight).mean() - (clips @ weight).mean()), rel=1e-4)
    assert float(terms["penalty"]) == pytest.approx((float(weight.norm()) - 1) ** 2, rel=1e-4)
    total = network.total(terms)
    assert float(total) == pytest.approx(float(terms["distance"]) + 10 * float(terms["penalty"]), rel=1e-5)


def test_slopes_are_those_between_real_and_made():
    """Of half a square the slope is the clip itself."""

    class Square(torch.nn.Module):
        def forward(self, clips, label, generator):
            return clips.square().sum(1) / 2

    network = wavegan()
    network.critic = Square()
    clips = 0.01 * torch.randn(6, 16384, generator=chance(4))
    terms = network.criticism(clips, torch.zeros(6, dtype=torch.long), chance(5))
    again = chance(5)
    made = network.generator(network.draw(6, again)).detach()
    share = torch.rand(6, 1, generator=again)
    between = share * clips + (1 - share) * made
    expected = (between.square().sum(1).sqrt() - 1).square().mean()
    assert float(terms["penalty"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_persuasion_has_slopes_for_the_generator_alone():
    network = wavegan(*WORDS)
    clips, labels = torch.zeros(2, 16384), torch.tensor([0, 2])
    network.persuasion(clips, labels, chance())["persuasion"].backward()
    assert all(parameter.grad is None for parameter in network.critic.parameters())
    assert all(parameter.grad is not None for parameter in network.generator.parameters())


def test_criticism_has_slopes_for_the_critic_alone():
    network = wavegan(*WORDS)
    terms = network.criticism(torch.zeros(2, 16384), torch.tensor([0, 2]), chance())
    network.total(terms).backward()
    assert all(parameter.grad is None for parameter in network.generator.parameters())
    assert all(parameter.grad is not None for parameter in network.critic.parameters())


# ---- labels


def test_labels_change_what_is_made_and_what_is_judged():
    network = wavegan(*WORDS).eval()
    codes = network.draw(1, chance()).repeat(3, 1)
    rows = network.rows(torch.arange(3))
    assert rows.tolist() == np.eye(3).tolist()
    clips = network.decode(codes, rows)
    judged = network.judge(clips[:1].repeat(3, 1), rows)
    for one in (clips, judged[:, None]):
        assert len({tuple(row) for row in one.tolist()}) == 3


def test_half_of_each_of_two_labels_lies_between_them():
    network = wavegan(*WORDS).eval()
    inside = [network.generator.embedding(torch.tensor([row])) for row in ([1.0, 0, 0], [0, 1.0, 0], [0.5, 0.5, 0])]
    torch.testing.assert_close(inside[2], (inside[0] + inside[1]) / 2)


def test_labels_cost_an_embedding_and_a_projection():
    plain, told = wavegan(), wavegan(*WORDS)
    widest = 16 * 32
    assert count(told.generator) - count(plain.generator) == 3 * LABEL_WIDTH + LABEL_WIDTH * widest
    assert count(told.critic) - count(plain.critic) == 3 * widest
    assert plain.rows(torch.zeros(2, dtype=torch.long)) is None


# ---- mean weights


def test_mean_weights_are_those_of_a_plain_loop():
    network = wavegan("network.average=0.9")
    assert network.averaged is not network.generator
    expected = None
    for step in range(150):
        with torch.no_grad():
            for parameter in network.generator.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=chance(step)))
        network.follow_weights()
        now = torch.cat([p.detach().flatten().double() for p in network.generator.parameters()])
        kept = min(0.9, step / (step + 10))
        expected = now if expected is None else kept * expected + (1 - kept) * now
    found = torch.cat([p.flatten().double() for p in network.averaged.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_mean_weights_decode_and_are_validated_and_the_moving_ones_are_trained():
    network = wavegan("network.average=0.9")
    with torch.no_grad():
        for parameter in network.averaged.parameters():
            parameter.zero_()
    codes = network.draw(2, chance())
    assert not network.decode(codes).any()
    assert network.generator(codes).any()
    terms = {}
    for training in (True, False):
        network.train(training)
        batch = torch.zeros(2, 16384), torch.zeros(2, dtype=torch.long)
        terms[training] = float(network.persuasion(*batch, chance())["persuasion"].detach())
    silence = -float(network.judge(torch.zeros(2, 16384), None).mean().detach())
    assert terms[False] == pytest.approx(silence, abs=1e-7)
    assert terms[True] != pytest.approx(silence, abs=1e-7)


def test_mean_weights_are_in_the_checkpoint_and_take_no_part_in_training(tmp_path):
    network = wavegan("network.average=0.9")
    assert not any(parameter.requires_grad for parameter in network.averaged.parameters())
    optimizers = {
        name: adam.over(network, load_recipe("clip-wavegan").training) for name, adam in network.optimisers.items()
    }
    moved = {id(p) for o in optimizers.values() for group in o.param_groups for p in group["params"]}
    assert not moved & {id(p) for p in network.averaged.parameters()}
    network.follow_weights()
    checkpoint.save(tmp_path / "a.ckpt", network, optimizers, checkpoint.Progress(3))
    other = wavegan("network.average=0.9")
    checkpoint.restore(tmp_path / "a.ckpt", other)
    assert float(other.moves) == 1
    codes = network.draw(2, chance())
    assert torch.equal(other.eval().decode(codes), network.eval().decode(codes))


def test_without_them_there_is_one_generator():
    network = wavegan()
    network.follow_weights()
    assert network.averaged is None
    assert not any("averaged" in name for name in network.state_dict())


def test_the_critics_activation_is_torchs_to_the_bit_and_sends_no_zeros_back():
    weights = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    values = torch.cat([torch.randn(5, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)])
    found = []
    for activation in (leaky_relu, lambda features: torch.nn.functional.leaky_relu(features, LEAK)):
        inputs = values.clone().requires_grad_()
        outputs = activation(activation(inputs) @ weights)
        (slopes,) = torch.autograd.grad(outputs.square().sum(), inputs, create_graph=True)
        found.append([outputs, slopes, *torch.autograd.grad(slopes.square().sum(), [inputs, weights])])
    torch.testing.assert_close(*found, rtol=0, atol=0)
    inputs = values.clone().requires_grad_()
    cotangent = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(leaky_relu(inputs), inputs, cotangent, create_graph=True)
    assert torch.autograd.grad(slopes.square().sum(), inputs, allow_unused=True) == (None,)


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_phases_are_torchs_reflection_and_send_no_zeros_back(seed):
    shift = int(torch.randint(-2, 3, (), generator=chance(seed)))
    signal = torch.randn(2, 3, 9, requires_grad=True)
    padded = torch.nn.functional.pad(signal, (max(shift, 0), max(-shift, 0)), mode="reflect")
    shuffled = phase_shuffled(signal, 2, chance(seed))
    assert torch.equal(shuffled, padded[:, :, :9] if shift > 0 else padded[:, :, -9:])
    cotangent = torch.randn(2, 3, 9, requires_grad=True)
    (slopes,) = torch.autograd.grad(shuffled, signal, cotangent, create_graph=True)
    assert torch.autograd.grad(slopes.square().sum(), signal, allow_unused=True) == (None,)
