"""When a trial is stopped early: Hyperband's rule as W&B applies it, over values logged while training."""

from collections.abc import Sequence

from mbpo_fast.sweeps.schema import EarlyTerminate, Metric


def should_stop(
    history: Sequence[float], all_histories: Sequence[Sequence[float]], rule: EarlyTerminate, metric: Metric
) -> bool:
    """Whether a running trial is too weak at the last band that it has reached.

    history: the metric's values in the order logged; all_histories: those of every trial, this one too. A
    trial stays while it is among the best 1/eta at that band; unless `strict`, its best value so far counts.
    """
    sign = -1.0 if metric.maximize else 1.0
    reached = [band for band in rule.bands if band <= len(history)]
    if not reached:
        return False
    band = reached[-1]
    rivals = sorted(sign * values[band - 1] for values in all_histories if len(values) >= band)
    own = sign * history[band - 1] if rule.strict else min(sign * value for value in history)
    return own > rivals[int(len(rivals) / rule.eta)]
