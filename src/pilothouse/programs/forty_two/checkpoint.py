"""A checkpoint of training: weights, optimiser state and the number of steps, in three files.

    weights.safetensors    what was learnt
    optimiser.safetensors  moments and running loss, with which training goes on bit for bit
    training.json          what the numbers mean: preset, mode, steps done, and what the training was

The folder is sealed by the trainer kit, manifest last. Nothing in it depends on the clock or the machine's name, so the
same training gives the same tree digest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.forty_two import learner, model
from pilothouse.programs.forty_two.learner import Learnt, Progress
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS, Weights
from pilothouse.programs.forty_two.tensors import read_tensors, write_tensors
from pilothouse.trainer import JSON, TreeDamaged, tree

FORMAT: Final = 1
WEIGHTS: Final = "weights.safetensors"
OPTIMISER: Final = "optimiser.safetensors"
TRAINING: Final = "training.json"
_FIX = "start from another checkpoint, or train without one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a checkpoint's numbers mean."""

    preset: str
    mode: Mode
    step: int
    """Steps done."""
    identity: str
    """A digest of options, data and starting weights: only the same training may go on from here."""


def save(folder: Path, learnt: Learnt, training: Training) -> None:
    """Write the three files into a folder, which the caller seals."""
    write_tensors(folder / WEIGHTS, _named(learnt.weights))
    write_tensors(folder / OPTIMISER, _named(learnt.progress))
    document = {
        "format": FORMAT,
        "preset": training.preset,
        "mode": training.mode.value,
        "step": training.step,
        "identity": training.identity,
    }
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    (folder / TRAINING).write_text(text, encoding="utf-8")


def describe(folder: Path) -> Training:
    """Verify a sealed checkpoint and tell what it holds; raises TreeDamaged naming the file that is wrong."""
    tree.verify(folder)
    path = folder / TRAINING
    try:
        document: JSON = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TreeDamaged(f"{path} cannot be read: {error}.", fix=_FIX) from error
    match document:
        case {"format": 1, "preset": str(preset), "mode": str(mode), "step": int(step), "identity": str(identity)} if (
            preset in PRESETS and mode in set(Mode)
        ):
            return Training(preset=preset, mode=Mode(mode), step=step, identity=identity)
        case _:
            raise TreeDamaged(f"{path} does not describe a training this version knows.", fix=_FIX)


def load_weights(folder: Path, preset: str) -> Weights:
    """Load the weights of a verified checkpoint; raises TreeDamaged where they do not fit the preset."""
    template = model.initial(PRESETS[preset], seed=0)
    weights: Weights = _filled(folder / WEIGHTS, template)
    return weights


def load(folder: Path, preset: str) -> Learnt:
    """Load the whole state of a verified checkpoint, to go on with the training it was made by."""
    weights = load_weights(folder, preset)
    progress: Progress = _filled(folder / OPTIMISER, learner.begin(weights).progress)
    return Learnt(weights, progress)


def _named(values: Any) -> dict[str, NDArray[Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(values)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def _filled(path: Path, template: Any) -> Any:
    """Put the arrays of a file into the places of a template."""
    wanted = {name: (leaf.dtype, leaf.shape) for name, leaf in _named(template).items()}
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
