"""Videos decode to the frames that went in: GIF exactly, by Pillow; mp4 closely, by PyAV."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from mbpo_fast.training import video
from mbpo_fast.training.video import write_gif, write_video


def decoded_gif(path: Path) -> tuple[np.ndarray, list[int]]:
    with Image.open(path) as image:
        frames = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(image)]
    return np.stack([f for f, _ in frames]), [d for _, d in frames]


def noise(shape: tuple[int, ...], levels: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, levels, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (84, 84), (37, 53), (210, 160)])
@pytest.mark.parametrize("levels", [1, 2, 5, 256])
def test_gif_of_gray_frames_is_exact(tmp_path: Path, shape: tuple[int, int], levels: int) -> None:
    frames = noise((3, *shape), levels)
    frames[:, 0, 0] = [0, 1, 2]  # no two frames alike
    write_gif(tmp_path / "a.gif", list(frames), fps=10)
    decoded, delays = decoded_gif(tmp_path / "a.gif")
    assert (decoded == frames[..., None]).all()
    assert delays == [100, 100, 100]


def test_gif_code_width_boundaries(tmp_path: Path) -> None:
    """Every length passes the moments when codes grow and when the table is full and cleared."""
    pixels = noise((1, 6000), 256, seed=1)
    for length in [*range(250, 262), *range(505, 520), *range(1018, 1030), *range(3830, 3850), 6000]:
        write_gif(tmp_path / "a.gif", [pixels[:, :length]], fps=1)
        assert (decoded_gif(tmp_path / "a.gif")[0][0, :, :, 0] == pixels[:, :length]).all(), length


def test_gif_draws_changes_only_and_keeps_time(tmp_path: Path) -> None:
    frames = np.zeros((6, 84, 84), np.uint8)
    frames[2:, 10:12, 20:23] = 255  # frames 0-1 alike, 2-4 alike, 5 apart
    frames[5, 0, 83] = 9
    write_gif(tmp_path / "a.gif", list(frames), fps=15)
    decoded, delays = decoded_gif(tmp_path / "a.gif")
    assert (decoded[..., 0] == frames[[0, 2, 5]]).all()
    assert delays == [130, 200, 70]  # hundredths: 13 + 20 + 7 = 40 for 6 frames at 15 a second
    assert (tmp_path / "a.gif").stat().st_size < 2000


def test_gif_of_few_colors_is_exact(tmp_path: Path) -> None:
    palette = noise((256, 3), seed=2)
    frames = palette[noise((2, 40, 50), seed=3)]
    write_gif(tmp_path / "a.gif", list(frames), fps=10)
    assert (decoded_gif(tmp_path / "a.gif")[0] == frames).all()


def test_gif_of_many_colors_is_close(tmp_path: Path) -> None:
    frames = noise((2, 60, 60, 3), seed=4)
    write_gif(tmp_path / "a.gif", list(frames), fps=10)
    error = np.abs(decoded_gif(tmp_path / "a.gif")[0].astype(int) - frames).max(axis=(0, 1, 2))
    assert (error <= [36, 36, 85]).all()  # 8, 8 and 4 levels a channel


@pytest.mark.parametrize("shape", [(84, 84), (35, 53), (210, 160, 3), (36, 36)])
def test_mp4_decodes_to_the_frames(tmp_path: Path, shape: tuple[int, ...]) -> None:
    av = pytest.importorskip("av")
    frames = np.zeros((8, *shape), np.uint8)
    for i in range(8):
        frames[i, 4 * i : 4 * i + 4, 8:20] = 200
    path = write_video(tmp_path / "sub" / "final.v1", list(frames), fps=15)
    assert path == tmp_path / "sub" / "final.v1.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 15)
        decoded = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)])
    scale = max(1, round(320 / shape[0]))
    assert decoded.shape[1] % 2 == decoded.shape[2] % 2 == 0
    assert len(decoded) == 8
    expected = frames if frames.ndim == 4 else frames[..., None]
    small = decoded[:, scale // 2 : shape[0] * scale : scale, scale // 2 : shape[1] * scale : scale]
    assert np.abs(small.astype(int) - expected).mean() < 3


def test_without_pyav_it_is_a_gif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    path = write_video(tmp_path / "final", [noise((8, 8)), noise((8, 8), seed=1)], fps=10)
    assert path.name == "final.gif"
    assert sorted(tmp_path.iterdir()) == [path]
    assert len(decoded_gif(path)[0]) == 2


@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        ([], 10),
        ([noise((4, 4))], 0),
        ([noise((4, 4)), noise((4, 5))], 10),
        ([noise((4, 4, 4))], 10),
        ([np.zeros((4, 4), np.float32)], 10),
    ],
)
def test_wrong_frames(tmp_path: Path, frames: list[np.ndarray], fps: int) -> None:
    with pytest.raises(ValueError, match=r"\[write_video\] expected"):
        write_video(tmp_path / "a", frames, fps)
    assert not list(tmp_path.iterdir())
