"""Inverse distribution functions: from a number between 0 and 1 to a value."""

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

_EDGE = 1e-6
"""The unit interval's ends are left out: there a normal variable has no value."""


def quantile_function(kind: str, rule: Mapping[str, Any]) -> Callable[[float], float]:
    """The quantiles of `normal`, `log_normal` (mu, sigma) or `beta` (a, b); W&B's defaults."""
    if kind == "beta":
        a, b = float(rule.get("a", 1)), float(rule.get("b", 1))
        return lambda share: beta_quantile(share, a, b)
    mu, sigma = float(rule.get("mu", 0)), float(rule.get("sigma", 1))
    normal = NormalDist()

    def value(share: float) -> float:
        score = mu + sigma * normal.inv_cdf(min(max(share, _EDGE), 1 - _EDGE))
        return math.exp(score) if kind == "log_normal" else score

    return value


def beta_quantile(share: float, a: float, b: float) -> float:
    """The x in 0..1 below which a beta variable lies with probability `share`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    # The fraction converges quickly on this side only; the other one follows by symmetry.
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(scale) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), from the last term to the first."""
    value = 1.0
    # The number of terms that double precision needs grows with the root of the larger parameter.
    for i in range(30 + 6 * math.isqrt(math.ceil(max(a, b))), 0, -1):
        m = i // 2
        if i % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        value = 1 + d / value
    return value
