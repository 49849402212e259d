"""One entry of the logbook: what was tried, what came out, what it means, what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pilothouse.canonical import Json
from pilothouse.ids import ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An entry before it joins its thread's chain. `evidence` holds digests, verdicts and tables as JSON values."""

    label: str
    hypothesis: str
    command: str
    config: str
    result: str
    interpretation: str
    next_action: str
    confidence: str
    evidence: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A stored entry. `previous_hash` is the hash of the entry before it, and `chain.thread_hash` for the first."""

    product: ProductId
    thread: str
    number: int
    at: datetime
    body: NewEntry
    previous_hash: str
    hash: str
