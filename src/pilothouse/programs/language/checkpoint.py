"""A checkpoint of training: weights, optimiser state and the number of steps, in three files.

    weights.safetensors    what was learnt
    optimiser.safetensors  moments and running loss, with which training goes on bit for bit
    training.json          what the numbers mean: preset, vocabulary, steps done, and what the training was

Nothing in it depends on the clock or the machine's name, so the same training gives the same tree digest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pilothouse.programs.language.learner import Learnt
from pilothouse.programs.pytrees import filled, named
from pilothouse.programs.tensors import write_tensors
from pilothouse.trainer import JSON, TreeDamaged, tree

FORMAT: Final = 1
WEIGHTS: Final = "weights.safetensors"
OPTIMISER: Final = "optimiser.safetensors"
TRAINING: Final = "training.json"
_FIX = "start this run anew, without a checkpoint."


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a checkpoint's numbers mean."""

    preset: str
    vocabulary: int
    tokeniser: str
    """Its digest."""
    step: int
    """Steps done."""
    identity: str
    """A digest of options, data and seed: only the same training may go on from here."""


def save(folder: Path, learnt: Learnt, training: Training) -> None:
    """Write the three files into a folder, which the caller seals."""
    write_tensors(folder / WEIGHTS, named(learnt.weights))
    write_tensors(folder / OPTIMISER, named(learnt.progress))
    text = json.dumps({"format": FORMAT, **asdict(training)}, indent=2, sort_keys=True) + "\n"
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
        case {
            "format": 1,
            "preset": str(preset),
            "vocabulary": int(vocabulary),
            "tokeniser": str(tokeniser),
            "step": int(step),
            "identity": str(identity),
        }:
            return Training(preset=preset, vocabulary=vocabulary, tokeniser=tokeniser, step=step, identity=identity)
        case _:
            raise TreeDamaged(f"{path} does not describe a training this version knows.", fix=_FIX)


def load(folder: Path, template: Learnt) -> Learnt:
    """Load the whole state of a verified checkpoint into the places of a state of the same form."""
    weights = filled(folder / WEIGHTS, template.weights)
    return Learnt(weights, filled(folder / OPTIMISER, template.progress))
