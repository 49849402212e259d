"""The arrays of a JAX pytree as the named tensors of a file, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.tensors import read_tensors
from pilothouse.trainer import TreeDamaged

_FIX: Final = "start from another checkpoint, or train without one."


def named(values: Any) -> dict[str, NDArray[Any]]:
    """Return every leaf by its path, such as `layers.0.mix.weight`."""
    leaves = jax.tree_util.tree_leaves_with_path(values)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def filled(path: Path, template: Any) -> Any:
    """Put the arrays of a file into the places of a template; raises TreeDamaged where they do not fit."""
    wanted = {name: (leaf.dtype, leaf.shape) for name, leaf in named(template).items()}
    found = read_tensors(path)
    _compare(path, wanted, {name: (array.dtype, array.shape) for name, array in found.items()})
    structure = jax.tree_util.tree_structure(template)
    return jax.tree_util.tree_unflatten(structure, [jnp.array(found[name]) for name in wanted])


def _compare(path: Path, wanted: Mapping[str, object], found: Mapping[str, object]) -> None:
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise TreeDamaged(
                f"{path} holds {name} as {found.get(name)}, where {wanted.get(name)} is needed.", fix=_FIX
            )
