"""The one canonical text form of values, and the digest of it.

Digests name configs, specs and logbook entries, so the form must never depend on dict order, float formatting of
another library, or the platform.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


# Made once: `json.dumps` would make another one for each value.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Json) -> str:
    """Return sorted-key JSON without blanks; NaN and infinities are refused with `ValueError`."""
    return _ENCODER.encode(value)


def digest(value: Json) -> str:
    """Return the SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()
