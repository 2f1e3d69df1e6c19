"""Small layer lists that together use every kind of layer; no torch here, for the sanitizers."""

import numpy as np

from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import POOLS, Film, NetworkBuilder

ACTIONS = 3


class Maker:
    """Builds layers with random weights."""

    def __init__(
        self, seed: int, context: int = 5, frame: tuple[int, int] = (20, 28), *, bf16: bool = False
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = NetworkBuilder(context, frame, ACTIONS, bf16=bf16)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.rng.normal(0, scale, shape).astype(np.float32)

    def film(self, channels: int) -> Film:
        return Film(self.normal(ACTIONS, channels), self.normal(ACTIONS, channels))

    def conv(self, x: int, out: int, kernel: int, **settings: object) -> int:
        channels = self.net.shapes[x][2]
        weight = self.normal(out, channels, kernel, kernel, scale=(channels * kernel * kernel) ** -0.5)
        return self.net.convolution(x, weight, self.normal(out), **settings)

    def linear(self, x: int, out: int, **settings: object) -> int:
        size = int(np.prod(self.net.shapes[x]))
        return self.net.linear(x, self.normal(out, size, scale=size**-0.5), self.normal(out), **settings)

    def norm(self, x: int, groups: int, **settings: object) -> int:
        channels = self.net.shapes[x][2]
        return self.net.norm(x, groups, self.normal(channels), self.normal(channels), **settings)


def frames_raw(m: Maker) -> list[int]:
    return [m.net.frames(3), m.net.frames(5, cell=2), m.net.frames(1, cell=4), m.net.frames(4, cell=4)]


def frames_differences(m: Maker) -> list[int]:
    return [m.net.frames(5, cell=4, scale=0.01, difference_scale=0.02), m.net.frames(1, difference_scale=1.0)]


def streamed(m: Maker) -> list[int]:
    """Cells that one 1x1 convolution reads, and cells that something else reads too."""
    y = m.conv(m.net.frames(5, cell=4, scale=0.01, difference_scale=0.02), 24, 1, film=m.film(24))
    cells = m.net.frames(3, cell=2, scale=0.02)
    weight = m.normal(7, 12, 1, 1, scale=0.1)
    outs = [y, m.conv(m.net.frames(2, cell=4), 24, 1, add=y, relu=True), m.conv(cells, 9, 1)]
    return [
        *outs,
        m.net.convolution(cells, weight, m.normal(7)),
        m.conv(m.net.frames(4, cell=4), 8, 1, padding=1),
    ]


def convolutions(m: Maker) -> list[int]:
    x = m.net.frames(4, cell=2)
    outs = [x]
    wide = m.conv(x, 40, 1)
    for kernel, stride in [(3, 1), (3, 2), (1, 1)]:
        weight = m.normal(6, 40 - 16, kernel, kernel, scale=0.1)
        outs.append(m.net.convolution(wide, weight, m.normal(6), stride=stride, padding=1, first=16))
    for out, kernel, settings in [
        (16, 1, {}),
        (5, 2, {"relu": True}),
        (33, 3, {"padding": 1}),
        (32, 3, {"padding": 2, "relu": True}),
        (48, 4, {"stride": 2, "padding": 1}),
        (7, 5, {"stride": 3, "film": m.film(7)}),
        (64, 3, {"stride": 2, "padding": 1, "film": m.film(64), "relu": True}),
    ]:
        outs.append(m.conv(x, out, kernel, **settings))
    return outs


def residual_blocks(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(5, cell=4, difference_scale=0.1), 32, 1)
    first = x
    for _ in range(2):
        h = m.conv(m.net.relu(x), 32, 3, padding=1, film=m.film(32), relu=True)
        x = m.conv(h, 32, 3, padding=1, add=x)
    return [first, x, m.conv(x, 20, 3, padding=1, film=m.film(20), add=m.conv(x, 20, 1), relu=True)]


def winograd_borders(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(2), 16, 1)  # 20x28: tiles reach past the end of both sides
    return [m.conv(x, 16, 3), m.conv(x, 17, 3, padding=1), m.conv(x, 40, 3, padding=3)]


def norms(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(4, cell=4), 24, 3, padding=1)
    return [
        m.norm(x, 4, film=m.film(24), relu=True),
        m.norm(x, 1),
        m.norm(m.net.frames(3), 3),
        m.norm(x, 24, relu=True),
    ]


def pools(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(4, cell=4), 4, 1)
    wide = m.conv(m.net.frames(4, cell=2), 50, 1)
    bands = m.net.shape(x)[0]
    return [m.net.pool(map_, kind, bands=n) for map_ in (x, wide) for kind in POOLS for n in (1, bands)]


def means(m: Maker) -> list[int]:
    steps = m.net.means(5, cell=4, steps=True)
    odd = m.net.means(1, cell=2)
    clock = m.net.clamp(m.net.pool(steps, "magnitude"), -1.0, 5.0)
    return [m.net.means(3, cell=4), m.net.means(2, cell=1), odd, steps, clock, m.conv(steps, 8, 3, padding=1)]


def conditions(m: Maker) -> list[int]:
    """A clock steers blocks, as in the default world model; linear layers small and large."""
    steps = m.net.means(5, cell=4, steps=True)
    clock = m.net.clamp(m.net.pool(steps, "magnitude"), 0.0, 60.0)
    shift_alone = Film(np.zeros((ACTIONS, 20), np.float32), m.normal(ACTIONS, 20))
    hidden = m.linear(clock, 20, film=shift_alone, relu=True)
    place = m.net.constant(m.normal(24, 5, 7), cell=4)
    x = m.conv(steps, 24, 1, add=place)
    by_all = [m.linear(hidden, 48, film=m.film(48)) for _ in range(3)]
    outs = [hidden, m.conv(x, 24, 3, padding=1, condition=by_all[0], film=m.film(24), relu=True)]
    outs.append(m.conv(x, 24, 1, condition=by_all[1], add=place))
    outs.append(m.norm(x, 4, condition=by_all[2], film=m.film(24), relu=True))
    outs.append(m.conv(x, 24, 3, condition=m.net.relu(by_all[1])))
    large = m.linear(m.linear(x, 300, relu=True), 48)
    return [*outs, m.conv(x, 24, 3, condition=large), m.norm(x, 3, condition=large), place]


def joins(m: Maker) -> list[int]:
    x, y = m.conv(m.net.frames(4, cell=4), 19, 1), m.conv(m.net.frames(2, cell=4), 24, 1)
    both = m.net.concat(x, y)
    place = m.net.constant(m.normal(24, 5, 7), cell=4)
    sums = [m.net.add(y, place), m.net.add(place, y, relu=True), m.net.add(place, place)]
    vectors = m.net.concat(m.net.pool(x, "mean"), m.net.pool(y, "max"))
    return [both, m.conv(both, 16, 3, padding=1), *sums, vectors, m.linear(vectors, 7), m.net.concat(x, x)]


def max_pools(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(4), 16, 3, padding=1)
    narrow = m.net.frames(2)
    outs = [m.net.max_pool(x, 3, stride=2, padding=1), m.net.max_pool(narrow, 2, stride=2)]
    return [*outs, m.net.max_pool(narrow, 5, stride=3, padding=4), m.conv(outs[0], 16, 3, padding=1)]


def heads(m: Maker) -> list[int]:
    flat = m.linear(m.conv(m.net.frames(4), 32, 8, stride=4, relu=True), 50, relu=True)
    with_action = m.linear(flat, 40, film=m.film(40), relu=True)
    atoms = m.net.expectation(m.linear(with_action, ACTIONS * 11), np.linspace(-3, 3, 11, dtype=np.float32))
    return [flat, with_action, m.linear(with_action, ACTIONS), atoms]


def decoder(m: Maker) -> list[int]:
    x = m.net.depth_to_space(m.linear(m.linear(m.net.frames(2), 20), 32 * 9), 3)
    y = m.net.transposed_convolution(x, m.normal(32, 16, 3, 3, scale=0.1), m.normal(16), stride=1, relu=True)
    y = m.net.transposed_convolution(y, m.normal(16, 8, 4, 4, scale=0.1), m.normal(8), stride=2, relu=True)
    return [x, y, m.net.transposed_convolution(y, m.normal(8, 1, 8, 8), m.normal(1), stride=4, cells=True)]


def late_branch(m: Maker) -> list[int]:
    """A convolution after a linear layer that also reads what came before it."""
    early = m.conv(m.net.frames(4, cell=4), 16, 3, padding=1)
    m.linear(early, 12)
    return [m.conv(early, 16, 3, padding=1, add=early), early]


def linear_of_constant(m: Maker) -> list[int]:
    """Large enough for all rows of a block at once, were the map there for each of them."""
    place = m.net.constant(m.normal(24, 5, 7), cell=4)
    return [m.linear(place, 300, film=m.film(300), relu=True)]


NETWORKS = [
    frames_raw,
    frames_differences,
    streamed,
    convolutions,
    residual_blocks,
    winograd_borders,
    norms,
    pools,
    means,
    conditions,
    joins,
    max_pools,
    heads,
    decoder,
    late_branch,
    linear_of_constant,
]


def batch(rows: int, members: int, context: int = 5, frame: tuple[int, int] = (20, 28)) -> tuple:
    rng = np.random.default_rng(rows)
    return (
        rng.integers(0, 256, (rows, context, *frame), np.uint8),
        rng.integers(0, ACTIONS, rows),
        rng.integers(0, members, rows),
    )


def policy(seed: int = 0) -> PackedNetwork:
    """Values of the actions, for rollouts."""
    m = Maker(seed)
    hidden = m.linear(m.conv(m.net.frames(4, cell=4), 16, 3, relu=True), 24, relu=True)
    return PackedNetwork([m.net], [m.linear(hidden, ACTIONS)])


def world(members: int) -> PackedNetwork:
    """A world model: log odds and changes of pixels, and logits of reward and end; for rollouts."""
    makers = [Maker(seed) for seed in range(members)]
    outputs = []
    for m in makers:
        x = m.conv(
            m.net.frames(5, cell=4, scale=0.01, difference_scale=0.02), 16, 1, film=m.film(16), relu=True
        )
        outputs = [m.conv(x, 32, 3, padding=1), m.linear(m.net.pool(x, "mean"), 4, film=m.film(4))]
    return PackedNetwork([m.net for m in makers], outputs)
