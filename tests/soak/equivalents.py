"""Guards without which nothing that can happen would go otherwise, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

EQUIVALENT: Mapping[str, str] = {
    "engine/funds.py: (number, epoch) in self._reserved -> True": (
        "an end that has reserved something goes by the rules one at a time, which settle it; one that has reserved "
        "nothing has nothing to settle there, so it is the same way round, only slower"
    ),
    "engine/scheduler.py: held.epoch == job.epoch -> True": (
        "marks are only added, and a held job that has one too many ends by the rules, one at a time, as all may; the "
        "board takes the job as it is with the same commit"
    ),
    "fleet/board.py: self.shapes[number].product == product -> True": (
        "each heap is sorted by the weights of its own product, so sorting all of them anew changes none of the others"
    ),
    "store/leadership.py: found.holder != holder -> False": (
        "the statement that takes the lead asks the same under its lock; the look before it only spares a wait"
    ),
    "web/factory_routes.py: caller.product -> None (4)": (
        "a factory that the caller owns serves the caller's product only, so it holds no other product's jobs to show"
    ),
    "web/factory_routes.py: caller.product -> None (8)": (
        "a factory that the caller owns serves the caller's product only, so it holds no other product's jobs to show"
    ),
}
"""By the name that `mutants.keyed` gives."""
