"""Checkpoints: what goes in comes out bit for bit, and damage is named."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pilothouse.programs.forty_two import checkpoint, learner, model
from pilothouse.programs.forty_two.checkpoint import Training
from pilothouse.programs.forty_two.learner import Learnt
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS
from pilothouse.programs.tensors import read_tensors, write_tensors
from pilothouse.trainer import TreeDamaged, tree

_TRAINING = Training(preset="tiny", mode=Mode.POLICY, step=17, identity="abc")


def _learnt() -> Learnt:
    """Make a state in which no two numbers are alike."""
    template = learner.begin(model.initial(PRESETS["tiny"], seed=1))
    draw = np.random.default_rng(6)

    def filled(leaf: Any) -> Any:
        return jnp.asarray(draw.standard_normal(leaf.shape), dtype=leaf.dtype)

    filled_state: Learnt = jax.tree_util.tree_map(filled, template)
    return filled_state


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "step-000017"
    folder.mkdir()
    checkpoint.save(folder, _learnt(), _TRAINING)
    tree.seal(folder, {"step": 17})
    return folder


def test_what_is_saved_is_loaded_bit_for_bit(folder: Path) -> None:
    """Weights, moments, running loss and the step."""
    loaded = checkpoint.load(folder, "tiny")

    assert checkpoint.describe(folder) == _TRAINING
    expected = jax.tree_util.tree_leaves_with_path(_learnt())
    for (path, one), (other_path, two) in zip(expected, jax.tree_util.tree_leaves_with_path(loaded), strict=True):
        assert path == other_path
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def test_the_same_state_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """No clock, no path and no order of a dictionary is in a checkpoint."""
    again = tmp_path / "elsewhere"
    again.mkdir()
    checkpoint.save(again, _learnt(), _TRAINING)

    assert tree.seal(again, {"step": 17}) == tree.read_manifest(folder).digest


def test_weights_have_the_safetensors_layout(folder: Path) -> None:
    """Eight bytes of length, a JSON header, then little-endian numbers: other tools read it too."""
    data = (folder / "weights.safetensors").read_bytes()

    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header["layers.0.mix.weight"]
    assert (entry["dtype"], entry["shape"], length % 8) == ("F32", [24, 72], 0)
    first, last = entry["data_offsets"]
    numbers = np.frombuffer(data[8 + length + first : 8 + length + last], dtype="<f4").reshape(24, 72)
    np.testing.assert_array_equal(numbers, _learnt().weights.layers[0].mix.weight)
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - length


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors", "optimiser.safetensors", "training.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """A checkpoint that was never completed, or lost a file, is refused."""
    (folder / name).unlink()

    with pytest.raises(TreeDamaged, match=name):
        checkpoint.describe(folder)


def test_a_changed_byte_is_named(folder: Path) -> None:
    """One flipped bit in the weights is enough."""
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))

    with pytest.raises(TreeDamaged, match=r"weights\.safetensors has the SHA-256"):
        checkpoint.describe(folder)


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 9}', '{"format":1,"preset":"x","mode":"policy","step":1}'])
def test_a_sealed_folder_that_is_no_checkpoint_is_refused(folder: Path, text: str) -> None:
    """A manifest alone makes no checkpoint."""
    (folder / "training.json").write_text(text)
    tree.seal(folder)

    with pytest.raises(TreeDamaged, match=r"training\.json"):
        checkpoint.describe(folder)


def test_weights_of_another_preset_are_refused(folder: Path) -> None:
    """The first array that does not fit is named with both shapes."""
    with pytest.raises(TreeDamaged, match=r"weights\.safetensors holds"):
        checkpoint.load_weights(folder, "nano")


def test_a_torn_tensor_file_is_refused(tmp_path: Path) -> None:
    """Neither a header without its end nor numbers without theirs are read."""
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.arange(5, dtype=np.float32), "n": np.array(3, dtype=np.int32)})
    whole = path.read_bytes()

    assert read_tensors(path)["a"].tolist() == [0, 1, 2, 3, 4]
    assert int(read_tensors(path)["n"]) == 3
    for length in (4, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(TreeDamaged, match=r"x\.safetensors"):
            read_tensors(path)
