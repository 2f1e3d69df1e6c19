"""Which trials are stopped early."""

from mbpo_fast.sweeps.hyperband import should_stop
from mbpo_fast.sweeps.schema import EarlyTerminate, Metric


def test_hyperband() -> None:
    rule = EarlyTerminate((2, 4), eta=2.0)
    up, down = Metric("x", maximize=True), Metric("x", maximize=False)
    weak, strong = [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]
    both = [weak, strong]
    assert should_stop(weak, [weak, strong, strong], rule, up)
    assert not should_stop(strong, both, rule, up)
    assert not should_stop(weak, [weak], rule, up)  # nobody to compare with
    assert not should_stop(weak[:1], both, rule, up)  # no band reached
    assert should_stop(strong, [*both, weak], rule, down)
    late = [9.0, 1.0, 1.0, 1.0]
    assert should_stop(late, [late, strong, strong], rule, up)
    assert not should_stop(late, [late, strong, strong], EarlyTerminate((2, 4), 2.0, strict=False), up)
