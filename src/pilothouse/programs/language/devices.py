"""What JAX must be told before it looks at its devices."""

from __future__ import annotations

import os
from typing import Final

_FLAGS: Final = "XLA_FLAGS"
_SAME_BITS: Final = "--xla_gpu_deterministic_ops=true"


def ask_for_same_bits() -> None:
    """Ask a GPU's kernels for the same bits each time; works only before the first device is used."""
    there = os.environ.get(_FLAGS, "")  # noqa: TID251  XLA reads its flags from here and nowhere else
    if _SAME_BITS not in there:
        os.environ[_FLAGS] = f"{there} {_SAME_BITS}".strip()  # noqa: TID251  as above
