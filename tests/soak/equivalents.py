"""Guards without which nothing that can happen would go otherwise, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

_OWN_WEIGHTS = "each heap is sorted by the weights of its own product, so sorting all of them anew changes no other one"
_OWN_JOBS = (
    "a factory that the caller owns serves the caller's product only, so it holds no other product's jobs to show"
)

_ASKED_BEFORE = (
    "the same was asked before the factory was silenced; a second answer differs only where its name was given up and "
    "taken for another product between the two, in which moment nobody can put a test"
)

EQUIVALENT: Mapping[str, str] = {
    "engine/funds.py Funds.is_reserved: (number, epoch) in self._reserved -> True": (
        "an end that has reserved something goes by the rules one at a time, which settle it; one that has reserved "
        "nothing has nothing to settle there, so it is the same way round, only slower"
    ),
    "engine/scheduler.py Scheduler._remark: held.epoch == job.epoch -> True": (
        "marks are only added, and a held job that has one too many ends by the rules, one at a time, as all may; the "
        "board takes the job as it is with the same commit"
    ),
    "fleet/lanes.py Lanes.set_weights: lock[0] == product -> True": _OWN_WEIGHTS,
    "fleet/lanes.py Lanes.set_weights: queue.shape.product == product -> True": _OWN_WEIGHTS,
    "fleet/lanes.py Lanes.set_weights: self.shapes[number].product == product -> True": _OWN_WEIGHTS,
    "store/leadership.py StoredLeadership.lead: found.holder != holder -> False": (
        "the statement that takes the lead asks the same under its lock; the look before it only spares a wait"
    ),
    "web/factory_routes.py _set_state.act: caller.product -> None (2)": _OWN_JOBS,
    "web/factory_routes.py revoke.act: caller.product -> None": _ASKED_BEFORE,
    "web/factory_routes.py deregister.act: caller.product -> None (2)": _ASKED_BEFORE,
    "web/factory_routes.py deregister.act: caller.product -> None": (
        "whether the caller owns the factory is asked in the next line, and what it holds is not shown"
    ),
    "web/factory_routes.py revoke.act: caller.product -> None (2)": _OWN_JOBS,
}
"""By the name that `mutants.keyed` gives."""
