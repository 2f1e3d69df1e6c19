"""One update of discrete SAC on 84x84 frames, beside plain eager torch with the same maths.

`torch_eager` is what a single-file implementation does: float32, every loss by its own forward passes, one
optimiser for each. Before the clock starts, both make the same update from the same weights, and it must give
the same weights (float32); `bfloat16` is ours with the precision that `agent.bf16: auto` picks where the
hardware has it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.agents import SAC, SACConfig
from mbpo_fast.data import Batch

ACTIONS, SHAPE = 6, (84, 84)
BATCHES = (32, 64)


def ours(bf16: bool) -> SAC:
    config = SACConfig(bf16=bf16)
    learner = SAC(config, stack_size=4, frame_shape=SHAPE, num_actions=ACTIONS, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a uniform policy would hide errors in the losses
        learner.actor.logits.weight.normal_(0.0, 0.05, generator=generator)
    return learner


def rows(batch: int) -> Batch:
    rng = np.random.default_rng(0)
    out = Batch.empty(batch, 4, SHAPE)
    out.obs[:], out.next_obs[:] = (rng.integers(0, 256, out.obs.shape) for _ in range(2))
    out.action[:] = rng.integers(0, ACTIONS, batch)
    out.reward[:] = rng.normal(size=batch)
    out.discount[:] = 0.97 * (rng.random(batch) < 0.9)
    return out


class TorchEager:
    """The same weights, losses and settings, without our economies."""

    def __init__(self, learner: SAC) -> None:
        self.config, self.target_entropy = learner.config, learner.target_entropy
        self.actor = plain(learner.actor, "logits")
        self.critics = [plain(net, "advantage") for net in learner.critics]
        self.targets = [plain(net, "advantage") for net in learner.targets]
        self.log_alpha = learner.log_alpha.detach().clone().requires_grad_()
        self.critic_parameters = [p for net in self.critics for p in net.parameters()]
        rates = self.config
        self.critic_optimizer = self.adam(self.critic_parameters, rates.critic_learning_rate)
        self.actor_optimizer = self.adam(list(self.actor.parameters()), rates.actor_learning_rate)
        self.alpha_optimizer = self.adam([self.log_alpha], rates.alpha_learning_rate)

    def adam(self, parameters: list[Tensor], rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=rate, eps=self.config.adam_eps)

    def update(self, batch: Batch) -> None:
        obs, next_obs = (torch.from_numpy(x).float() / 255.0 for x in (batch.obs, batch.next_obs))
        action, reward, discount = (torch.from_numpy(x) for x in (batch.action, batch.reward, batch.discount))
        with torch.no_grad():
            pi = F.softmax(self.actor(next_obs), dim=1)
            value = (pi * (self.targets[0](next_obs) + self.targets[1](next_obs)) / 2).sum(1)
            target = reward + discount * value
        chosen = [net(obs).gather(1, action[:, None])[:, 0] for net in self.critics]
        critic_loss = sum(0.5 * F.mse_loss(q, target) for q in chosen)
        log_pi = F.log_softmax(self.actor(obs), dim=1)
        with torch.no_grad():
            q_values = (self.critics[0](obs) + self.critics[1](obs)) / 2
        actor_loss = (log_pi.exp() * (self.log_alpha.exp().detach() * log_pi - q_values)).sum(1).mean()
        log_pi = log_pi.detach()
        alpha_loss = -(log_pi.exp() * self.log_alpha.exp() * (log_pi + self.target_entropy)).sum(1).mean()
        self.step(self.critic_optimizer, critic_loss, self.critic_parameters)
        self.step(self.actor_optimizer, actor_loss, list(self.actor.parameters()))
        self.step(self.alpha_optimizer, alpha_loss, [])
        with torch.no_grad():
            for old, new in zip(self.targets, self.critics, strict=True):
                for a, b in zip(old.parameters(), new.parameters(), strict=True):
                    a.lerp_(b, self.config.target_tau)

    def step(self, optimizer: torch.optim.Adam, loss: Tensor, clipped: list[Tensor]) -> None:
        optimizer.zero_grad()
        loss.backward()
        if clipped:
            nn.utils.clip_grad_norm_(clipped, self.config.max_grad_norm)
        optimizer.step()


def plain(net: nn.Module, last: str) -> nn.Sequential:
    """A sequential network with a copy of the weights, contiguous as torch makes them."""
    hidden = net.hidden if isinstance(net.hidden, nn.Linear) else net.hidden[0]
    size = hidden.in_features, hidden.out_features
    convs = [nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3)]
    out = nn.Sequential(
        *convs, nn.ReLU(), nn.Flatten(), nn.Linear(*size), nn.ReLU(), nn.Linear(size[1], ACTIONS)
    )
    layers = [*net.encoder.convs, hidden, getattr(net, last)]
    sources = [p for layer in layers for p in layer.parameters()]
    with torch.no_grad():
        for a, b in zip(out.parameters(), sources, strict=True):
            a.copy_(b)
    return out


def assert_equal_update(batch: int) -> None:
    learner = ours(bf16=False)
    peer, data = TorchEager(learner), rows(batch)
    learner.update(data)
    peer.update(data)
    expected = [
        *peer.critic_parameters,
        *peer.actor.parameters(),
        *(p for n in peer.targets for p in n.parameters()),
    ]
    got = [p for net in (learner.critics, learner.actor, learner.targets) for p in net.parameters()]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=5e-6)
    torch.testing.assert_close(learner.log_alpha, peer.log_alpha)


@pytest.mark.benchmark(group="sac_update")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("impl", ["mbpo_fast", "mbpo_fast_bf16", "torch_eager"])
def test_sac_update(benchmark: Any, tag: Callable[..., None], impl: str, batch: int, turn: int) -> None:
    assert_equal_update(batch)
    learner = ours(bf16=impl == "mbpo_fast_bf16")
    update = TorchEager(learner).update if impl == "torch_eager" else learner.update
    tag(impl, f"batch={batch}, threads={torch.get_num_threads()}", 1)
    benchmark.pedantic(update, args=(rows(batch),), warmup_rounds=2, rounds=10)
