"""What an attempt sees of the environment: a short list, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

RUN_DIR = "PILOTHOUSE_RUN_DIR"
ATTEMPT = "PILOTHOUSE_ATTEMPT"
FACTORY = "PILOTHOUSE_FACTORY"
"""`<pid>:<start time>` of the factory that started the attempt; an attempt whose factory is gone is an orphan."""

ALLOWED = frozenset(
    {
        "DYLD_LIBRARY_PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "PYTHONHASHSEED",
        "PYTHONPATH",
        "SHELL",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
    }
)
"""Names that pass. Tokens and passwords are not among them: a job gets none unless its launcher is told to."""

ALLOWED_PREFIXES = (
    "CUDA_",
    "HIP_",
    "JAX_",
    "LC_",
    "MKL_",
    "NUMBA_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "ROCR_",
    "TF_CPP_",
    "TPU_",
    "XDG_",
    "XLA_",
)
"""Beginnings of names that pass: locale, folders, and the tuning of numeric libraries."""


def filtered(environment: Mapping[str, str], *, extra: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the variables that may pass, `extra` names among them."""
    return {
        name: value
        for name, value in environment.items()
        if name in ALLOWED or name in extra or name.startswith(ALLOWED_PREFIXES)
    }
