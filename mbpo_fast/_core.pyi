"""
Compiled core of mbpo_fast: use it through mbpo_fast.ops and mbpo_fast.data.
"""

from __future__ import annotations

import typing

import numpy
import numpy.typing

__all__: list[str] = [
    "BranchRing",
    "FrameRing",
    "Network",
    "SumTree",
    "ThreadPool",
    "has_fast_bf16",
    "isa",
    "isas",
    "look_up_gray",
    "mean_steps",
    "movement_cells",
    "movement_cells_bfloat16",
    "preprocess_frames",
    "random_integers",
    "random_uniform",
    "random_words",
    "random_words_at",
    "rollout",
    "shift_frames",
    "use_isa",
]

class SumTree:
    def __init__(self, size: typing.SupportsIndex) -> None: ...
    def find(self, share: typing.SupportsFloat | typing.SupportsIndex) -> int: ...
    def get(self, index: numpy.typing.NDArray[numpy.int64]) -> numpy.typing.NDArray[numpy.float32]: ...
    def set(
        self, index: numpy.typing.NDArray[numpy.int64], value: numpy.typing.NDArray[numpy.float32]
    ) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def total(self) -> float: ...

class FrameRing:
    def __init__(
        self,
        num_envs: typing.SupportsIndex,
        capacity: typing.SupportsIndex,
        height: typing.SupportsIndex,
        width: typing.SupportsIndex,
        memory_map: str = "",
        num_threads: typing.SupportsIndex = 1,
    ) -> None: ...
    def add(
        self,
        frame: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        reward: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
        truncated: numpy.typing.NDArray[numpy.bool],
        first: numpy.typing.NDArray[numpy.bool],
        split: numpy.typing.NDArray[numpy.uint8],
    ) -> None: ...
    def clear(self) -> None: ...
    def export_slots(
        self, from_slot: typing.SupportsIndex, to_slot: typing.SupportsIndex
    ) -> dict[str, numpy.ndarray]: ...
    def gather(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        n_step: typing.SupportsIndex,
        gamma: typing.SupportsFloat | typing.SupportsIndex,
        context: typing.SupportsIndex,
        padding: typing.Any,
        obs: numpy.typing.NDArray[numpy.uint8],
        next_obs: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        reward: numpy.typing.NDArray[numpy.float32],
        discount: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
    ) -> None: ...
    def gather_windows(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        gamma: typing.SupportsFloat | typing.SupportsIndex,
        context: typing.SupportsIndex,
        padding: typing.Any,
        window: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        reward: numpy.typing.NDArray[numpy.float32],
        discount: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
    ) -> None: ...
    def import_slots(self, segment: dict[str, numpy.ndarray], from_slot: typing.SupportsIndex) -> None: ...
    def outcomes(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        reward: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
    ) -> None: ...
    def places(
        self, ids: numpy.typing.NDArray[numpy.int64], out: numpy.typing.NDArray[numpy.int64]
    ) -> None: ...
    def sample_ids(
        self,
        batch: typing.SupportsIndex,
        n_step: typing.SupportsIndex,
        context: typing.SupportsIndex,
        seed: typing.SupportsIndex,
        stream: typing.SupportsIndex,
        step: typing.SupportsIndex,
        split: typing.SupportsIndex,
        priorities: SumTree | None = None,
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    def stacks(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        context: typing.SupportsIndex,
        padding: typing.Any,
        out: numpy.typing.NDArray[numpy.uint8],
    ) -> None: ...
    def valid_ids(
        self, n_step: typing.SupportsIndex, context: typing.SupportsIndex, split: typing.SupportsIndex
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    @property
    def capacity(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def num_envs(self) -> int: ...
    @property
    def num_transitions(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def total(self) -> int: ...

class BranchRing:
    def __init__(
        self,
        capacity: typing.SupportsIndex,
        context: typing.SupportsIndex,
        horizon: typing.SupportsIndex,
        height: typing.SupportsIndex,
        width: typing.SupportsIndex,
    ) -> None: ...
    def append(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        frame: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        reward: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
        member: numpy.typing.NDArray[numpy.int16],
    ) -> None: ...
    def begin(self, start: numpy.typing.NDArray[numpy.uint8]) -> numpy.typing.NDArray[numpy.int64]: ...
    def clear(self) -> None: ...
    def export_branches(
        self, from_branch: typing.SupportsIndex, to_branch: typing.SupportsIndex
    ) -> dict[str, numpy.ndarray]: ...
    def gather(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        n_step: typing.SupportsIndex,
        gamma: typing.SupportsFloat | typing.SupportsIndex,
        context: typing.SupportsIndex,
        obs: numpy.typing.NDArray[numpy.uint8],
        next_obs: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        reward: numpy.typing.NDArray[numpy.float32],
        discount: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
    ) -> None: ...
    def import_branches(
        self, segment: dict[str, numpy.ndarray], from_branch: typing.SupportsIndex
    ) -> None: ...
    def latest(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        context: typing.SupportsIndex,
        out: numpy.typing.NDArray[numpy.uint8],
    ) -> None: ...
    def sample_ids(
        self,
        batch: typing.SupportsIndex,
        seed: typing.SupportsIndex,
        stream: typing.SupportsIndex,
        step: typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    @property
    def capacity(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def horizon(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def num_transitions(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def width(self) -> int: ...

class ThreadPool:
    def __init__(self, threads: typing.SupportsIndex) -> None: ...
    @property
    def threads(self) -> int: ...

class Network:
    def __init__(
        self,
        layers: numpy.typing.NDArray[numpy.int64],
        weights: numpy.typing.NDArray[numpy.float32],
        context: typing.SupportsIndex,
        height: typing.SupportsIndex,
        width: typing.SupportsIndex,
        actions: typing.SupportsIndex,
        outputs: numpy.typing.NDArray[numpy.int64],
    ) -> None: ...
    def evaluate(
        self,
        pool: ThreadPool,
        context: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        member: numpy.typing.NDArray[numpy.int64],
        out: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def step(
        self,
        pool: ThreadPool,
        reward_threshold: typing.SupportsFloat | typing.SupportsIndex,
        end_threshold: typing.SupportsFloat | typing.SupportsIndex,
        context: numpy.typing.NDArray[numpy.uint8],
        action: numpy.typing.NDArray[numpy.int64],
        member: numpy.typing.NDArray[numpy.int64],
        frame: numpy.typing.NDArray[numpy.uint8],
        reward: numpy.typing.NDArray[numpy.float32],
        terminated: numpy.typing.NDArray[numpy.bool],
    ) -> None: ...
    @property
    def members(self) -> int: ...
    @property
    def multiplications(self) -> int: ...

def has_fast_bf16() -> bool: ...
def isa() -> str: ...
def isas() -> list[str]: ...
def look_up_gray(
    screen: numpy.typing.NDArray[numpy.uint8],
    table: numpy.typing.NDArray[numpy.uint8],
    out: numpy.typing.NDArray[numpy.uint8],
    over: numpy.typing.NDArray[numpy.uint8] | None,
) -> int: ...
def mean_steps(
    context: numpy.typing.NDArray[numpy.uint8],
    cell: typing.SupportsIndex,
    out: numpy.typing.NDArray[numpy.float32],
) -> None: ...
def movement_cells(
    context: numpy.typing.NDArray[numpy.uint8],
    newest: typing.SupportsIndex,
    cell: typing.SupportsIndex,
    out: numpy.typing.NDArray[numpy.float32],
) -> None: ...
def movement_cells_bfloat16(
    context: numpy.typing.NDArray[numpy.uint8],
    newest: typing.SupportsIndex,
    cell: typing.SupportsIndex,
    out: numpy.typing.NDArray[numpy.uint16],
) -> None: ...
def preprocess_frames(
    frames: numpy.typing.NDArray[numpy.uint8],
    out: numpy.typing.NDArray[numpy.uint8],
    num_threads: typing.SupportsIndex,
) -> None: ...
def random_integers(
    seed: typing.SupportsIndex,
    stream: typing.SupportsIndex,
    step: typing.SupportsIndex,
    lanes: typing.SupportsIndex,
    high: typing.SupportsIndex,
    word: typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.int64]: ...
def random_uniform(
    seed: typing.SupportsIndex,
    stream: typing.SupportsIndex,
    step: typing.SupportsIndex,
    lanes: typing.SupportsIndex,
    word: typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.float32]: ...
def random_words(
    seed: typing.SupportsIndex,
    stream: typing.SupportsIndex,
    step: typing.SupportsIndex,
    lanes: typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.uint32]: ...
def random_words_at(
    seed: typing.SupportsIndex,
    stream: typing.SupportsIndex,
    steps: numpy.typing.NDArray[numpy.int64],
    lanes: numpy.typing.NDArray[numpy.int64],
) -> numpy.typing.NDArray[numpy.uint32]: ...
def rollout(
    policy: Network,
    world: Network,
    pool: ThreadPool,
    start: numpy.typing.NDArray[numpy.uint8],
    ring: BranchRing,
    horizon: typing.SupportsIndex,
    epsilon: typing.SupportsFloat | typing.SupportsIndex,
    samples: bool,
    elites: numpy.typing.NDArray[numpy.int64],
    mean: bool,
    measured: bool,
    changed_levels: typing.SupportsIndex,
    mask_share: typing.SupportsFloat | typing.SupportsIndex,
    bonus: typing.SupportsFloat | typing.SupportsIndex,
    reward_threshold: typing.SupportsFloat | typing.SupportsIndex,
    end_threshold: typing.SupportsFloat | typing.SupportsIndex,
    seed: typing.SupportsIndex,
    action_stream: typing.SupportsIndex,
    member_stream: typing.SupportsIndex,
    step: typing.SupportsIndex,
) -> tuple[int, int, int, float]: ...
def shift_frames(
    frames: numpy.typing.NDArray[numpy.uint8],
    down: numpy.typing.NDArray[numpy.int64],
    right: numpy.typing.NDArray[numpy.int64],
    out: numpy.typing.NDArray[numpy.uint8],
) -> None: ...
def use_isa(name: str) -> None: ...

__compiler__: str = "gcc 12.2.0"
__version__: str = "0.1.0"
