import threading

import numpy as np
import pytest

from mbpo_fast.data import Batch, Prefetcher, ReplayBuffer


@pytest.fixture
def prefetcher():
    prefetcher = Prefetcher()
    yield prefetcher
    prefetcher.close()


def filled() -> ReplayBuffer:
    buffer = ReplayBuffer(200, 2, frame_shape=(4, 4))
    for step in range(60):
        frame = np.full((2, 4, 4), step, np.uint8)
        no = np.zeros(2, bool)
        buffer.add(frame, np.zeros(2, int), np.zeros(2), no, no, np.full(2, step == 0))
    return buffer


def test_a_burst_gives_the_batches_of_plain_calls(prefetcher):
    plain, ahead = filled(), filled()
    rooms = [Batch.empty(16, 4, (4, 4)) for _ in range(2)]
    for count in (1, 2, 5, 0):
        expected = [plain.sample(16) for _ in range(count)]
        drawn = prefetcher.burst(lambda room: ahead.sample(16, out=rooms[room]), count)
        for one, other in zip(expected, drawn, strict=True):
            assert np.array_equal(one.ids, other.ids)
            assert np.array_equal(one.obs, other.obs)
        assert plain.draws == ahead.draws, "a burst draws no more than it gives"


def test_the_next_batch_is_drawn_while_the_caller_works(prefetcher):
    second_drawn = threading.Event()

    def draw(room: int) -> int:
        if room == 1:
            second_drawn.set()
        return room

    burst = prefetcher.burst(draw, 2)
    next(burst)
    assert second_drawn.wait(5.0)


def test_an_error_comes_where_its_batch_would_have(prefetcher):
    def draw(room: int) -> int:
        if room == 1:
            raise ValueError("none left")
        return room

    burst = prefetcher.burst(draw, 3)
    assert next(burst) == 0
    with pytest.raises(ValueError, match="none left"):
        next(burst)
