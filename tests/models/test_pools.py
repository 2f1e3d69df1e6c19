"""What members train on: bootstrap samples fixed for life, recency."""

import numpy as np

from mbpo_fast.models import ModelConfig
from mbpo_fast.models.pools import Pool, bootstrap_weights, draw_rows


def test_bootstrap_weights_are_fixed_for_life_and_differ_between_members() -> None:
    ids = np.arange(20_000, dtype=np.int64)
    weights = bootstrap_weights(ids, 6, seed=3)
    assert weights.shape == (6, 20_000)
    later = bootstrap_weights(ids[5_000:5_100], 6, seed=3)
    assert np.array_equal(weights[:, 5_000:5_100], later), "a weight depends on its transition alone"
    for m in range(1, 6):
        assert np.corrcoef(weights[0], weights[m])[0, 1] < 0.05
    assert np.abs(weights.mean(axis=1) - 1).max() < 0.03
    assert np.abs((weights == 0).mean(axis=1) - np.exp(-1)).max() < 0.02, "Poisson(1)"
    assert not np.array_equal(bootstrap_weights(ids, 6, seed=4), weights)


def test_recent_share_of_a_batch_comes_from_the_newest_quarter() -> None:
    for share, low, high in ((0.75, 0.7, 0.8), (0.0, 0.0, 0.0), (0.25, 0.2, 0.3)):
        config = ModelConfig(recent_share=share, batch_size=4000)
        own = np.arange(1000)
        pool = Pool(own, own[:0], own[:0], own[:0])
        drawn = draw_rows(pool, config, seed=0, step=3)
        assert low <= (drawn >= 750).mean() <= high
        assert len(np.unique(drawn)) > 200, "uniform within its part"
    assert np.array_equal(drawn, draw_rows(pool, config, seed=0, step=3))


def test_a_small_batch_holds_at_least_one_row_of_each_rare_kind() -> None:
    own = np.arange(1000)
    pool = Pool(own, own[:0] + 1000, own[:1] + 2000, own[:1] + 3000)
    drawn = draw_rows(pool, ModelConfig(batch_size=8, ended_share=0.01, near_end_share=0.01), seed=0, step=0)
    assert drawn[:2].tolist() == [2000, 3000]
    assert (drawn[2:] < 1000).all(), "nothing was rewarded"
    none = draw_rows(pool, ModelConfig(batch_size=8, ended_share=0.0, near_end_share=0.0), seed=0, step=0)
    assert (none < 1000).all()
