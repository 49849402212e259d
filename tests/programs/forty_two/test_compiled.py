"""Compiling where no cache folder can be written."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import colorsys
from pilothouse.programs.forty_two.compiled import kernel
compiled = kernel(colorsys.rgb_to_yiq)
print(type(compiled._cache).__name__, round(compiled(1.0, 1.0, 1.0)[0], 6))
"""


def test_kernels_work_without_a_cache(tmp_path: Path) -> None:
    """Where Numba finds no folder for its code, a kernel is compiled for the process alone."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    assert done.stdout.split() == ["NullCache", "1.0"]
