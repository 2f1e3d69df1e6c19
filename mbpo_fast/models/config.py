"""Settings of the world model, its training, its rollouts and its gate."""

from typing import Literal

from pydantic import Field, model_validator

from mbpo_fast.models.gate import GateConfig
from mbpo_fast.models.oracle import OracleConfig
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.nets.precision import Bf16
from mbpo_fast.settings import Settings


class ModelConfig(Settings):
    """Settings of the world model, its training and its gate."""

    kind: Literal["learned", "oracle"] = Field(
        "learned", description="learned: an ensemble of networks; oracle: the emulator itself, for comparison"
    )
    arch: Literal["clock", "grid", "nature"] = Field("clock", description="network of a member")
    ensemble_size: int = Field(5, ge=1, le=64, description="members E")
    num_elites: int = Field(3, ge=1, description="members that roll out, best held-out score first")
    context: int = Field(36, ge=4, le=64, description="newest frames that the model sees")
    detail_frames: int = Field(
        12, ge=4, description="of these, the newest that the clock network sees pixel by pixel, all at most"
    )
    width: int = Field(32, ge=4, multiple_of=4, description="channels of the clock and the grid network")
    depth: int = Field(2, ge=1, description="residual blocks of the clock and the grid network")
    outcome_width: int = Field(32, ge=4, multiple_of=4, description="channels of the reward and end network")
    outcome_dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of the clock network's outcome channels left out of a training row",
    )
    clock_width: int = Field(64, ge=1, description="hidden units between clock, action and blocks")
    fc_dim: int = Field(512, ge=1, description="features of the nature network")
    learning_rate: float = Field(4e-3, gt=0, description="AdamW's step size")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")
    weight_average: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="memory of the averaged weights that are judged and roll out; 0: the trained ones do",
    )
    normalise: bool = Field(
        True, description="measure changes in units of the data's typical change, set at the first fit"
    )
    batch_size: int = Field(32, ge=8, description="rows a member sees in one update")
    bf16: Bf16 = Field(
        "auto",
        description="bfloat16 autocast (float32 weights); auto: where the hardware is faster in it",
    )
    train_freq: int = Field(250, ge=1, description="agent steps between model fits and rollouts")
    first_updates: int = Field(1000, ge=1, description="gradient steps of the first fit, at most")
    updates: int = Field(100, ge=1, description="gradient steps of every later fit, at most")
    check_every: int = Field(100, ge=1, description="gradient steps between held-out checks")
    patience: int = Field(
        5,
        ge=1,
        description="a fit stops after more checks in a row without a gain of 1 % in any member",
    )
    holdout_ratio: float = Field(0.1, gt=0, lt=1, description="share of episodes that is never trained on")
    holdout_rows: int = Field(512, ge=16, description="held-out transitions that a check looks at")
    rewarded_share: float = Field(0.25, ge=0, lt=1, description="share of a model batch that has a reward")
    ended_share: float = Field(0.0625, ge=0, lt=1, description="share of a model batch that ends an episode")
    near_end_share: float = Field(
        0.0625, ge=0, lt=1, description="share of a model batch from the last steps before an end"
    )
    recent_share: float = Field(
        0.25, ge=0, le=1, description="share of the rest from the newest quarter of the data; 0.25: uniform"
    )
    random_shift: int = Field(
        4,
        ge=0,
        le=8,
        description="training rows are moved at random by up to so many pixels, all frames alike; 0: off",
    )
    shifted_share: float = Field(0.5, ge=0, le=1, description="share of the rows that `random_shift` moves")
    propagation: Literal["member", "mean"] = Field(
        "member", description="an imagined step is by an elite drawn for each row, or the mean of all elites"
    )
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    gate: GateConfig = GateConfig()
    oracle: OracleConfig = OracleConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.kind == "oracle" and (self.propagation == "mean" or self.uncertainty.enabled):
            raise ValueError(
                "kind oracle expects propagation member, uncertainty.measure false, mask_share 0, bonus 0"
            )
        if self.num_elites == 1 and (self.uncertainty.mask_share or self.uncertainty.bonus):
            raise ValueError(
                "uncertainty.mask_share and bonus expect elites that can disagree, got num_elites 1"
            )
        if self.num_elites > self.ensemble_size:
            raise ValueError(f"num_elites {self.num_elites} exceeds ensemble_size {self.ensemble_size}")
        if self.rewarded_share + self.ended_share + self.near_end_share > 0.75:
            raise ValueError(
                "rewarded_share + ended_share + near_end_share must leave a quarter of the batch to chance"
            )
        if self.holdout_rows < self.gate.min_holdout:
            raise ValueError(
                f"holdout_rows {self.holdout_rows} must reach gate.min_holdout {self.gate.min_holdout}"
            )
        return self
