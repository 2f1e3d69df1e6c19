import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbpo_fast import _core


def filled(values: np.ndarray) -> _core.SumTree:
    tree = _core.SumTree(len(values))
    tree.set(np.arange(len(values)), values.astype(np.float32))
    return tree


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 5000),
    updates=st.lists(st.tuples(st.integers(0, 4999), st.sampled_from([0.0, 0.25, 1.0, 3.0])), max_size=40),
    share=st.floats(0, 1, exclude_max=True),
)
def test_equals_a_plain_cumulative_sum(size, updates, share):
    values = np.zeros(size, np.float32)
    tree = _core.SumTree(size)
    index = np.array([i % size for i, _ in updates], np.int64)
    for i, (_, value) in zip(index, updates, strict=True):
        values[i] = value
    tree.set(index, np.array([value for _, value in updates], np.float32))
    assert np.array_equal(tree.get(np.arange(size)), values)
    assert tree.total == values.sum(dtype=np.float64)
    if tree.total == 0.0:
        assert tree.find(share) == -1
    else:
        # Quarters add up exactly in floats of every width.
        expected = np.searchsorted(np.cumsum(values, dtype=np.float64), share * tree.total, side="right")
        assert tree.find(share) == expected


def test_the_last_of_two_values_for_one_index_wins():
    tree = filled(np.zeros(40))
    tree.set(np.array([7, 20, 7]), np.array([1.0, 2.0, 5.0], np.float32))
    assert tree.get(np.array([7, 20])).tolist() == [5.0, 2.0]
    assert tree.total == 7.0


def test_the_sum_does_not_drift():
    rng = np.random.default_rng(0)
    tree = filled(np.zeros(1000))
    for _ in range(300):
        scale = np.float32(10.0 ** rng.integers(-6, 7))
        tree.set(rng.integers(0, 1000, 64), rng.random(64, np.float32) * scale)
    values = tree.get(np.arange(1000)).astype(np.float64)
    assert tree.total == pytest.approx(values.sum(), rel=1e-6)


def test_nothing_without_mass_is_ever_found():
    values = np.zeros(300)
    values[[3, 177, 299]] = 1e-20, 1.0, 1e-20
    tree = filled(values)
    found = {tree.find(share) for share in (0.0, 1e-25, 0.5, 1.0 - 2.0**-53)}
    assert found <= {3, 177, 299}


BAD = [
    (lambda t: _core.SumTree(0), r"\[SumTree\] expected 1 <= size"),
    (lambda t: t.set(np.array([9]), np.ones(1, np.float32)), r"\[SumTree.set\] expected indices in \[0, 9\)"),
    (lambda t: t.set(np.array([-1]), np.ones(1, np.float32)), r"indices in \[0, 9\), got -1"),
    (
        lambda t: t.set(np.array([0]), np.array([-1.0], np.float32)),
        r"expected values in \[0, 1e\+24\], got -1",
    ),
    (lambda t: t.set(np.array([0]), np.array([np.nan], np.float32)), r"expected values in .*, got -?nan"),
    (lambda t: t.set(np.array([0]), np.ones(2, np.float32)), r"expected value .*\[1\], got float32 \[2\]"),
    (lambda t: t.get(np.array([9])), r"\[SumTree.get\] expected indices"),
    (lambda t: t.find(1.0), r"\[SumTree.find\] expected 0 <= share < 1, got 1"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments_change_nothing(call, message):
    tree = filled(np.arange(9.0))
    with pytest.raises(ValueError, match=message):
        call(tree)
    assert np.array_equal(tree.get(np.arange(9)), np.arange(9.0))
