"""Self-predictive representations (SPR: Schwarzer et al. 2021, arXiv:2007.05929), an auxiliary loss.

An encoder that can tell its own future, step by step and action by action, has learned what the game does.
What differs from the paper: docs/algorithms/ddqn.md.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.precision import autocast


class SelfPrediction(nn.Module):
    """A transition model of the encoder's maps [B, C, h, w], and a predictor of projections [B, D], f32."""

    def __init__(self, latent_shape: tuple[int, int, int], num_actions: int, projection: int) -> None:
        super().__init__()
        channels = latent_shape[0]
        self.latent_shape, self.num_actions = latent_shape, num_actions
        self.first = nn.Conv2d(channels + num_actions, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.predictor = nn.Linear(projection, projection)

    def step(self, latent: Tensor, action: Tensor) -> Tensor:
        """The maps after an action i64 [B]: two convolutions on the maps and one of A maps of ones."""
        planes = F.one_hot(action, self.num_actions).to(latent.dtype)[:, :, None, None]
        with_action = torch.cat([latent, planes.expand(-1, -1, *latent.shape[2:])], dim=1)
        following: Tensor = torch.relu(self.second(torch.relu(self.first(with_action))))
        return following


def self_prediction_loss(
    model: SelfPrediction,
    online: QNetwork,
    target: QNetwork,
    features: Tensor,
    action: Tensor,
    alive: Tensor,
    stacks: Tensor,
) -> Tensor:
    """Minus the cosines of predicted and true projections, summed over the K steps: f32 [R], equation 5.

    features f32 [B, F] are the online encoder's, of which the first R rows have futures: action i64 [K, R],
    alive bool [K, R] and stacks u8 [K R, S, h, w], those that followed, which the target network encodes and
    projects.
    """
    with torch.no_grad(), autocast(features.device, target.bf16):
        truth = target.project(target.encoder(stacks)).float().view(*action.shape, -1)
    rows = action.shape[1]
    loss = torch.zeros(rows, device=features.device)
    latent = features[:rows].view(-1, *model.latent_shape)
    with autocast(features.device, online.bf16):
        for k in range(len(action)):
            latent = model.step(latent, action[k])
            predicted = model.predictor(online.project(latent.flatten(1))).float()
            loss = loss - alive[k] * F.cosine_similarity(predicted, truth[k], dim=1)
    return loss
