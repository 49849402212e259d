"""Where a step runs: rows of a batch over devices and hosts, weights on each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from pilothouse.trainer import OptionRefused

AXIS: Final = "data"
spec: Callable[..., PartitionSpec] = PartitionSpec
"""JAX types its own constructor not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A line of devices that share the rows of every batch."""

    mesh: Mesh

    @property
    def count(self) -> int:
        """How many devices there are."""
        return int(self.mesh.devices.size)

    @property
    def first(self) -> jax.Device:
        """The first of them; all are of one kind."""
        device: jax.Device = self.mesh.devices.flat[0]
        return device

    @property
    def platform(self) -> str:
        """What kind of devices they are, such as `cpu` or `gpu`."""
        return str(self.first.platform)

    @property
    def everywhere(self) -> NamedSharding:
        """The placement of what every device holds."""
        return NamedSharding(self.mesh, spec())

    @property
    def by_rows(self) -> NamedSharding:
        """The placement of what is cut along its first axis."""
        return NamedSharding(self.mesh, spec(AXIS))

    def replicate(self, values: Any) -> Any:
        """Put values on every device."""
        return jax.device_put(values, self.everywhere)

    def scatter(self, shape: tuple[int, ...], rows: Callable[[int, int], NDArray[np.int32]]) -> Array:
        """Make an array of `shape` whose rows come from `rows(first, end)`; a host asks for its own devices' only."""

        def part(index: tuple[slice, ...] | None) -> NDArray[np.int32]:
            assert index is not None
            first, end, _ = index[0].indices(shape[0])
            return rows(first, end)

        return jax.make_array_from_callback(shape, self.by_rows, part)


def place(devices: int, rows: int) -> Placement:
    """Choose the first `devices` devices, or all for 0; raises OptionRefused if they cannot share `rows` evenly."""
    there = jax.devices()
    if devices > len(there):
        raise OptionRefused(
            f"devices = {devices}, but there are {len(there)}.", fix="ask for fewer, or give 0 to use all there are."
        )
    chosen = there[: devices or len(there)]
    if rows % len(chosen):
        raise OptionRefused(
            f"batch_size = {rows} cannot be shared evenly by {len(chosen)} devices.",
            fix=f"give a multiple of {len(chosen)}, or fewer devices.",
        )
    return Placement(mesh=Mesh(np.array(chosen), (AXIS,)))
