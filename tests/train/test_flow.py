"""The map between codes and latents: it can be taken back, knows densities, fits what it is shown, and has an order."""

import itertools

import numpy as np
import pytest
import torch
from timbrel.train.families.clip.network import PROBE, Flow

WORDS = 3


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def flow_of(n, seed=0):
    """A map that bends: as it begins, couplings change nothing."""
    flow = Flow(n, WORDS)
    torch.manual_seed(seed)
    for coupling in flow.couplings:
        torch.nn.init.normal_(coupling.told[-1].weight, std=0.1)
    latents = torch.randn(64, n) @ torch.randn(n, n) + 2
    flow.note(latents, torch.arange(64) % WORDS)
    return flow


def told(count):
    return torch.eye(WORDS)[torch.arange(count) % WORDS]


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_codes_come_back_from_their_latents_and_latents_from_their_codes(n):
    flow = flow_of(n)
    flow.turn([latents * torch.arange(1, n + 1) for latents in flow.probes()[0]])
    codes = torch.randn(9, n)
    with torch.no_grad():
        latents = flow.latents(codes, told(9))
        assert torch.allclose(flow.codes(latents, told(9)), codes, atol=2e-3)
        assert torch.allclose(flow.latents(flow.codes(latents, told(9)), told(9)), latents, atol=2e-3)
        assert n == 1 or not torch.allclose(flow.latents(codes, told(9).roll(1, 0)), latents, atol=0.1)


def test_surprise_is_the_density_that_follows_from_the_slopes_of_the_map():
    """By the change of variables, with autograd's Jacobian; scaling by the covariance is the same for all."""
    flow, latents = flow_of(4), torch.randn(5, 4)
    expected = []
    for row, label, scale in zip(latents, told(5), flow.inverse[torch.arange(5) % WORDS], strict=True):
        slopes = torch.autograd.functional.jacobian(lambda z, label=label: flow.codes(z[None], label[None])[0], row)
        code = flow.codes(row[None], label[None])[0]
        scaled = torch.linalg.slogdet(scale)[1]
        expected.append(float((0.5 * code.square().sum() - torch.linalg.slogdet(slopes)[1] + scaled).detach()))
    assert float(flow.surprise(latents, told(5)).detach()) == pytest.approx(np.mean(expected), rel=1e-4)


def test_latents_of_normal_codes_have_each_labels_mean_and_nine_tenths_of_its_covariance():
    rng, labels = np.random.default_rng(0), np.arange(3000) % WORDS
    means, mixing = 3 * rng.standard_normal((WORDS, 4)), rng.standard_normal((WORDS, 4, 4))
    latents = np.einsum("bij,bj->bi", mixing[labels], rng.standard_normal((3000, 4))) + means[labels]
    flow = Flow(4, WORDS)
    flow.note(torch.from_numpy(latents).float(), torch.from_numpy(labels))
    with torch.no_grad():
        made = flow.latents(torch.from_numpy(rng.standard_normal((30000, 4))).float(), told(30000)).numpy()
    own = np.stack([np.cov(latents[labels == word].T) for word in range(WORDS)])
    for word in range(WORDS):
        some = made[word::WORDS]
        assert some.mean(0) == pytest.approx(latents[labels == word].mean(0), abs=0.15)
        assert np.cov(some.T) == pytest.approx(0.9 * own[word] + 0.1 * own.mean(0), abs=0.4)


def test_running_means_forget_latents_of_long_ago():
    flow = Flow(2, 1)
    for step in range(1200):
        where = 5.0 if step < 400 else -1.0
        flow.note(torch.tensor([[where, 0.0], [where, 1.0]]), torch.zeros(2, dtype=torch.int64))
    assert flow.middles[0].numpy() == pytest.approx([-1.0, 0.5], abs=0.01)
    assert flow.covariance[0].numpy() == pytest.approx(np.diag([0.0, 0.25]), abs=0.05)


def test_a_label_that_a_step_has_no_clip_of_stays_where_it_was():
    flow = flow_of(3)
    before = flow.middles.clone()
    flow.note(torch.randn(8, 3), torch.tensor([0, 2] * 4))
    assert torch.equal(flow.middles[1], before[1])
    assert not torch.equal(flow.middles[0], before[0])


@pytest.mark.parametrize("seed", range(4))
def test_codes_are_in_the_order_of_how_much_they_move(seed):
    """A map that bends moves other codes a little otherwise than those by which it was turned: by up to a third."""
    torch.manual_seed(seed)
    flow, heard = flow_of(5), torch.randn(7, 5)
    flow.turn([latents @ heard.T for latents in flow.probes()[0]])
    with torch.no_grad():
        codes, labels = torch.randn(400, 5), told(400)
        here = flow.latents(codes, labels) @ heard.T
        moved = [flow.latents(codes + PROBE * axis, labels) @ heard.T - here for axis in torch.eye(5)]
    sizes = [float(part.square().mean()) for part in moved]
    assert all(after < 4 / 3 * before for before, after in itertools.pairwise(sizes))
    assert sizes[0] > 5 * sizes[-1]
    assert torch.allclose(flow.axes @ flow.axes.T, torch.eye(5), atol=1e-5)


def test_what_bends_is_learned_by_maximum_likelihood():
    """A ring, of which the covariance knows nothing: half of a normal's draws would lie inside it."""
    torch.manual_seed(0)
    angle, one = 2 * torch.pi * torch.rand(512), torch.zeros(512, dtype=torch.int64)
    ring = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(512, 2)
    flow = Flow(2, 1)
    flow.note(ring, one)
    steps = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(200):
        steps.zero_grad()
        flow.surprise(ring, torch.ones(512, 1)).backward()
        steps.step()
    with torch.no_grad():
        far = flow.latents(torch.randn(2000, 2), torch.ones(2000, 1)).norm(dim=1)
    assert (far < 0.7).float().mean() < 0.2


def test_codes_that_are_farther_out_than_any_are_drawn_in():
    flow, codes = flow_of(5), torch.randn(9, 5)
    far = codes * (5**0.5 + 3) / codes.norm(dim=1, keepdim=True)
    with torch.no_grad():
        edge = flow.latents(far, told(9))
        assert torch.allclose(flow.latents(2 * far, told(9)), edge, atol=1e-4)
        assert not torch.allclose(flow.latents(0.9 * far, told(9)), edge, atol=0.05)
        assert torch.isfinite(flow.latents(0 * far, told(9))).all()
