"""What the members of a world model, and the ensemble as a whole, say of a batch of steps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.episodes import Ids

Context = NDArray[np.uint8]


class Word(NamedTuple):
    """A prediction: frame u8 [B, h, w], reward classes f32 [B, 3], end f32 [B]."""

    frame: NDArray[np.uint8]
    reward_probs: NDArray[np.float32]
    end_prob: NDArray[np.float32]


def predict_all(model: WorldModel, context: Context, action: Ids) -> list[Word]:
    """The word of every member and, last, of the ensemble on context u8 [B, C, h, w], action i64 [B]."""
    words = _predict(model, context, action, range(model.config.ensemble_size))
    return [*words, mean_word([words[m] for m in model.elites])]


def mean_word(words: Sequence[Word]) -> Word:
    """The mean of several predictions, its frame rounded."""
    frame = np.rint(np.mean([word.frame for word in words], axis=0, dtype=np.float32)).astype(np.uint8)
    reward, end = (np.mean(column, axis=0) for column in list(zip(*words, strict=True))[1:])
    return Word(frame, reward, end)


def ensemble_word(model: WorldModel, context: Context, action: Ids) -> Word:
    """The ensemble's word alone: `predict_all` without the members that are no elites."""
    return mean_word(_predict(model, context, action, model.elites))


def _predict(model: WorldModel, context: Context, action: Ids, members: Sequence[int]) -> list[Word]:
    frames, actions = (torch.from_numpy(x).to(model.device) for x in (context, action))
    said = model.each(lambda m: model.predict(frames, actions, m), members)
    return [
        Word(frame.cpu().numpy(), reward.float().cpu().numpy(), end.float().cpu().numpy())
        for frame, reward, end in said
    ]


def voice_of(model: WorldModel, voice: int) -> Callable[[Context, Ids], Word]:
    """One voice's word: of a member, or, behind the last member, of the ensemble."""
    if voice == model.config.ensemble_size:
        return lambda context, action: ensemble_word(model, context, action)
    return lambda context, action: _predict(model, context, action, [voice])[0]
