"""The Q-network and the random shift, against slow forms."""

import numpy as np
import pytest
import torch

from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.augment import random_shift


def test_dueling_advantages_are_centred() -> None:
    net = QNetwork(4, (36, 36), 5, hidden=16)
    obs = torch.randint(0, 256, (3, 4, 36, 36), dtype=torch.uint8)
    features = net.encoder(obs)
    hidden = [torch.relu(layer(features)) for layer in net.hidden]
    value, advantage = net.value(hidden[1]), net.advantage(hidden[0])
    expected = value + advantage - advantage.mean(1, keepdim=True)
    torch.testing.assert_close(net(obs), expected)
    torch.testing.assert_close(net(obs).mean(1, keepdim=True), value)


def test_only_uint8_goes_in() -> None:
    with pytest.raises(ValueError, match=r"\[to_unit_float\] expected uint8"):
        QNetwork(4, (36, 36), 5)(torch.zeros(1, 4, 36, 36))


def test_small_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 36x36"):
        QNetwork(4, (35, 36), 5)


def test_random_shift_equals_pad_and_crop() -> None:
    rng = np.random.default_rng(0)
    obs = rng.integers(0, 256, (6, 4, 9, 11), dtype=np.uint8)
    down, right = rng.integers(-3, 4, 6), rng.integers(-3, 4, 6)
    padded = np.pad(obs, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    expected = np.stack(
        [
            padded[i, :, 3 - d : 12 - d, 3 - r : 14 - r]
            for i, (d, r) in enumerate(zip(down, right, strict=True))
        ]
    )
    shifted = random_shift(torch.from_numpy(obs), torch.from_numpy(down), torch.from_numpy(right))
    assert np.array_equal(shifted.numpy(), expected)
