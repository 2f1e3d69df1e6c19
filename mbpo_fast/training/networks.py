"""The networks of a run as a table for people."""

import torch

from mbpo_fast.agents import Agent
from mbpo_fast.config import Config
from mbpo_fast.training.build import build_agent, build_env, build_model


def describe_networks(config: Config) -> list[dict[str, str]]:
    """Name, input, output, parameters and status of every network that these settings build."""
    env = build_env(config)
    try:
        agent = build_agent(config, env)
        shape = env.stack_shape
    finally:
        env.close()
    rows = [_policy_row(agent, shape)]
    if config.training.real_ratio < 1 and config.model.kind == "learned":
        model = build_model(config, (shape[1], shape[2]), agent.num_actions)
        members, context = config.model.ensemble_size, config.model.context
        probe = torch.zeros(1, context, *shape[1:], dtype=torch.uint8)
        frame, _, _ = model.predict(probe, torch.zeros(1, dtype=torch.int64), 0)
        rows.append(
            _network_row(
                f"world model ({config.model.arch}, {members} members)",
                model.members,
                f"u8 [B, {context}, {shape[1]}, {shape[2]}] + action",
                f"change [B, {shape[1]}, {shape[2]}], reward [B, 3], end [B]",
                frame,
            )
        )
    return rows


def _policy_row(agent: Agent, shape: tuple[int, ...]) -> dict[str, str]:
    with torch.inference_mode():
        outputs = agent.network(torch.zeros(1, *shape, dtype=torch.uint8))
    heads = outputs if isinstance(outputs, tuple) else (outputs,)
    shapes = [", ".join(["B", *map(str, head.shape[1:])]) for head in heads]
    return _network_row(
        f"policy ({type(agent).__name__})",
        agent.network,
        f"u8 [B, {', '.join(map(str, shape))}]",
        ", ".join(f"f32 [{text}]" for text in shapes),
        torch.cat([head.flatten() for head in heads]),
    )


def _network_row(
    name: str, net: torch.nn.Module, inputs: str, outputs: str, probe: torch.Tensor
) -> dict[str, str]:
    parameters = sum(p.numel() for p in net.parameters())
    status = "ok" if bool(torch.isfinite(probe).all()) else "output not finite"
    return {
        "name": name,
        "input": inputs,
        "output": outputs,
        "parameters": f"{parameters:,}",
        "status": status,
    }
