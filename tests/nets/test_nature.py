"""The Q-network and the random shift, against slow forms."""

import numpy as np
import pytest
import torch

from mbpo_fast.nets import ActorCritic, NatureEncoder, QNetwork
from mbpo_fast.nets.augment import random_shift, shifted_by_index
from mbpo_fast.nets.nature import space_to_depth, to_unit_float


def test_dueling_advantages_are_centred() -> None:
    net = QNetwork(4, (36, 36), 5, hidden=16)
    obs = torch.randint(0, 256, (3, 4, 36, 36), dtype=torch.uint8)
    features = net.encoder(obs)
    hidden = [torch.relu(layer(features)) for layer in net.hidden]
    value, advantage = net.value(hidden[1]), net.advantage(hidden[0])
    expected = value + advantage - advantage.mean(1, keepdim=True)
    torch.testing.assert_close(net(obs), expected)
    torch.testing.assert_close(net(obs).mean(1, keepdim=True), value)


@pytest.mark.parametrize("shape", [(84, 84), (36, 40), (42, 39)])
@pytest.mark.parametrize("stack", [1, 4])
def test_the_first_layer_is_the_convolution_that_its_weights_say(shape: tuple[int, int], stack: int) -> None:
    """With its gradient; a stack inside a longer window, as replay gives it, is not contiguous."""
    torch.manual_seed(0)
    encoder = NatureEncoder(stack, shape).to(memory_format=torch.channels_last)
    window = torch.randint(0, 256, (3, stack + 1, *shape), dtype=torch.uint8)
    for obs in (window[:, :-1], window[:, 1:], window[:, 1:].contiguous()):
        encoder.zero_grad()
        got = encoder(obs)
        got.square().sum().backward()
        gradient = encoder.convs[0].weight.grad.clone()
        encoder.zero_grad()
        expected = encoder.convs(to_unit_float(obs))
        expected.square().sum().backward()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(gradient, encoder.convs[0].weight.grad, rtol=1e-4, atol=1e-5)


def test_a_channel_for_each_pixel_of_a_block() -> None:
    obs = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    blocks = space_to_depth(obs)
    assert blocks.shape == (2, 48, 2, 3)
    assert blocks.is_contiguous(memory_format=torch.channels_last)
    for s, y, x in np.ndindex(3, 4, 4):
        assert torch.equal(blocks[:, 16 * s + 4 * y + x], obs[:, s, y::4, x::4])


def test_the_actor_critic_begins_orthogonal_nearly_uniform_and_with_biases_of_zero() -> None:
    net = ActorCritic(4, (36, 36), 5, hidden=16)
    layers = [(net.encoder.convs[0], 2.0), (net.hidden, 2.0), (net.policy, 1e-4), (net.value, 1.0)]
    for layer, square in layers:
        rows = layer.weight.detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, square * torch.eye(len(rows)), rtol=1e-4, atol=1e-5)
        assert not layer.bias.any()
    obs = torch.randint(0, 256, (3, 4, 36, 36), dtype=torch.uint8)
    logits, value = net(obs)
    assert (logits.shape, value.shape) == ((3, 5), (3,))
    hidden = torch.relu(net.hidden(net.encoder(obs)))
    torch.testing.assert_close(logits, net.policy(hidden))
    torch.testing.assert_close(value[:, None], net.value(hidden))


def test_only_uint8_goes_in() -> None:
    with pytest.raises(ValueError, match=r"expected uint8 screens, got torch.float32"):
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
    given = [torch.from_numpy(x) for x in (obs, down, right)]
    for shift in (random_shift, shifted_by_index):
        assert np.array_equal(shift(*given).numpy(), expected)
