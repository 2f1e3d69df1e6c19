"""What followed replayed transitions: for losses over several steps, such as a self-predictive one."""

import numpy as np
import numpy.typing as npt

from mbpo_fast.data.batch import Futures, empty_frames
from mbpo_fast.data.replay_buffer import ReplayBuffer


def replayed_futures(
    replay: ReplayBuffer, ids: npt.NDArray[np.int64], steps: int, *, context: int = 4
) -> Futures:
    """`steps` steps from the transitions of ids int64 [R], which `replay.gather` must take with n_step 1."""
    valid = replay.valid_ids(1, context=context)
    futures = Futures(
        np.empty((steps, len(ids)), np.int64),
        empty_frames(replay.device, (steps, len(ids), context, *replay.frame_shape)),
        np.empty((steps, len(ids)), np.bool_),
    )
    alive = np.ones(len(ids), np.bool_)
    for k in range(steps):
        # No transition starts from a frame that ended its episode, so an episode's future ends there too.
        following = ids + k * replay.num_envs
        place = np.minimum(np.searchsorted(valid, following), len(valid) - 1)
        alive = alive & (valid[place] == following)
        batch = replay.gather(np.where(alive, following, ids), 1, context=context)
        futures.action[k], futures.stacks[k], futures.alive[k] = batch.action, batch.next_obs, alive
    return futures
