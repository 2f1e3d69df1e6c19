"""The learners by the name that `agent.kind` gives them."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Discriminator, Tag

from mbpo_fast.agents.ddqn import DDQN, DDQNConfig
from mbpo_fast.agents.ppo import PPO, PPOConfig
from mbpo_fast.agents.sac import SAC, SACConfig

DEFAULT_KIND = "ddqn"


def _kind_of(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return str(value.get("kind", DEFAULT_KIND))
    return getattr(value, "kind", None)


AgentConfig = Annotated[
    Annotated[DDQNConfig, Tag("ddqn")] | Annotated[SACConfig, Tag("sac")] | Annotated[PPOConfig, Tag("ppo")],
    Discriminator(_kind_of),
]
"""Settings of one learner; without `kind` those of DDQN."""


def make_agent(
    config: AgentConfig,
    *,
    stack_size: int,
    frame_shape: tuple[int, int],
    num_actions: int,
    seed: int,
    device: torch.device | str = "cpu",
    cuda_graphs: bool = False,
) -> DDQN | SAC | PPO:
    """The learner that these settings describe, as it is before its first update."""
    shape = {"stack_size": stack_size, "frame_shape": frame_shape, "num_actions": num_actions}
    kwargs: dict[str, Any] = shape | {"seed": seed, "device": device, "cuda_graphs": cuda_graphs}
    if isinstance(config, DDQNConfig):
        return DDQN(config, **kwargs)
    return SAC(config, **kwargs) if isinstance(config, SACConfig) else PPO(config, **kwargs)
