"""Ten thousand calls on the bindings, with arguments that are partly wrong: a right answer or a clear error.

A wrong argument is drawn from what users mix up: types, shapes, signs, sizes, layouts, read-only arrays. Run
on the instrumented build (`make sanitize`) this also says that no call reads or writes where it should not.
"""

import inspect
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from fuzz_rings import Rings, branch_ring_targets, frame_ring_targets, sum_tree_targets
from fuzz_rollout import core_targets, emulated_targets
from fuzzing import Target, fuzz, pixels
from gpu_devices import NO_EMULATION, device_of

from mbpo_fast import _core
from mbpo_fast.ops import reference

CALLS = 10_000
PARTS = 4


def upper_half(values: np.ndarray) -> np.ndarray:
    """The bits of bfloat16 of floats that it holds exactly."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def frame_and_number_targets() -> list[Target]:
    return [
        Target(
            "preprocess_frames",
            _core.preprocess_frames,
            lambda rng: [pixels(rng, 2, 2, 10, 8), np.zeros((2, 5, 6), np.uint8), int(rng.integers(1, 4))],
            lambda args, _: np.array_equal(args[1], reference.preprocess(args[0], args[1].shape[1:])),
        ),
        Target(
            "look_up_gray",
            _core.look_up_gray,
            lambda rng: [
                pixels(rng, 7, 19),
                pixels(rng, 256),
                np.zeros((7, 19), np.uint8),
                pixels(rng, 7, 19),
            ],
            lambda args, largest: (
                np.array_equal(args[2], np.maximum(args[1][args[0]], 0 if args[3] is None else args[3]))
                and largest == args[1][args[0]].max(initial=0)
            ),
        ),
        Target(
            "shift_frames",
            _core.shift_frames,
            lambda rng: [
                pixels(rng, 2, 3, 7, 9),
                rng.integers(-4, 5, 2),
                rng.integers(-12, 13, 2),
                np.zeros((2, 3, 7, 9), np.uint8),
            ],
            lambda args, _: np.array_equal(args[3], reference.shift_frames(*args[:3])),
        ),
        Target(
            "movement_cells",
            _core.movement_cells,
            lambda rng: [pixels(rng, 2, 5, 8, 12), 3, 4, np.zeros((2, 2, 3, 48), np.float32)],
            lambda args, _: np.array_equal(args[3], reference.movement_cells(*args[:3])),
        ),
        Target(
            "movement_cells_bfloat16",
            _core.movement_cells_bfloat16,
            lambda rng: [pixels(rng, 2, 5, 8, 12), 3, 4, np.zeros((2, 2, 3, 48), np.uint16)],
            lambda args, _: np.array_equal(args[3], upper_half(reference.movement_cells(*args[:3]))),
        ),
        Target(
            "mean_steps",
            _core.mean_steps,
            lambda rng: [pixels(rng, 2, 5, 8, 12), 4, np.zeros((2, 2, 3, 4), np.float32)],
            lambda args, _: np.array_equal(args[2], reference.mean_steps(*args[:2])),
        ),
        Target(
            "use_isa",
            _core.use_isa,
            lambda rng: [rng.choice(_core.isas())],
            lambda args, _: _core.isa() == args[0],
        ),
        Target(
            "random_integers",
            _core.random_integers,
            lambda rng: [*rng.integers(0, 99, 3).tolist(), int(rng.integers(0, 9)), 7, 1],
            lambda args, drawn: len(drawn) == args[3] and all(0 <= x < args[4] for x in drawn.tolist()),
        ),
        Target(
            "random_uniform",
            _core.random_uniform,
            lambda rng: [*rng.integers(0, 99, 3).tolist(), int(rng.integers(0, 9)), 2],
            lambda args, drawn: len(drawn) == args[3] and bool(((drawn >= 0) & (drawn < 1)).all()),
        ),
        Target(
            "random_words",
            _core.random_words,
            lambda rng: [*rng.integers(0, 99, 3).tolist(), 3],
            lambda args, drawn: all(
                tuple(row) == reference.words(*(int(x) for x in args[:3]), lane)
                for lane, row in enumerate(drawn[:4].tolist())
            ),
        ),
        Target(
            "random_words_at",
            _core.random_words_at,
            lambda rng: [*rng.integers(0, 99, 2).tolist(), *rng.integers(0, 99, (2, 4))],
            lambda args, drawn: all(
                tuple(row) == reference.words(int(args[0]), int(args[1]), int(step), int(lane))
                for row, step, lane in zip(drawn[:4].tolist(), args[2], args[3], strict=False)
            ),
        ),
    ]


def ring_targets(rings: Rings) -> list[Target]:
    return [*frame_ring_targets(rings), *branch_ring_targets(rings), *sum_tree_targets(rings)]


@pytest.fixture(autouse=True)
def isa() -> Iterator[None]:
    before = _core.isa()
    yield
    _core.use_isa(before)


@pytest.mark.parametrize("seed", range(PARTS))
def test_every_call_gives_a_right_answer_or_a_clear_error(seed: int) -> None:
    rings = Rings()
    everything = [*ring_targets(rings), *frame_and_number_targets(), *core_targets()]
    answers, errors = fuzz(everything, rings.state, CALLS // PARTS, np.random.default_rng(seed))
    assert min(answers.values()) > 5, answers
    assert min(errors.values()) > 5, errors


def test_every_call_on_the_gpu_module_gives_a_right_answer_or_a_clear_error() -> None:
    device_of("1")  # skips where there is no emulation
    answers, errors = fuzz(emulated_targets(), tuple, CALLS // PARTS, np.random.default_rng(PARTS))
    assert min(answers.values()) > 5, answers
    assert min(errors.values()) > 5, errors


def bindings(module: ModuleType, prefix: str) -> set[str]:
    """Functions, constructors and methods of an extension that take arguments."""
    names = set()
    for name, value in vars(module).items():
        if inspect.isclass(value):
            methods = {f"{name}.{method}" for method, x in vars(value).items() if takes_arguments(x)}
            names |= {method.removesuffix(".__init__") for method in methods}
        elif takes_arguments(value):
            names.add(name)
    return {prefix + name for name in names if "__" not in name}


def takes_arguments(value: object) -> bool:
    # The signature of a method begins with `self`.
    signature = (getattr(value, "__doc__", None) or "").partition("(")[2].partition(") ->")[0]
    return callable(value) and bool(signature) and not (signature.startswith("self") and "," not in signature)


def test_no_binding_is_left_out() -> None:
    fuzzed = {
        target.name for target in [*ring_targets(Rings()), *frame_and_number_targets(), *core_targets()]
    }
    assert fuzzed == bindings(_core, "")
    if not NO_EMULATION:
        emulated = emulated_targets()
        assert {target.name for target in emulated} == bindings(device_of("1").module, "_cuda.")
