"""Settings of the DDQN learner."""

from typing import Literal

from pydantic import Field, model_validator

from mbpo_fast.nets.precision import Bf16
from mbpo_fast.settings import Settings


class DDQNConfig(Settings):
    """Settings of the DDQN learner."""

    kind: Literal["ddqn"] = Field("ddqn", description="the learner")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step size")
    adam_eps: float = Field(1.5e-4, gt=0, description="Adam's epsilon")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW)")
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")
    gamma: float = Field(0.99, gt=0, le=1, description="discount of one agent step")
    gamma_start: float | None = Field(
        None, gt=0, lt=1, description="discount that anneal_steps begin with; null: gamma from the start"
    )
    n_step: int = Field(3, ge=1, le=64, description="steps of real reward before the value estimate")
    n_step_start: int | None = Field(
        None, ge=1, le=64, description="n-step that anneal_steps begin with; null: n_step from the start"
    )
    anneal_steps: int = Field(
        10_000,
        ge=1,
        description="gradient steps from gamma_start, n_step_start to gamma, n_step; again after a reset",
    )
    double: bool = Field(True, description="the online network picks the action that the target values")
    dueling: bool = Field(True, description="state value plus centred advantages")
    distribution: Literal["none", "c51", "quantile"] = Field(
        "none", description="what is learned of a return: its mean, a histogram (C51) or its quantiles"
    )
    atoms: int = Field(51, ge=2, le=1024, description="bins of c51, or quantiles")
    v_min: float = Field(-10.0, description="lowest return of c51's bins")
    v_max: float = Field(10.0, description="highest return of c51's bins")
    encoder: Literal["nature", "impala"] = Field("nature", description="the convolutions")
    width: float = Field(1.0, gt=0, le=16, description="multiplies the channels of the convolutions")
    hidden: int = Field(512, ge=1, description="width of the head's hidden layer")
    prioritized: bool = Field(False, description="draw real rows by their last loss")
    priority_exponent: float = Field(
        0.5, ge=0, le=4, description="exponent of the priorities (alpha); 0: uniform"
    )
    importance_exponent: float = Field(
        0.5, ge=0, le=1, description="exponent of the importance weights (beta); 1: no bias"
    )
    target_tau: float = Field(
        0.005, gt=0, le=1, description="share of the online weights a target update takes"
    )
    target_period: int = Field(1, ge=1, description="gradient steps between target updates")
    act_with_target: bool = Field(
        True, description="act and roll out with the target network, the smoother one"
    )
    spr_steps: int = Field(
        0, ge=0, le=32, description="steps of its own future that the encoder predicts (SPR); 0: off"
    )
    spr_weight: float = Field(2.0, gt=0, description="weight of that loss, which is at least -spr_steps")
    random_shift: int = Field(
        0, ge=0, le=8, description="pixels of random shift of each sampled stack; 0: off"
    )
    reset_every: int = Field(
        0, ge=0, description="gradient steps between resets of the head, with shrink-and-perturb; 0: none"
    )
    reset_until: int | None = Field(
        None, ge=0, description="no reset after this many gradient steps; null: until the end"
    )
    reset_keep: float = Field(
        0.5, ge=0, le=1, description="share of the encoder's weights that a reset keeps, the rest is fresh"
    )
    bf16: Bf16 = Field(
        "auto", description="bfloat16 in all but the last layer; auto: where the hardware has it"
    )
    epsilon_start: float = Field(1.0, ge=0, le=1, description="exploration at the first step")
    epsilon_final: float = Field(0.01, ge=0, le=1, description="exploration after epsilon_steps")
    epsilon_steps: int = Field(5000, ge=1, description="agent steps of linear decay")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> "DDQNConfig":
        if not self.v_min < self.v_max:
            raise ValueError(f"v_min {self.v_min} must be below v_max {self.v_max}")
        if self.gamma_start is not None and self.gamma == 1:
            raise ValueError("gamma_start needs a gamma below 1: the horizon 1 / (1 - gamma) is annealed")
        return self
