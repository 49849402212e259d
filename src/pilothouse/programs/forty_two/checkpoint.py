"""A checkpoint of training: weights, optimiser state and the number of steps, in three files.

    weights.safetensors    what was learnt
    optimiser.safetensors  moments and running loss, with which training goes on bit for bit
    training.json          what the numbers mean: preset, mode, steps done, and what the training was

The folder is sealed by the trainer kit, manifest last. Nothing in it depends on the clock or the machine's name, so the
same training gives the same tree digest.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pilothouse.programs.forty_two import learner, model
from pilothouse.programs.forty_two.learner import Learnt, Progress
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS, Weights
from pilothouse.programs.pytrees import filled, named
from pilothouse.programs.tensors import write_tensors
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
    write_tensors(folder / WEIGHTS, named(learnt.weights))
    write_tensors(folder / OPTIMISER, named(learnt.progress))
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
    weights: Weights = filled(folder / WEIGHTS, template)
    return weights


def load(folder: Path, preset: str) -> Learnt:
    """Load the whole state of a verified checkpoint, to go on with the training it was made by."""
    weights = load_weights(folder, preset)
    progress: Progress = filled(folder / OPTIMISER, learner.begin(weights).progress)
    return Learnt(weights, progress)
