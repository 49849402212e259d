"""What JAX must be told before it looks at its devices."""

from __future__ import annotations

import os
from typing import Final

import jax
from jax.experimental import multihost_utils

from pilothouse.trainer import OptionRefused

_PATIENCE_S: Final = 300
_FLAGS: Final = "XLA_FLAGS"
_SAME_BITS: Final = "--xla_gpu_deterministic_ops=true"


def ask_for_same_bits() -> None:
    """Ask a GPU's kernels for the same bits each time; works only before the first device is used."""
    there = os.environ.get(_FLAGS, "")  # noqa: TID251  XLA reads its flags from here and nowhere else
    if _SAME_BITS not in there:
        os.environ[_FLAGS] = f"{there} {_SAME_BITS}".strip()  # noqa: TID251  as above


def join_other_hosts() -> None:
    """Join the processes of all hosts, told by three variables, or found by JAX where a scheduler has started it.

    The variables are JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. Raises OptionRefused where nothing
    tells how many there are.
    """
    try:
        jax.distributed.initialize(
            num_processes=_number("JAX_NUM_PROCESSES"),
            process_id=_number("JAX_PROCESS_ID"),
            initialization_timeout=_PATIENCE_S,
        )
    except (RuntimeError, ValueError) as error:
        raise OptionRefused(
            f"distributed = true, but the other hosts are not found: {error}.",
            fix="set the three JAX_… variables, start it under a scheduler, or set distributed = false.",
        ) from error


def hosts_stop(step: int) -> bool:
    """Return whether all hosts are to leave after these steps, since one of them was asked to; ask after every step.

    Where hosts are joined JAX hears SIGTERM in the place of the trainer, and lets them agree on one step.
    """
    return bool(multihost_utils.reached_preemption_sync_point(step))


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")  # noqa: TID251  JAX reads the first of the three by itself, and not the others
    return int(text) if text else None
