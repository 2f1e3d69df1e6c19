"""Imagined rollouts in torch: the readable form and the spec of the fused kernel, with the core's draws."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mbpo_fast.ops import Stream, random_integers


class Policy(Protocol):
    """What a rollout asks of an agent."""

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """Actions i64 [B] for stacks u8 [B, 4, h, w]."""


class StepModel(Protocol):
    """One imagined step, by a learned ensemble or by anything else with its contract."""

    elites: list[int]

    def step(self, context: Any, action: Any, member: Any) -> tuple[Any, Any, Any]:
        """See `WorldModel.step`."""


class BranchBuffer(Protocol):
    """The part of `mbpo_fast.data.ModelBuffer` that a rollout writes."""

    @property
    def context(self) -> int:
        """Real frames that a branch keeps."""

    def begin(self, start: NDArray[np.uint8]) -> NDArray[np.int64]:
        """New branches from their real frames u8 [B, context, h, w]."""

    def append(
        self,
        ids: NDArray[np.int64],
        frame: NDArray[np.uint8],
        action: NDArray[np.int64],
        reward: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        member: NDArray[np.int16],
    ) -> None:
        """One more step of each given branch."""


class RolloutEngine:
    """Branches from real states under the current policy (Janner et al. 2019, algorithm 2, lines 7-9)."""

    backend = "torch"

    def __init__(self, *, seed: int, stack_size: int = 4, reason: str = "") -> None:
        """`reason`: why not the fused engine, for people."""
        self.seed = seed
        self.description = f"torch ({reason})" if reason else "torch"
        self.stack_size = stack_size
        self.steps = 0

    def run(
        self,
        start: NDArray[np.uint8],
        policy: Policy,
        model: StepModel,
        buffer: BranchBuffer,
        *,
        horizon: int,
        epsilon: float,
    ) -> int:
        """Roll B branches of at most `horizon` steps from start u8 [B, C, h, w] into `buffer`.

        A branch stops at its predicted end; each step of each row is run by one elite drawn anew.
        Returns the number of transitions written.
        """
        ids = buffer.begin(np.ascontiguousarray(start[:, -buffer.context :]))
        context = start
        written = 0
        for _ in range(horizon):
            action = policy.act(
                np.ascontiguousarray(context[:, -self.stack_size :]),
                epsilon,
                seed=self.seed,
                stream=Stream.ROLLOUT_ACTION,
                step=self.steps,
            )
            member = self._draw_members(model.elites, len(ids))
            frame, reward, terminated = (
                x.cpu().numpy()
                for x in model.step(
                    torch.from_numpy(context), torch.from_numpy(action), torch.from_numpy(member)
                )
            )
            buffer.append(ids, frame, action, reward, terminated, member.astype(np.int16))
            self.steps += 1
            written += len(ids)
            alive = ~terminated
            ids = ids[alive]
            if not len(ids):
                break
            context = np.concatenate([context[alive, 1:], frame[alive, None]], axis=1)
        return written

    def _draw_members(self, elites: Sequence[int], rows: int) -> NDArray[np.int64]:
        draw = random_integers(self.seed, Stream.ROLLOUT_MEMBER, self.steps, rows, len(elites))
        return np.asarray(elites, dtype=np.int64)[draw]
