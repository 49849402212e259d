"""What the next ferry changes, and why, or why it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.canonical import Json
from pilothouse.errors import PilothouseError
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.proposals.candidates import Ground, candidates_of, with_suggestion
from pilothouse.proposals.draft import Draft, draft
from pilothouse.proposals.proposal import BY_HAND
from pilothouse.proposals.ranking import Candidate, Ranked, choose, rank
from pilothouse.proposals.search import Suggestion
from pilothouse.proposals.window import Window

SHOWN = 8
"""Ranked candidates that a proposal shows."""

RULES = "rules"
"""The source of what nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks for besides the rules: values by knob, an identical rerun with its reason, or a relaunch.

    `source` names who asks, when it is not the rules, and `why` says what for; `said` is all that an agent said of it.
    A relaunch with `overrides` goes on with the very change that the ferry sailed with.
    """

    overrides: Mapping[str, Json] | None = None
    identical: str = ""
    patch: str = ""
    source: str = BY_HAND
    why: str = ""
    said: Suggestion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The change of a ferry: what is moved, or the reason for an identical rerun, with everything that was ranked."""

    overrides: Mapping[str, Json]
    identical: str
    rationale: str
    source: str
    ranked: tuple[Ranked, ...]
    chosen: tuple[Ranked, ...]

    def as_json(self) -> dict[str, Json]:
        """Return what is kept of it."""
        best = self.ranked[:SHOWN]
        shown = (*best, *(each for each in self.chosen if each not in best))
        return {
            "identical": self.identical,
            "ranking": [each.as_json() for each in shown],
            "ranked": len(self.ranked),
            "chosen": [dict(each.candidate.overrides) for each in self.chosen],
        }


def plan(definition: FerryDefinition, window: Window, parent: Mapping[str, Json], asked: Asked) -> Plan:
    """Return what the next ferry changes.

    A person's wish comes first, a failure is confirmed before anything else is changed, and the rules choose the rest.
    Guidance that asks for a value that may not be raises the error that says why.
    """
    ground = Ground(parent=parent, knobs=definition.knob_rules())
    possible = [each for each in candidates_of(window, ground) if _may(definition, parent, each)]
    if asked.said is not None:
        moved = asked.overrides or {}
        possible = [*with_suggestion(possible, moved, ground, source=asked.source, why=asked.why)]
    ranked = rank(possible, definition.ferry.ranking.model_dump())
    named = any(BY_HAND in each.candidate.sources for each in ranked)
    identical = asked.identical if asked.overrides else asked.patch or asked.identical
    if not identical and asked.overrides is None and not named:
        identical = settled(definition, window)
    if identical:
        source = asked.source if asked.identical else RULES
        why = identical if asked.said is None else asked.why
        return Plan(overrides={}, identical=identical, rationale=why, source=source, ranked=ranked, chosen=())
    if asked.overrides is not None:
        why = asked.patch or asked.why or window.guidance or f"asked for by {asked.source}"
        its = tuple(each for each in ranked if asked.said is not None and asked.source in each.candidate.sources)
        return Plan(
            overrides=asked.overrides, identical="", rationale=why, source=asked.source, ranked=ranked, chosen=its
        )
    chosen = choose(ranked, definition.change_budget.budget())
    if not chosen:
        why = "no candidate change promises a signal in one run: the same config confirms that nothing has regressed"
        return Plan(overrides={}, identical=why, rationale=why, source=RULES, ranked=ranked, chosen=())
    overrides = {knob: value for each in chosen for knob, value in each.candidate.overrides.items()}
    source = BY_HAND if any(BY_HAND in each.candidate.sources for each in chosen) else RULES
    return Plan(
        overrides=overrides, identical="", rationale=_why(chosen, window), source=source, ranked=ranked, chosen=chosen
    )


def _may(definition: FerryDefinition, parent: Mapping[str, Json], candidate: Candidate) -> bool:
    """Whether a candidate keeps every rule; what a person asks for is refused aloud instead, when it is drafted."""
    if BY_HAND in candidate.sources or candidate.changes_nothing():
        return True
    try:
        draft(
            Draft(
                parent=parent,
                overrides=candidate.overrides,
                knobs=definition.knob_rules(),
                budget=ChangeBudget(minimum=0, maximum=definition.change_budget.max),
                invariants=definition.invariants(),
                derived=definition.derived(),
            )
        )
    except PilothouseError:
        return False
    return True


def settled(definition: FerryDefinition, window: Window) -> str:
    """Return why the rules let the same config run again before anybody chooses, empty when they do not."""
    last = window.last
    if definition.ferry.form == "canary":
        return "a canary runs one fixed config, so that whatever changes is not the config"
    if last is None:
        return "the first ferry runs the template as it is, and every later one is compared from there on"
    if last.failure:
        return (
            f"regression confirmation: ferry {last.number} failed ({last.failure}), and nothing else may change with it"
        )
    if not definition.knobs:
        return "the file names no knob: the same config runs on the code as it is now"
    return ""


def _why(chosen: tuple[Ranked, ...], window: Window) -> str:
    reasons = [
        f"{', '.join(each.candidate.overrides)}: {each.candidate.why} ({', '.join(each.candidate.sources)}), "
        f"score {each.total:.2f}"
        for each in chosen
    ]
    code = f"; commits since ferry {window.last.number}: {window.commits.count}" if window.last is not None else ""
    return "; ".join(reasons) + code
