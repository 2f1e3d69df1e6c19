"""Videos inside a page as long as it stays small; a link where there is no room."""

import base64
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from mbpo_fast.training.reports.svg import caption

TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}


def videos_of(folder: Path) -> list[Path]:
    """The videos of a run, newest first."""
    files = [file for file in folder.glob("videos/*") if file.suffix in TYPES and file.name[0] != "."]
    return sorted(files, key=lambda file: (file.stat().st_mtime, file.name), reverse=True)


def video_figure(
    file: Path, title: str, unit: str, page_folder: Path, room: int, *, autoplay: bool = False, more: str = ""
) -> str:
    """A card with a video, inside the page when it takes at most `room` bytes there; `more` is HTML below."""
    size = file.stat().st_size
    if embedded_bytes(size) <= room:
        data = base64.b64encode(file.read_bytes()).decode()
        source = f"data:{TYPES[file.suffix]};base64,{data}"
        if file.suffix == ".gif":
            content = f'<img class="game" alt="A game of the agent" src="{source}">'
        else:
            plays = "autoplay loop" if autoplay else 'preload="auto"'
            content = f'<video controls muted playsinline {plays} src="{source}"></video>'
    else:
        content = (
            f'<p class="left-out">Not inside this page, which stays under 5 MB: {link(file, page_folder)}</p>'
        )
    return f"<figure>{caption(title, unit)}{content}{more}</figure>"


def embedded_bytes(size: int) -> int:
    """What a file of `size` bytes takes inside a page, with the words around it."""
    return 4 * ((size + 2) // 3) + 1000


def link(file: Path, page_folder: Path) -> str:
    """A link to a file beside the page, with its size."""
    place = escape(quote(os.path.relpath(file, page_folder)))
    return f'<a href="{place}">{escape(file.name)}</a> ({file.stat().st_size / 1e6:.1f} MB)'
