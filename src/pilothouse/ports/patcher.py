"""Who proposes a patch for a small bug, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pilothouse.errors import PilothouseError
from pilothouse.ports.proposer import Stopped, never
from pilothouse.proposals.agent_run import AgentTold
from pilothouse.proposals.patch import Patch, PatchQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """What came of asking: a patch, or the reason why there is none; `told` is of the run either way."""

    told: AgentTold
    patch: Patch | None = None
    refusal: PilothouseError | None = None


class Patcher(Protocol):
    """Somebody who mends a copy of the code; what has changed in it is judged, and applied by nobody but people."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Files of the repository that no patch may change: the campaign's own."""
        ...

    def patch(self, question: PatchQuestion, stopped: Stopped = never) -> Patched:
        """Return what came of asking; one that was stopped raises `AskingStopped`.

        Raises `Refused` or `OperationFailed` where nothing could be asked, and nothing was spent.
        """
        ...

    def keep(self) -> tuple[str, ...]:
        """Return the branches that were made now, of patches on record; one that is there stays as it is."""
        ...
