"""The smallest thing that a checkpoint keeps in segments; no torch here."""

from collections.abc import Iterable

import numpy as np


class Ring:
    """The smallest Segmented: a ring of numbers whose slot g holds a value drawn from g."""

    def __init__(self, capacity: int, width: int = 3) -> None:
        self.capacity, self.width = capacity, width
        self.total = 0
        self.rows: dict[int, np.ndarray] = {}
        self.exported: list[tuple[int, int]] = []

    @property
    def oldest(self) -> int:
        return max(0, self.total - self.capacity)

    def add(self, count: int, salt: int = 0) -> None:
        for slot in range(self.total, self.total + count):
            self.rows[slot] = np.full(self.width, 1000 * salt + slot, np.int64)
        self.total += count
        self.rows = {slot: row for slot, row in self.rows.items() if slot >= self.oldest}

    def export(self, first: int, last: int) -> dict[str, np.ndarray]:
        assert self.oldest <= first < last <= self.total
        self.exported.append((first, last))
        return {"row": np.stack([self.rows[slot] for slot in range(first, last)])}

    def state(self) -> dict[str, int]:
        return {"total": self.total, "oldest": self.oldest, "capacity": self.capacity}

    def restore(self, state: dict[str, int], segments: Iterable[tuple[int, dict[str, np.ndarray]]]) -> None:
        self.capacity, self.total = state["capacity"], state["total"]
        self.rows = {first + i: row for first, s in segments for i, row in enumerate(s["row"])}
        self.rows = {slot: row for slot, row in self.rows.items() if slot >= self.oldest}
        assert sorted(self.rows) == list(range(self.oldest, self.total))

    def same_as(self, other: "Ring") -> bool:
        return self.total == other.total and all((self.rows[g] == other.rows[g]).all() for g in other.rows)
