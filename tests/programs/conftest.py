"""What one test session compiles is kept for the whole of it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import pytest


@pytest.fixture(name="compiled", scope="session", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the programs of one test session keep what they compiled.

    JAX asks for the folder once, when it first compiles, so it is named before any test does; a program that names
    none of its own would name the user's.
    """
    folder = str(tmp_path_factory.mktemp("compiled"))
    configure: Callable[[str, object], object] = jax.config.update
    configure("jax_compilation_cache_dir", folder)
    configure("jax_persistent_cache_min_compile_time_secs", 0.1)
    return folder
