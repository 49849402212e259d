"""Names of things, one type each; minting takes the time and the random bytes as arguments."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import NewType

ProductId = NewType("ProductId", str)
CampaignName = NewType("CampaignName", str)
ProposalId = NewType("ProposalId", str)
JobId = NewType("JobId", str)
JobNumber = NewType("JobNumber", int)
"""A job's row number, by which the engine and the store name it; people and factories use its id."""
ShapeNumber = NewType("ShapeNumber", int)
SessionNumber = NewType("SessionNumber", int)
"""Row number of a session, which is one boot of a factory."""
RunId = NewType("RunId", str)
FactoryName = NewType("FactoryName", str)
BootId = NewType("BootId", str)
ArtifactDigest = NewType("ArtifactDigest", str)
"""SHA-256 in hex of a sealed folder's manifest."""
Epoch = NewType("Epoch", int)
"""Number of an attempt: grows with every claim and every fencing act, never falls."""

ENTROPY_BYTES = 5


def mint(kind: str, *, now: datetime, entropy: bytes) -> str:
    """Return a readable id that sorts by its UTC second, such as `job-20261122T040254Z-4zq7m2ka`."""
    assert now.tzinfo is not None, f"a naive time cannot name anything: {now!r}"
    assert len(entropy) == ENTROPY_BYTES, f"entropy is {ENTROPY_BYTES} bytes, got {len(entropy)}"
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    return f"{kind}-{stamp}-{base64.b32encode(entropy).decode('ascii').lower()}"
