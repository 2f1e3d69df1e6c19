import numpy as np
import pytest

from mbpo_fast.data import ReplayBuffer

SHAPE = (2, 3)


def test_save_and_load_go_on_exactly(filled, add_row, tmp_path, monkeypatch):
    monkeypatch.setattr("mbpo_fast.data.disk._SEGMENT_BYTES", 40)  # several segments
    original = filled("fsssctfsss".replace("ct", "c") + "tfssss", capacity=9, seed=4, holdout_ratio=0.5)
    original.sample(5)
    original.save(tmp_path / "buffer")
    assert len(list((tmp_path / "buffer").glob("*.safetensors"))) > 1
    loaded = ReplayBuffer(9, 1, frame_shape=SHAPE, seed=4, holdout_ratio=0.5)
    loaded.load(tmp_path / "buffer")
    for kind in "sstfsstfsss":
        assert loaded.state() == original.state()
        for split in ("train", "holdout"):
            assert np.array_equal(loaded.valid_ids(split=split), original.valid_ids(split=split))
        batches = [buffer.sample(8, 2).arrays() for buffer in (original, loaded)]
        assert all(np.array_equal(batches[0][name], batches[1][name]) for name in batches[0])
        for buffer in (original, loaded):
            add_row(buffer, kind)


def test_segments_may_begin_before_the_oldest_slot(filled, add_row):
    buffer = filled("fssss", capacity=5)
    early = buffer.export(0, 5)
    for _ in range(3):
        add_row(buffer, "s")
    restored = ReplayBuffer(5, 1, frame_shape=SHAPE)
    restored.restore(buffer.state(), [(0, early), (5, buffer.export(5, 8))])
    assert restored.state() == buffer.state()
    ids = buffer.valid_ids(2)
    assert np.array_equal(restored.gather(ids, 2).obs, buffer.gather(ids, 2).obs)


def test_load_names_the_damaged_file(filled, tmp_path):
    buffer = filled("fsss")
    buffer.save(tmp_path / "buffer")
    file = next((tmp_path / "buffer").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=file.name):
        buffer.load(tmp_path / "buffer")
    assert len(buffer) == 0
    (tmp_path / "buffer" / "state.json").write_text("[]")
    with pytest.raises(ValueError, match=r"state\.json"):
        buffer.load(tmp_path / "buffer")


def test_save_never_replaces_a_folder(filled, tmp_path):
    with pytest.raises(FileExistsError, match="expected a path that does not exist"):
        filled("fs").save(tmp_path)


@pytest.mark.parametrize("change", [{"capacity": 7}, {"seed": 1}])
def test_restore_refuses_another_layout_and_changes_nothing(filled, add_row, change):
    buffer = filled("fsss", capacity=5)
    other = ReplayBuffer(**({"capacity": 5, "seed": 0} | change), num_envs=1, frame_shape=SHAPE)
    add_row(other, "f")
    with pytest.raises(ValueError, match=r"\[ReplayBuffer.restore\] expected"):
        other.restore(buffer.state(), [(0, buffer.export(0, 4))])
    assert other.total == 1


def test_restore_refuses_missing_slots(filled):
    buffer, other = filled("fsss"), filled("f")
    with pytest.raises(ValueError, match=r"expected total 3, got 4"):
        other.restore(buffer.state(), [(0, buffer.export(0, 3))])
    with pytest.raises(ValueError, match=r"expected a segment that starts at slot 1, got 2"):
        other.restore(buffer.state(), [(0, buffer.export(0, 1)), (2, buffer.export(2, 4))])
