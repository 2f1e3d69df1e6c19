"""Tables of a sweep's results."""

from types import SimpleNamespace
from typing import Any

from mbpo_fast.sweeps.results import Row, over_seeds
from mbpo_fast.sweeps.space import read_axes


def sweep(**parameters: list[Any]) -> Any:
    axes = read_axes({name: {"values": values} for name, values in parameters.items()})
    return SimpleNamespace(axes=axes, metric=SimpleNamespace(name="score", maximize=True))


def test_values_that_look_alike_are_not_averaged() -> None:
    gammas = [0.99995, 0.99999]
    rows = [
        Row(number, "complete", value, 1.0, {"gamma": gamma, "seed": seed})
        for number, (gamma, seed, value) in enumerate(
            [(gammas[0], 0, 1.0), (gammas[0], 1, 2.0), (gammas[1], 0, 9.0), (gammas[1], 1, 10.0)]
        )
    ]
    assert over_seeds(sweep(gamma=gammas, seed=[0, 1]), rows) == [
        ["mean over seeds", "seeds", "gamma"],
        ["9.5", "2", "0.99999"],
        ["1.5", "2", "0.99995"],
    ]
