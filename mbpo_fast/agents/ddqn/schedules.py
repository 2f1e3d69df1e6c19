"""Annealing of DDQN as functions of the gradient steps: nothing to save, nothing to restore."""

import math

from mbpo_fast.agents.ddqn.config import DDQNConfig


def resets_done(config: DDQNConfig, gradient_steps: int) -> int:
    """Resets in the first `gradient_steps` updates: one every `reset_every`, the last by `reset_until`."""
    if config.reset_every == 0:
        return 0
    until = gradient_steps if config.reset_until is None else min(gradient_steps, config.reset_until)
    return until // config.reset_every


def annealed_share(config: DDQNConfig, gradient_steps: int) -> float:
    """How much of the annealing is over, 0 to 1; it begins again at every reset."""
    since_reset = gradient_steps - resets_done(config, gradient_steps) * config.reset_every
    return min(1.0, since_reset / config.anneal_steps)


def n_step_at(config: DDQNConfig, gradient_steps: int) -> int:
    """Steps of real reward in a return: falls exponentially, rounded (Schwarzer et al. 2023, section 3)."""
    if config.n_step_start is None:
        return config.n_step
    return round(_exponential(config.n_step_start, config.n_step, annealed_share(config, gradient_steps)))


def gamma_at(config: DDQNConfig, gradient_steps: int) -> float:
    """The discount: 1 - gamma falls exponentially, so the horizon 1 / (1 - gamma) grows by equal factors."""
    share = annealed_share(config, gradient_steps)
    if config.gamma_start is None or share == 1.0:
        return config.gamma
    return 1.0 - _exponential(1.0 - config.gamma_start, 1.0 - config.gamma, share)


def _exponential(start: float, end: float, share: float) -> float:
    return start * math.exp(share * math.log(end / start))
