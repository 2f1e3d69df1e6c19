"""Imagined rollouts in torch: the readable form and the spec of the fused kernel, with the core's draws."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mbpo_fast.models.uncertainty import UncertaintyConfig, disagreement
from mbpo_fast.nets.tensors import on_device, on_host
from mbpo_fast.ops import Stream, random_integers

Propagation = Literal["member", "mean"]


class Policy(Protocol):
    """What a rollout asks of an agent."""

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """Actions i64 [B] for stacks u8 [B, 4, h, w]."""


class StepModel(Protocol):
    """One imagined step, by a learned ensemble or by anything else with its contract."""

    elites: list[int]

    @property
    def device(self) -> torch.device:
        """Where it wants its frames and actions."""

    def step(self, context: Any, action: Any, member: Any) -> tuple[Any, Any, Any]:
        """See `WorldModel.step`."""


class ElitesModel(StepModel, Protocol):
    """A model whose elites can be asked together: what `mean` and the disagreement need."""

    def predict_elites(self, context: Any, action: Any) -> tuple[Any, Any, Any]:
        """See `WorldModel.predict_elites`."""

    def decide(self, reward_probs: Any, end_prob: Any) -> tuple[Any, Any]:
        """See `WorldModel.decide`."""


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


class Engine(Protocol):
    """What fills the model buffer: `RolloutEngine`, or the fused one."""

    steps: int
    metrics: dict[str, float]
    description: str

    def run(
        self, start: NDArray[np.uint8], policy: Any, model: Any, buffer: Any, *, horizon: int, epsilon: float
    ) -> int:
        """See `RolloutEngine.run`."""


class RolloutEngine:
    """Branches from real states under the current policy (Janner et al. 2019, algorithm 2, lines 7-9)."""

    backend = "torch"

    def __init__(
        self,
        *,
        seed: int,
        stack_size: int = 4,
        propagation: Propagation = "member",
        uncertainty: UncertaintyConfig | None = None,
        reason: str = "",
    ) -> None:
        """`reason`: why not the fused engine, for people."""
        self.seed = seed
        self.description = f"torch ({reason})" if reason else "torch"
        self.stack_size = stack_size
        self.propagation = propagation
        self.uncertainty = uncertainty or UncertaintyConfig()
        self.steps = 0
        self.metrics: dict[str, float] = {}

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

        A branch stops at its predicted end; each step of each row is run by one elite drawn anew, or by the
        mean of all. A masked row is not written, and its branch stops there. Returns the number of
        transitions written; `metrics` has the mean disagreement and the masked share, where asked for.
        """
        start = on_host(start)
        ids = buffer.begin(np.ascontiguousarray(start[:, -buffer.context :]))
        context = start
        written = masked = 0
        doubts: list[NDArray[np.float32]] = []
        for _ in range(horizon):
            action = policy.act(
                np.ascontiguousarray(context[:, -self.stack_size :]),
                epsilon,
                seed=self.seed,
                stream=Stream.ROLLOUT_ACTION,
                step=self.steps,
            )
            member = self._draw_members(model.elites, len(ids))
            frame, reward, terminated, doubt = self._imagine(model, context, action, member)
            kept = self._kept(doubt)
            doubts.append(doubt)
            masked += int((~kept).sum())
            reward = reward + self.uncertainty.bonus * doubt
            if kept.any():
                buffer.append(
                    ids[kept],
                    frame[kept],
                    action[kept],
                    reward[kept],
                    terminated[kept],
                    member[kept].astype(np.int16),
                )
            self.steps += 1
            written += int(kept.sum())
            alive = kept & ~terminated
            ids = ids[alive]
            if not len(ids):
                break
            context = np.concatenate([context[alive, 1:], frame[alive, None]], axis=1)
        if self.uncertainty.enabled:
            self.metrics = {
                "disagreement": float(np.concatenate(doubts).mean()),
                "masked_share": masked / (masked + written),
            }
        return written

    def _imagine(
        self,
        model: StepModel,
        context: NDArray[np.uint8],
        action: NDArray[np.int64],
        member: NDArray[np.int64],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
        """Frame, reward, end and disagreement of a step, the last 0 where nobody asks."""
        screens, buttons = (on_device(x, model.device) for x in (context, action))
        if self.propagation == "member" and not self.uncertainty.enabled:
            step = model.step(screens, buttons, torch.from_numpy(member))
            doubt = torch.zeros(len(action))
        else:
            step, doubt = self._ask_all(model, screens, buttons, torch.from_numpy(member))  # type: ignore[arg-type]
        frame, reward, terminated = (x.cpu().numpy() for x in step)
        return frame, reward, terminated, doubt.cpu().numpy()

    def _ask_all(
        self, model: ElitesModel, context: torch.Tensor, action: torch.Tensor, member: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
        """The step by the drawn elite or by the mean of all, and their disagreement."""
        frames, reward_probs, end_probs = model.predict_elites(context, action)
        doubt = disagreement(context[:, -1], frames, reward_probs)
        if self.propagation == "mean":
            frame = frames.float().mean(dim=0).round_().to(torch.uint8)
            return (frame, *model.decide(reward_probs.mean(dim=0), end_probs.mean(dim=0))), doubt
        place = torch.tensor([model.elites.index(m) for m in member.tolist()])
        row = torch.arange(len(place))
        return (frames[place, row], *model.decide(reward_probs[place, row], end_probs[place, row])), doubt

    def _kept(self, doubt: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows are written: all but the `mask_share` of highest disagreement."""
        kept = np.ones(len(doubt), bool)
        count = int(len(doubt) * self.uncertainty.mask_share)
        kept[np.argsort(-doubt, kind="stable")[:count]] = False
        return kept

    def _draw_members(self, elites: Sequence[int], rows: int) -> NDArray[np.int64]:
        draw = random_integers(self.seed, Stream.ROLLOUT_MEMBER, self.steps, rows, len(elites))
        return np.asarray(elites, dtype=np.int64)[draw]
