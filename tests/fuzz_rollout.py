"""What to fuzz of networks and rollouts, on the processor and in the GPU kernels' emulation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from fuzzing import Args, Target, pixels
from layer_lists import ACTIONS, Maker, batch, policy, world

from mbpo_fast import _core
from mbpo_fast.ops.gpu import GpuBranches, GpuNetwork
from mbpo_fast.ops.gpu_device import EmulatedDevice
from mbpo_fast.ops.gpu_frames import GpuPreprocess
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.reference import preprocess
from mbpo_fast.ops.reference_network import run_network

FRAME = (20, 28)
CONTEXT = 5
MEMBERS = 2
MOST = 300  # rows, the largest number that is small enough to be asked for
THREADS = _core.ThreadPool(2)


def small() -> PackedNetwork:
    maker = Maker(0)
    x = maker.conv(maker.net.frames(2, cell=4), 10, 3, relu=True)
    return PackedNetwork([maker.net], [maker.linear(x, 6)])


def draws(rng: np.random.Generator) -> Args:
    """seed, action_stream, member_stream, step"""
    return [int(rng.integers(99)), 6, 7, int(rng.integers(99))]


def core_targets() -> list[Target]:
    net, acting, model = small(), policy(), world(MEMBERS)
    pool = THREADS

    def rows(rng: np.random.Generator) -> Args:
        context, action, member = batch(int(rng.integers(1, 6)), 1)
        return [context, action, member]

    def evaluate_args(rng: np.random.Generator) -> Args:
        given = rows(rng)
        return [pool, *given, np.zeros((len(given[0]), 6), np.float32)]

    def is_evaluated(args: Args, _: Any) -> bool:
        table, weights = net.parts[0], net.parts[1][0]
        spec = run_network(table, weights, args[1], args[2], ACTIONS)[-1][:, 0, 0]
        return np.allclose(args[4], spec, atol=1e-4 * max(1.0, np.abs(spec).max(initial=0)))

    def step_args(rng: np.random.Generator) -> Args:
        given = rows(rng)
        count = len(given[0])
        room = [np.zeros((count, *FRAME), np.uint8), np.full(count, 9, np.float32), np.zeros(count, bool)]
        return [pool, 0.5, 0.5, *given, *room]

    def rollout_args(rng: np.random.Generator) -> Args:
        ring = _core.BranchRing(8, 4, 3, *FRAME)
        start = pixels(rng, int(rng.integers(1, 5)), CONTEXT, *FRAME)
        measured = bool(rng.integers(2))
        share, bonus = (0.3, 0.5) if measured else (0.0, 0.0)
        spec = [2, 0.3, bool(rng.integers(2)), np.array([1, 0]), bool(rng.integers(2)), measured, 8]
        return [acting.core, model.core, pool, start, ring, *spec, share, bonus, 0.5, 0.9, *draws(rng)]

    return [
        Target(
            "ThreadPool",
            _core.ThreadPool,
            lambda rng: [int(rng.integers(1, 4))],
            lambda args, made: made.threads == args[0],
        ),
        Target("Network", _core.Network, lambda rng: network_args(rng, net), is_network),
        Target("Network.evaluate", net.core.evaluate, evaluate_args, is_evaluated, trusted=(0,)),
        Target(
            "Network.step",
            model.core.step,
            step_args,
            lambda args, _: bool(np.isin(args[7], [-1, 0, 1]).all()),
            trusted=(0,),
        ),
        Target("rollout", _core.rollout, rollout_args, is_rolled_out, trusted=(0, 1, 2, 4)),
    ]


def network_args(rng: np.random.Generator, net: PackedNetwork) -> Args:
    return [x.copy() if isinstance(x, np.ndarray) else x for x in net.parts]


def is_network(args: Args, made: _core.Network) -> bool:
    """What it computes, where it can be told in a moment."""
    table, weights, *sizes, outputs = args
    context, height, width, actions = map(int, sizes)
    if made.members != len(weights) or context * height * width > 2**14 or made.multiplications > 2**22:
        return made.members == len(weights)
    frames = pixels(np.random.default_rng(0), 2, context, height, width)
    none = np.zeros(2, np.int64)
    spec = run_network(table, weights[0], frames, none, actions)
    expected = np.concatenate([spec[register].reshape(2, -1) for register in outputs], axis=1)
    ours = np.zeros(expected.shape, np.float32)
    made.evaluate(THREADS, frames, none, none, ours)
    return np.allclose(ours, expected, atol=1e-4 * max(1.0, np.abs(expected).max(initial=0)))


def is_rolled_out(args: Args, result: tuple[int, int, int, float]) -> bool:
    transitions, steps, imagined, doubt = result
    start, ring, horizon, elites, masked = args[3], args[4], args[5], args[8], args[12]
    made = ring.export_branches(0, len(start))
    within = np.arange(3) < made["length"][:, None]
    return (
        np.array_equal(made["frame"][:, :4], start[:, -4:])
        and transitions == made["length"].sum() == ring.num_transitions
        and (transitions == imagined or masked > 0)
        and steps <= horizon
        and doubt >= 0
        and bool(np.isin(made["member"][within], elites).all())
        and bool(np.isin(made["action"][within], range(ACTIONS)).all())
    )


def emulated_targets() -> list[Target]:
    """Arguments that name memory are trusted: nobody can check an address, or how much lies behind it."""
    device = EmulatedDevice()
    return [*network_targets(device), *frame_targets(device), *rollout_targets(device)]


def network_targets(device: EmulatedDevice) -> list[Target]:
    packed = small()
    net = GpuNetwork(packed, device)
    context, action, member = batch(MOST, 1)
    given = [device.put(context), device.put(action.astype(np.int32)), device.put(member.astype(np.int32))]
    out = device.empty((MOST, 6), np.float32)
    workspace = device.empty((net.core.workspace_bytes(MOST),), np.uint8)
    spec = run_network(packed.parts[0], packed.parts[1][0], context, action, ACTIONS)[-1][:, 0, 0]

    # The network's bytes live as long as `net`, which every call therefore names.
    def evaluate_args(rng: np.random.Generator) -> Args:
        sizes = [device.address(workspace), workspace.size]
        rows = int(rng.integers(1, 4))
        return [*sizes, *map(device.address, given), rows, device.address(out), int(rng.integers(1, 3))]

    def is_evaluated(args: Args, _: Any) -> bool:
        ours, wanted = out[: args[5]], spec[: args[5]]
        return bool(np.linalg.norm(ours - wanted) <= 1e-2 * np.linalg.norm(wanted))

    def load(address: int) -> None:
        device.module.Network(*packed.parts, False, 0).load(address)

    return [
        Target(
            "_cuda.Network",
            device.module.Network,
            lambda rng: [*network_args(rng, packed), False, int(rng.integers(0, 2**17))],
            lambda args, made: len(made.bytes) > 0 and made.shared_bytes >= 0,
        ),
        Target("_cuda.Network.load", load, lambda rng: [0], lambda *_: True),
        Target(
            "_cuda.Network.workspace_bytes",
            net.core.workspace_bytes,
            lambda rng: [int(rng.integers(0, 99))],
            lambda args, size: size >= args[0],
        ),
        Target(
            "_cuda.Network.evaluate",
            lambda *args: net.core.evaluate(*args),
            evaluate_args,
            is_evaluated,
            trusted=(0, 1, 2, 3, 4, 6),
        ),
    ]


def frame_targets(device: EmulatedDevice) -> list[Target]:
    shrink = GpuPreprocess(device, (10, 8), (5, 6))
    tables = device.put(shrink.core.bytes)
    screens = pixels(np.random.default_rng(0), MOST, 2, 10, 8)
    out = device.empty((MOST, 5, 6), np.uint8)
    small_frames = preprocess(screens, (5, 6))
    index = np.random.default_rng(1).integers(-3, MOST, MOST)
    gathered = device.empty((MOST, 30), np.uint8)
    stacks = np.where((index >= 0)[:, None], small_frames.reshape(MOST, 30)[index], 0)
    at: Callable[[Any], int] = device.address

    def zeroed(call: Callable[..., None], room: np.ndarray) -> Callable[..., None]:
        def run(*args: Any) -> None:
            room.fill(0)
            call(*args)

        return run

    return [
        Target(
            "_cuda.Preprocess",
            device.module.Preprocess,
            lambda rng: [10, 8, int(rng.integers(1, 10)), int(rng.integers(1, 8))],
            lambda args, made: len(made.bytes) > 0,
        ),
        Target(
            "_cuda.Preprocess.run",
            zeroed(shrink.core.run, out),
            lambda rng: [at(tables), at(screens), int(rng.integers(1, 5)), at(out), 1],
            lambda args, _: np.array_equal(out[: args[2]], small_frames[: args[2]]),
            trusted=(0, 1, 3),
        ),
        Target(
            "_cuda.gather_frames",
            zeroed(device.module.gather_frames, gathered),
            lambda rng: [at(small_frames), MOST, 30, at(index), int(rng.integers(1, 9)), at(gathered), 1],
            lambda args, _: np.array_equal(gathered[: args[4]], stacks[: args[4]]),
            trusted=(0, 1, 2, 3, 5),
        ),
    ]


def rollout_targets(device: EmulatedDevice) -> list[Target]:
    acting, model = GpuNetwork(policy(), device), GpuNetwork(world(MEMBERS), device, predicts_frames=True)
    count = 3
    start = pixels(np.random.default_rng(0), count, CONTEXT, *FRAME)
    shape: dict[str, Any] = {"capacity": count, "context": 4, "horizon": 3, "frame_shape": FRAME}
    branches = GpuBranches(device, count, **shape)
    needed = device.module.workspace_bytes(acting.core, model.core, count, MEMBERS)
    workspace = device.empty((needed,), np.uint8)

    def args_of(rng: np.random.Generator) -> Args:
        memory = [device.address(workspace), needed, device.address(start), count, branches.core]
        measured = bool(rng.integers(2))
        share, bonus = (0.3, 0.5) if measured else (0.0, 0.0)
        spec = [int(rng.integers(count)), 2, 0.3, bool(rng.integers(2)), np.array([1, 0])]
        asked = [bool(rng.integers(2)), measured, 8, share, bonus]
        return [acting.core, model.core, *memory, *spec, *asked, 0.5, 0.9, *draws(rng), 1]

    def is_right(args: Args, _: Any) -> bool:
        made, rows, first = branches.export(0, count), args[5], args[7]
        places = (first + np.arange(rows)) % count
        within = np.arange(3) < made["length"][places][:, None]
        return (
            np.array_equal(made["frame"][places, :4], start[:rows, -4:])
            and bool((made["length"][places] <= args[8]).all())
            and bool(np.isin(made["member"][places][within], args[11]).all())
        )

    addresses = [device.address(array) for array in branches.arrays.values()]
    return [
        Target("_cuda.rollout", device.module.rollout, args_of, is_right, trusted=(0, 1, 2, 3, 4, 6)),
        Target(
            "_cuda.workspace_bytes",
            device.module.workspace_bytes,
            lambda rng: [acting.core, model.core, int(rng.integers(0, 99)), int(rng.integers(0, 5))],
            lambda args, size: size >= args[2] * (1 + args[3]),
            trusted=(0, 1),
        ),
        Target(
            "_cuda.Branches",
            device.module.Branches,
            lambda rng: [count, 4, 3, *FRAME, *addresses],
            lambda *_: True,
            trusted=tuple(range(5, 12)),
        ),
    ]
