"""One DQN update, sampling included, beside Stable-Baselines3's `train(gradient_steps=1)`.

Equal maths: one-step targets, double off, one head, batch 32; ours in float32, the peer's arithmetic, and in
bfloat16 where that is our default. `sb3` is SB3 as it comes, `sb3_fused` has torch's fused optimiser, as we
have. Both draw from replays of 100,000 transitions; SB3 with `optimize_memory_usage`, so that both share
frames as far as each of them can. The double form and that of the preset `ddqn-efficient` are shown beside
it, under cases of their own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.agents import DDQN, DDQNConfig
from mbpo_fast.config import load_config
from mbpo_fast.data import MixedSampler, PrioritizedReplayBuffer, ReplayBuffer
from mbpo_fast.nets.precision import use_bf16

TRANSITIONS, BATCH, ACTIONS, GAMMA = 100_000, 32, 6, 0.99
POOL = np.random.default_rng(0).integers(0, 256, (257, 84, 84), np.uint8)
EQUAL = DDQNConfig(
    double=False, dueling=False, n_step=1, gamma=GAMMA, learning_rate=1e-4, adam_eps=1e-8, bf16=False,
    target_tau=1.0, target_period=10**9, act_with_target=False,
)  # fmt: skip
BF16 = use_bf16("auto", torch.device("cpu"))
FORMS = {
    "equal, float32": EQUAL,
    **({"equal, bfloat16": EQUAL.model_copy(update={"bf16": True})} if BF16 else {}),
    "double, float32": EQUAL.model_copy(update={"double": True}),
    "efficient": load_config(["ddqn-efficient"], {}).agent,
}
PAIRS = [
    (form, impl)
    for form in FORMS
    for impl in ("mbpo_fast", "sb3", "sb3_fused")
    if impl == "mbpo_fast" or form.startswith("equal")
]


def reward_of(step: int) -> float:
    return float(step % 3 - 1)


class Ours:
    def __init__(self, config: DDQNConfig) -> None:
        self.agent = DDQN(config, stack_size=4, frame_shape=(84, 84), num_actions=ACTIONS, seed=0)
        make = PrioritizedReplayBuffer if config.prioritized else ReplayBuffer
        self.replay = make(TRANSITIONS, 1)
        for step in range(TRANSITIONS + 1):
            self.replay.add(
                POOL[step % len(POOL)][None],
                [step % ACTIONS],
                [reward_of(step)],
                [False],
                [False],
                [step == 0],
            )
        self.sampler = MixedSampler(self.replay, None, BATCH, 1.0)

    def update(self) -> float:
        batch = self.sampler.sample(self.agent.n_step, gamma=self.agent.gamma)
        loss = self.agent.update(batch)["loss"]
        if self.agent.priorities is not None:
            self.sampler.update_priorities(batch, self.agent.priorities.numpy())
        return float(loss)


class StableBaselines:
    """SB3's DQN with a filled buffer; no environment is ever stepped."""

    def __init__(self, fused: bool) -> None:
        sb3 = pytest.importorskip("stable_baselines3")
        gym = pytest.importorskip("gymnasium")

        class Still(gym.Env[Any, Any]):
            observation_space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
            action_space = gym.spaces.Discrete(ACTIONS)

        self.dqn = sb3.DQN(
            "CnnPolicy", Still(), learning_rate=1e-4, buffer_size=TRANSITIONS, batch_size=BATCH, gamma=GAMMA,
            optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False},
            policy_kwargs={"optimizer_kwargs": {"fused": fused}}, device="cpu",
        )  # fmt: skip
        self.dqn._logger = sb3.common.logger.configure(None, [])
        self.samples = sb3.common.type_aliases.ReplayBufferSamples
        buffer = self.dqn.replay_buffer
        for step in range(TRANSITIONS):
            stack = POOL[np.arange(step - 3, step + 1) % len(POOL)]
            buffer.observations[step, 0] = stack
        buffer.actions[:, 0, 0] = np.arange(1, TRANSITIONS + 1) % ACTIONS
        buffer.rewards[:, 0] = [reward_of(step + 1) for step in range(TRANSITIONS)]
        buffer.dones[:] = 0
        buffer.full = True

    def update(self) -> None:
        self.dqn.train(gradient_steps=1, batch_size=BATCH)

    def loss(self) -> float:
        return float(self.dqn.logger.name_to_value["train/loss"])


MADE: dict[str, Any] = {}


def made(name: str) -> Any:
    """Built once: the buffers are large."""
    if name not in MADE:
        MADE[name] = Ours(FORMS[name]) if name in FORMS else StableBaselines(name == "sb3_fused")
    return MADE[name]


def assert_same_loss(form: str, peer: StableBaselines) -> None:
    """Our agent with SB3's weights, on a batch that SB3 drew, has SB3's loss."""
    drawn = peer.dqn.replay_buffer.sample(BATCH)
    ours = DDQN(FORMS[form], stack_size=4, frame_shape=(84, 84), num_actions=ACTIONS, seed=0)
    for own, other in ((ours.online, peer.dqn.q_net), (ours.target, peer.dqn.q_net_target)):
        with torch.no_grad():
            for mine, theirs in zip(own.parameters(), other.parameters(), strict=True):
                mine.copy_(theirs)
    batch = made(form).sampler.sample(1, gamma=GAMMA)
    batch.obs[:], batch.next_obs[:] = drawn.observations.numpy(), drawn.next_observations.numpy()
    batch.action[:], batch.reward[:] = drawn.actions[:, 0].numpy(), drawn.rewards[:, 0].numpy()
    batch.discount[:] = GAMMA
    sample = peer.dqn.replay_buffer.sample
    peer.dqn.replay_buffer.sample = lambda *args, **kwargs: drawn
    peer.update()
    peer.dqn.replay_buffer.sample = sample
    tolerance = 0.05 if FORMS[form].bf16 is True else 1e-4
    assert float(ours.update(batch)["loss"]) == pytest.approx(peer.loss(), rel=tolerance)


@pytest.mark.benchmark(group="ddqn_update")
@pytest.mark.parametrize(("form", "impl"), PAIRS)
def test_ddqn_update(benchmark: Any, tag: Callable[..., None], form: str, impl: str, turn: int) -> None:
    torch.set_num_threads(1)
    if "equal" in form:
        assert_same_loss(form, made("sb3" if impl == "mbpo_fast" else impl))
    learner = made(form if impl == "mbpo_fast" else impl)
    learner.update()
    tag(impl, f"{form}, batch={BATCH}, ring={TRANSITIONS}", 1)
    benchmark.pedantic(learner.update, rounds=20)
