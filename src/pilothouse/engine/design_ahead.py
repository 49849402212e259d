"""Work out while runs run how the next ones will be looked at: a new error rate takes up to a second of arithmetic.

Nothing depends on it. Whoever needs a design before it is ready works it out at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pilothouse.campaigns.autopilot import design_of
from pilothouse.campaigns.error_rate import Grant, grants_ahead
from pilothouse.campaigns.record import Trial
from pilothouse.campaigns.sections import Decision
from pilothouse.evidence.sequential import invert


class DesignAhead:
    """Prepares each error rate once, on a thread that dies with the process."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._known: set[float] = set()
        self._worker: threading.Thread | None = None

    def look(self, trials: Sequence[Trial]) -> None:
        """Begin with what these trials may be granted next, unless it is known or something is being worked out."""
        if self._worker is not None and self._worker.is_alive():
            return
        news = [grant for grant in grants_ahead(self._decision, trials) if grant.level not in self._known]
        if not news:
            return
        self._known.update(grant.level for grant in news)
        self._worker = threading.Thread(target=self._prepare, args=(news,), name="designs", daemon=True)
        self._worker.start()

    def wait(self, timeout_seconds: float) -> bool:
        """Return whether all that was begun is ready."""
        if self._worker is not None:
            self._worker.join(timeout_seconds)
        return self._worker is None or not self._worker.is_alive()

    def _prepare(self, grants: Sequence[Grant]) -> None:
        for grant in grants:
            if not grant.spent():
                invert(design_of(self._decision, grant))
