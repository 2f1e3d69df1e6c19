"""The tree of settings: the loops' own groups, and the groups of the classes that they build."""

from typing import Any, Literal

from pydantic import Field, model_validator

from mbpo_fast.agents import AgentConfig, DDQNConfig, PPOConfig
from mbpo_fast.envs import EnvSettings
from mbpo_fast.models import ModelConfig, RolloutConfig
from mbpo_fast.settings import EXPECTED, Settings


class EnvConfig(Settings):
    """Which game, how many at once, and how its screens become observations."""

    id: str = Field("SpaceInvadersNoFrameskip-v4", description="any Atari id of ale-py, or Catch")
    num_envs: int = Field(4, ge=1, le=1024, description="environments stepped together")
    workers: int = Field(0, ge=0, le=256, description="worker processes; 0: in this process")
    frame_stack: int = Field(4, ge=1, le=16, description="newest frames that the policy sees")
    noop_max: int = Field(30, ge=0, description="at most this many no-ops at the start of a game")
    frame_skip: int = Field(4, ge=1, description="emulator frames an action is held for")
    screen_size: int | None = Field(None, ge=36, description="side of a frame; null: 84, for Catch 36")
    episodic_life: bool = Field(True, description="losing a life ends the learning episode, not the game")
    fire_reset: bool = Field(True, description="press FIRE at reset in games that wait for it")
    clip_reward: bool = Field(True, description="learn from the sign of the reward; scores stay raw")
    repeat_action_probability: float | None = Field(
        None, ge=0, le=1, description="sticky actions; null: the id's own (0 for v4, 0.25 for v5)"
    )
    max_episode_steps: int | None = Field(None, ge=1, description="agent steps of a whole game; null: 27000")

    def env_settings(self) -> dict[str, Any]:
        """Keyword arguments of `make_vec`; None leaves the environment's own default."""
        names = EnvSettings.model_fields.keys() & self.model_fields_set | {"stack_size"}
        values = {name: getattr(self, "frame_stack" if name == "stack_size" else name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


class ReplayConfig(Settings):
    """The buffer of real transitions."""

    capacity: int = Field(
        100_000,
        ge=100,
        description="transitions kept, over all environments (7.1 kB each; ppo: below real_ratio 1)",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="where the frames lie; auto: beside the networks, in half of a GPU's free memory at most",
    )


MAX_BRANCH = 64
"""Imagined steps of a branch at most."""


class TrainingConfig(Settings):
    """The loop: how long, from how much real data, with how much imagined."""

    total_steps: int = Field(100_000, ge=1, description="agent steps over all environments")
    learning_starts: int = Field(
        2_000, ge=1, description="agent steps of random actions before the first update (not ppo)"
    )
    batch_size: int = Field(32, ge=1, description="rows of one policy update (not ppo)")
    updates_per_step: float = Field(1.0, gt=0, description="policy updates an agent step (not ppo)")
    overlap: bool = Field(
        False,
        description="learn from a step while the environments make the next one; wants env.workers (not ppo)",
    )
    halves: bool = Field(
        False,
        description="ppo acts on one half of the environments while the other steps; wants env.workers",
    )
    real_ratio: float = Field(
        0.05,
        gt=0,
        le=1,
        description="share of real rows in every batch, rounded down, at least one row; 1: no model at all",
    )
    model_rollout_length: int = Field(1, ge=1, le=MAX_BRANCH, description="imagined steps of a branch")
    rollout_schedule: tuple[int, int, int, int] | None = Field(
        None,
        description="[first, last epoch after learning_starts, first, last length]; overrides the above",
    )
    model_rollout_batch_size: int = Field(
        4096, ge=1, description="branches started after every model fit (not ppo)"
    )
    model_retain_epochs: int = Field(
        1, ge=1, description="epochs of rollouts for which a branch stays in the model buffer (not ppo)"
    )
    epoch_length: int = Field(
        1000,
        ge=1,
        description="agent steps of an epoch, the unit of rollout_schedule and model_retain_epochs",
    )
    model_n_step: int | None = Field(
        None,
        ge=1,
        le=64,
        description="imagined steps of reward before the value estimate; null: agent.n_step (not ppo)",
    )
    rollout_epsilon: float = Field(0.05, ge=0, le=1, description="exploration inside rollouts (not ppo)")

    @model_validator(mode="after")
    def _schedule_rises(self) -> "TrainingConfig":
        if self.rollout_schedule is None:
            return self
        first, last, short, long = self.rollout_schedule
        if not (0 <= first <= last and 1 <= short <= long <= MAX_BRANCH):
            raise ValueError(
                f"rollout_schedule expects 0 <= first <= last and 1 <= short <= long <= {MAX_BRANCH}, "
                f"got {self.rollout_schedule}"
            )
        return self


class EarlyStoppingConfig(Settings):
    """Stop when the mean score of the last whole training games reaches a target."""

    enabled: bool = Field(True, description="off: train for total_steps whatever the score")
    target_reward: float = Field(400.0, description="mean raw score to reach")
    window_size: int = Field(100, ge=1, description="whole games in the mean")


class EvaluationConfig(Settings):
    """Whole games played by the frozen policy on seeds that training never used."""

    every: int = Field(0, ge=0, description="agent steps between evaluations while training; 0: none")
    episodes: int = Field(10, ge=1, description="games of an evaluation while training")
    final_episodes: int = Field(100, ge=0, description="games of the evaluation after training; 0: none")
    epsilon: float = Field(0.001, ge=0, le=1, description="exploration of the frozen policy")
    num_envs: int = Field(16, ge=1, description="games played side by side")
    random_baseline: bool = Field(False, description="play the final games by random actions too")


class LogConfig(Settings):
    """What is written while training; may differ on resume."""

    every: int = Field(1_000, ge=1, description="agent steps between lines of metrics")
    tensorboard: bool = Field(True, description="TensorBoard events, when the extra is installed")


class CheckpointConfig(Settings):
    """How often a run is saved; may differ on resume."""

    every: int = Field(10_000, ge=1, description="agent steps between checkpoints")
    keep: int = Field(2, ge=1, description="newest checkpoints kept")


class VideoConfig(Settings):
    """Videos of games; may differ on resume."""

    every: int = Field(
        50, ge=0, description="training games between videos of a game by the policy as it is then; 0: none"
    )
    evaluations: bool = Field(True, description="a video of one game of every evaluation while training")
    final: bool = Field(True, description="a video of one game of the final evaluation")


class TrackConfig(Settings):
    """Where metrics go beside the run folder; may differ on resume. Keys are never settings."""

    to: Literal["wandb"] | None = Field(None, description="`--track wandb`; null: the run folder alone")
    mode: Literal["auto", "online", "offline"] = Field(
        "auto", description="auto: online when a key is found; offline needs no key and no network"
    )
    project: str = Field("mbpo_fast", min_length=1, description="W&B project")
    entity: str | None = Field(None, description="W&B user or team; null: the key's own")
    group: str | None = Field(None, description="W&B group, such as one for all seeds of an arm")


MACHINE_KEYS = ("device", "threads", "cuda_graphs")
"""Keys that belong to the machine that trains, not to what is trained."""


class Config(Settings):
    """Everything that a run depends on."""

    seed: int = Field(0, ge=0, lt=2**31, description="root of all random numbers")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto: cuda when there is one",
        json_schema_extra={EXPECTED: "auto | cpu | cuda | cuda:N"},
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; null: all cores of this process")
    cuda_graphs: bool = Field(
        False, description="on a GPU: each gradient step as one CUDA graph, launched by one call"
    )
    env: EnvConfig = EnvConfig()
    agent: AgentConfig = DDQNConfig()
    model: ModelConfig = ModelConfig()
    replay: ReplayConfig = ReplayConfig()
    rollout: RolloutConfig = RolloutConfig()
    training: TrainingConfig = TrainingConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    log: LogConfig = LogConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    video: VideoConfig = VideoConfig()
    track: TrackConfig = TrackConfig()

    @property
    def algorithm(self) -> str:
        """What the run is called: mbpo where a model takes part, else the learner's kind."""
        return "mbpo" if self.training.real_ratio < 1 else self.agent.kind

    @model_validator(mode="after")
    def _context_covers_stack(self) -> "Config":
        if self.model.context < self.env.frame_stack:
            raise ValueError(
                f"model.context {self.model.context} must cover env.frame_stack {self.env.frame_stack}"
            )
        if self.training.real_ratio < 1 and not self.env.clip_reward:
            raise ValueError(
                "the model predicts the sign of the reward: env.clip_reward must be true below real_ratio 1"
            )
        return self

    @model_validator(mode="after")
    def _frames_lie_where_they_are_read(self) -> "Config":
        learns_from_host = isinstance(self.agent, PPOConfig) or self.model.kind == "oracle"
        if self.replay.device == "cuda" and learns_from_host:
            raise ValueError(
                "replay.device: ppo and model.kind oracle read frames on the cpu; use cpu or auto"
            )
        return self

    @model_validator(mode="after")
    def _torch_plays_the_oracle(self) -> "Config":
        if self.model.kind == "oracle" and self.rollout.backend not in ("auto", "torch"):
            raise ValueError(
                f"model.kind oracle expects rollout.backend auto or torch, got {self.rollout.backend}"
            )
        return self

    @property
    def _longest_return(self) -> int:
        assert not isinstance(self.agent, PPOConfig)
        return max(self.agent.n_step, getattr(self.agent, "n_step_start", None) or 1)

    @model_validator(mode="after")
    def _learning_starts_with_a_whole_return(self) -> "Config":
        if isinstance(self.agent, PPOConfig):
            return self
        longest = self._longest_return
        needed = (longest + 1) * self.env.num_envs
        if self.training.learning_starts < needed:
            raise ValueError(
                f"training.learning_starts must cover {longest} steps of each of {self.env.num_envs} "
                f"environments and one more, {needed}, got {self.training.learning_starts}"
            )
        return self

    @model_validator(mode="after")
    def _halves_have_a_policy_that_stands_still(self) -> "Config":
        if self.training.halves and not (isinstance(self.agent, PPOConfig) and self.env.num_envs >= 2):
            raise ValueError(
                "training.halves expects agent.kind ppo and env.num_envs >= 2, "
                f"got {self.agent.kind} and {self.env.num_envs}"
            )
        return self

    @model_validator(mode="after")
    def _replay_holds_what_is_read_together(self) -> "Config":
        """A return or a rollout of every environment, with the frames before it that are seen with it."""
        has_model = self.training.real_ratio < 1
        if isinstance(self.agent, PPOConfig):
            steps = self.agent.rollout_steps if has_model else 0  # alone, PPO keeps one rollout and no replay
        else:
            steps = self._longest_return
        context = self.model.context if has_model else self.env.frame_stack
        needed = (steps + context) * self.env.num_envs if steps else 0
        if self.replay.capacity < needed:
            raise ValueError(
                f"replay.capacity must hold {steps} steps and {context} frames before them of each of "
                f"{self.env.num_envs} environments, {needed}, got {self.replay.capacity}"
            )
        return self


MAY_DIFFER_ON_RESUME = (
    "threads",
    "env.workers",
    "training.total_steps",
    "early_stopping",
    "log",
    "checkpoint",
    "video",
    "evaluation",
    "track",
)
"""Keys (or groups) that a resumed run may change: cores, budgets and reporting."""
