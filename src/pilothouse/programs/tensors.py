"""Named arrays in one file, in the safetensors layout (github.com/huggingface/safetensors).

Eight bytes of little-endian length, a JSON header of dtype, shape and byte range by name, then the numbers, names in
alphabetical order. The same arrays always give the same bytes, and any safetensors reader opens the file.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pilothouse.trainer import TreeDamaged

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

_NAMES = {np.dtype("<f4"): "F32", np.dtype("<i4"): "I32", np.dtype("<u4"): "U32"}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}
_ALIGNMENT = 8
_FIX = "start from another checkpoint; this one cannot be used."


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write arrays of float32, int32 or uint32 and force them to the disk."""
    header: dict[str, object] = {}
    offset = 0
    for name, array in sorted(tensors.items()):
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, array in sorted(tensors.items()):
            plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            stream.write(plain.reshape(-1).view(np.uint8).data)
        stream.flush()
        os.fsync(stream.fileno())


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of a file; raises TreeDamaged naming it when it is no such file."""
    try:
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        return {name: _array(data, start, entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TreeDamaged(f"{path} cannot be read as tensors: {error}.", fix=_FIX) from error


def _array(data: bytes, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    first, last = entry["data_offsets"]
    dtype = _TYPES[entry["dtype"]]
    flat = np.frombuffer(data, dtype=dtype, count=(last - first) // dtype.itemsize, offset=start + first)
    return flat.reshape(entry["shape"])
