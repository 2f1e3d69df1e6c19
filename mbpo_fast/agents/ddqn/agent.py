"""Double DQN (van Hasselt, Guez and Silver 2016) and what makes it data-efficient (Hessel et al. 2018, BBF).

Every addition is a switch of its own: docs/algorithms/ddqn.md.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbpo_fast.agents.acting import mixed_with_random
from mbpo_fast.agents.ddqn.config import DDQNConfig
from mbpo_fast.agents.ddqn.frozen_target import FrozenTarget, pays
from mbpo_fast.agents.ddqn.losses import value_loss
from mbpo_fast.agents.ddqn.resets import shrink_and_perturb
from mbpo_fast.agents.ddqn.schedules import gamma_at, n_step_at, resets_done
from mbpo_fast.agents.ddqn.self_prediction import SelfPrediction, self_prediction_loss
from mbpo_fast.agents.learner import Learner
from mbpo_fast.agents.off_policy import augmented_stacks, move_target
from mbpo_fast.agents.protocol import TransitionBatch
from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.precision import use_bf16
from mbpo_fast.nets.tensors import on_device
from mbpo_fast.ops import Stream, random_words


class DDQN(Learner):
    """A Q-learner over u8 stacks [B, S, h, w] and A discrete actions."""

    def __init__(
        self,
        config: DDQNConfig,
        *,
        stack_size: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        seed: int,
        device: torch.device | str = "cpu",
        cuda_graphs: bool = False,
    ) -> None:
        super().__init__(
            frame_shape=frame_shape,
            num_actions=num_actions,
            seed=seed,
            device=device,
            cuda_graphs=cuda_graphs,
        )
        self.config = config
        self.stack_size = stack_size
        self.online = self._network(seed)
        self.target = self._network(seed).requires_grad_(False)
        core_is_faster = pays(config, self.target, self.device)
        self._frozen_target = FrozenTarget(self.target, frame_shape) if core_is_faster else None
        self.value_loss = value_loss(config, self.online.support, self.device)
        self.self_prediction = self._self_prediction(seed) if config.spr_steps else None
        predictor = list(self.self_prediction.parameters()) if self.self_prediction else []
        self.learned = [*self.online.parameters(), *predictor]
        self.optimizer = torch.optim.AdamW(
            self.learned,
            lr=config.learning_rate,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=cuda_graphs,
        )
        self.priorities: Tensor | None = None

    def _network(self, seed: int) -> QNetwork:
        """A network whose weights depend on `seed` alone."""
        config = self.config
        categorical = config.distribution == "c51"
        return self._seeded(
            lambda: QNetwork(
                self.stack_size,
                self.frame_shape,
                self.num_actions,
                hidden=config.hidden,
                dueling=config.dueling,
                bf16=use_bf16(config.bf16, self.device),
                encoder=config.encoder,
                width=config.width,
                atoms=1 if config.distribution == "none" else config.atoms,
                support=torch.linspace(config.v_min, config.v_max, config.atoms) if categorical else None,
            ),
            seed,
        )

    def _self_prediction(self, seed: int) -> SelfPrediction:
        """A transition model and predictor whose weights depend on `seed` alone."""
        latent_shape = self.online.encoder.latent_shape
        return self._seeded(lambda: SelfPrediction(latent_shape, self.num_actions, self.config.hidden), seed)

    def _saved(self) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"online": self.online, "target": self.target}
        return nets | ({"self_prediction": self.self_prediction} if self.self_prediction else {})

    @property
    def future_steps(self) -> int:
        """Steps after each real row that the next update wants to see too."""
        return self.config.spr_steps

    @property
    def n_step(self) -> int:
        """Steps of real reward in the returns that the next update wants."""
        return n_step_at(self.config, self.gradient_steps)

    @property
    def gamma(self) -> float:
        """Discount of one agent step that the next update wants."""
        return gamma_at(self.config, self.gradient_steps)

    @property
    def network(self) -> QNetwork:
        """The network that acts."""
        return self.target if self.config.act_with_target else self.online

    def epsilon(self, env_steps: int) -> float:
        """Exploration rate after `env_steps` agent steps: linear, then constant."""
        config = self.config
        share = min(1.0, max(0, env_steps) / config.epsilon_steps)
        return config.epsilon_start + share * (config.epsilon_final - config.epsilon_start)

    @torch.no_grad()
    def q_values(self, obs: Tensor) -> Tensor:
        """Values f32 [B, A] by the network that acts; obs u8 [B, S, h, w]."""
        q_values: Tensor = self.network(obs.to(self.device))
        return q_values

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """Epsilon-greedy actions i64 [B]; the draws depend on (seed, stream, step) and the row alone."""
        greedy = self.q_values(torch.from_numpy(obs)).argmax(dim=1).cpu().numpy()
        return mixed_with_random(greedy, self.num_actions, epsilon, seed=seed, stream=stream, step=step)

    def update(self, batch: TransitionBatch) -> dict[str, Tensor]:
        """One gradient step on the weighted n-step double-Q loss; returns 0-d tensors, no host sync.

        With prioritised replay, `priorities` f32 [B] tells afterwards how surprising each row was.
        """
        columns: list[NDArray[Any]] = [batch.reward, batch.discount, batch.weight, batch.action]
        if batch.futures is not None:
            columns += [batch.futures.action, batch.futures.alive]
        obs, next_obs, *future = self._augmented(batch)
        metrics = self._graphed_step(obs, next_obs, *(on_device(x, self.device) for x in columns), *future)
        self.gradient_steps += 1
        if self.gradient_steps % self.config.target_period == 0:
            move_target(self.target.parameters(), self.online.parameters(), self.config.target_tau)
        if resets_done(self.config, self.gradient_steps) > resets_done(self.config, self.gradient_steps - 1):
            self._reset()
        surprise = metrics.pop("surprise")
        if self.config.prioritized:
            # Above zero, so that every row can be drawn again.
            self.priorities = surprise + 1e-10
        return metrics

    def _gradient_step(self, *columns: Tensor) -> dict[str, Tensor]:
        """Columns: obs, next_obs, reward, discount, weight, action; of futures action, alive, stacks."""
        obs, next_obs, reward, discount, weight, action, *future = columns
        target = self._td_target(next_obs, reward, discount)
        features = self.online.features(obs)
        chosen = _of_action(self.online.outputs_of_features(features), action)
        row_loss, surprise = self.value_loss.compare(chosen, target)
        loss = (weight * row_loss).mean()
        metrics = {"loss": loss.detach()}
        if self.self_prediction is not None and future:
            rows = self_prediction_loss(self.self_prediction, self.online, self.target, features, *future)
            spr_loss = (weight[: len(rows)] * rows).mean()
            loss = loss + self.config.spr_weight * spr_loss
            metrics["spr_loss"] = spr_loss.detach()
        (grad_norm,) = self._descend(loss, self.learned, max_grad_norm=self.config.max_grad_norm)
        q_values = self.online.expectation(chosen.detach()).mean()
        return metrics | {"q_values": q_values, "grad_norm": grad_norm, "surprise": surprise}

    def _augmented(self, batch: TransitionBatch) -> list[Tensor]:
        """The stacks obs and next_obs, and where futures came along theirs, step by step in one lot."""
        lots = [batch.obs, batch.next_obs]
        if batch.futures is not None:
            lots.append(batch.futures.stacks.reshape(-1, *batch.obs.shape[1:]))
        return augmented_stacks(
            lots, self.config.random_shift, seed=self.seed, step=self.gradient_steps, device=self.device
        )

    @torch.no_grad()
    def _td_target(self, next_obs: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """Reward + discount * Q_target(next, argmax Q_online(next)), van Hasselt et al. eq. 4: [B, Z]."""
        if self._frozen_target is not None:
            following = self._frozen_target(next_obs)[:, :, None]
            chooser = self.online.outputs(next_obs) if self.config.double else following
        else:
            prepared = self.target.encoder.prepare(next_obs)
            following = self.target.outputs_of_prepared(prepared)
            chooser = self.online.outputs_of_prepared(prepared) if self.config.double else following
        best = self.online.expectation(chooser).argmax(dim=1)
        return self.value_loss.target(_of_action(following, best), reward, discount)

    def _reset(self) -> None:
        """Both networks towards the same fresh weights; the optimiser forgets."""
        words = random_words(self.seed, Stream.INIT, resets_done(self.config, self.gradient_steps), 1)
        fresh = self._network(int(words[0, 0]))
        for net in (self.online, self.target):
            shrink_and_perturb(net, fresh, self.config.reset_keep)
        self.optimizer.state.clear()
        self._graphed_step.forget()

    def load_policy_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        """Inverse of `policy_state_dict`, to act and not to learn on; RuntimeError for other weights."""
        self.online.load_state_dict(weights)
        self.target.load_state_dict(weights)


def _of_action(outputs: Tensor, action: Tensor) -> Tensor:
    """[B, Z], the action's numbers of outputs [B, A, Z]."""
    return outputs.gather(1, action[:, None, None].expand(-1, 1, outputs.shape[2]))[:, 0]
