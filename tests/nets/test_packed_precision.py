"""Which sums of a network in bfloat16 stay in float32: those that torch keeps there too."""

import pytest
from rollout_parts import ACTIONS, SIDE, policy_agent, world

from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import FIELDS, KINDS


def sums(packed: PackedNetwork) -> list[tuple[str, int, int]]:
    """Kind, channels and the bf16 field of every convolution and linear layer."""
    rows = [dict(zip(FIELDS, map(int, row), strict=True)) for row in packed.parts[0]]
    layers = [(KINDS[row["kind"]], row["channels"], row["bf16"]) for row in rows]
    return [layer for layer in layers if layer[0] in ("convolution", "linear")]


@pytest.mark.parametrize("name", ["plain", "dueling", "c51", "quantile", "impala", "sac", "ppo"])
def test_a_policys_head_stays_in_float32(name: str) -> None:
    network = policy_agent(name, SIDE).network
    network.bf16 = True
    *body, head = sums(pack_policy(network, (SIDE, SIDE)))
    assert head[2] == 0
    assert all(flag == 1 for _, _, flag in body)
    network.bf16 = False
    assert not any(flag for _, _, flag in sums(pack_policy(network, (SIDE, SIDE))))


@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
def test_only_coarse_means_of_a_world_stay_in_float32(arch: str) -> None:
    model = world(1, arch=arch, context=12, width=16, depth=1, outcome_width=8)
    layers = [
        sums(pack_world(model.members, (SIDE, SIDE), context=12, num_actions=ACTIONS, bf16=bf16))
        for bf16 in (False, True)
    ]
    assert not any(flag for _, _, flag in layers[0])
    exact = [layer[:2] for layer in layers[1] if not layer[2]]
    assert exact == ([("convolution", 16)] if arch == "clock" else [])
