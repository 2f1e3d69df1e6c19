"""Periodic resets with shrink-and-perturb (BBF: Schwarzer et al. 2023, section 3; Ash and Adams 2020)."""

import torch

from mbpo_fast.nets import QNetwork


@torch.no_grad()
def shrink_and_perturb(net: QNetwork, fresh: QNetwork, keep: float) -> None:
    """Move the encoder towards `fresh`, so that `keep` of it stays; everything after it becomes `fresh`."""
    shrunk = {id(parameter) for parameter in net.encoder.parameters()}
    for own, new in zip(net.parameters(), fresh.parameters(), strict=True):
        own.lerp_(new, 1.0 - keep if id(own) in shrunk else 1.0)
