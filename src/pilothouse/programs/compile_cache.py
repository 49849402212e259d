"""Compiled programs kept between processes, so that only the first start on a machine waits for the compiler."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jax

_WORTH_KEEPING_S: Final = 0.3


def keep_compiled(folder: str | None) -> None:
    """Keep compiled programs in `folder`, or in the user's cache folder; an empty name keeps none."""
    if not (path := cache_folder(folder)):
        return
    configure: Callable[[str, object], object] = jax.config.update
    configure("jax_compilation_cache_dir", str(path))
    configure("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING_S)


def cache_folder(folder: str | None) -> Path | None:
    """Name the folder compiled programs are kept in: `folder`, else below XDG_CACHE_HOME or ~/.cache."""
    if folder is not None:
        return Path(folder) if folder else None
    home = os.environ.get("XDG_CACHE_HOME")  # noqa: TID251  the XDG base directory rule is read where it is obeyed
    return (Path(home) if home else Path.home() / ".cache") / "pilothouse" / "xla"
