"""What a user may set about an environment; names as in Gymnasium's wrappers where they mean the same."""

from typing import Annotated, Literal

from pydantic import Field

from mbpo_fast.settings import Settings

# The emulator frames after which Gymnasium's Atari ids cut a game: half an hour of play.
MAX_GAME_FRAMES = 108_000


class EnvSettings(Settings):
    """How a game becomes observations [stack_size, screen_size, screen_size] and rewards.

    Catch takes `screen_size`, `scale_obs`, `stack_size`, `padding_type`, `clip_reward`, `max_episode_steps`
    and `autoreset_mode`; the others are about an Atari emulator and mean nothing to it.
    """

    noop_max: Annotated[int, Field(ge=0)] = 30
    """A new game begins with 1 to `noop_max` emulator frames without input; 0: none."""
    frame_skip: Annotated[int, Field(ge=1)] = 4
    """Emulator frames an action lasts; a frame is the max of the last two screens of a skip."""
    screen_size: Annotated[int, Field(ge=1)] | None = None
    """Height and width of a frame; None: 84, and 36 for Catch (there a multiple of 12)."""
    scale_obs: bool = False
    """Observations float32 in [0, 1] instead of uint8."""
    stack_size: Annotated[int, Field(ge=1)] = 4
    """Newest frames in an observation, oldest first."""
    padding_type: Literal["reset", "zero"] = "reset"
    """What stands before an episode's first frame: that frame again, or zeros."""
    episodic_life: bool = True
    """A lost life ends the episode; the next reset goes on with the same game."""
    fire_reset: bool = True
    """Press FIRE, then the third action, at every reset of a game whose second action is FIRE."""
    clip_reward: bool = True
    """Rewards by their sign; raw scores are kept in the infos."""
    repeat_action_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    """Sticky actions, drawn at every emulator frame; None: what the environment id says."""
    full_action_space: bool = False
    """All 18 actions instead of those that the game knows."""
    max_episode_steps: Annotated[int, Field(ge=1)] | None = None
    """Agent steps after which a whole game is truncated; None: 108,000 emulator frames (27,000 steps)."""
    autoreset_mode: Literal["NEXT_STEP", "SAME_STEP"] = "NEXT_STEP"
    """When a vector environment resets an ended episode: by the next step, or within the same one."""
