"""Which changes a ferry could make: what a person asks for, what the last one calls for, what is talked of, one step.

A value is taken over from an issue only in the form `KNOB=VALUE`, and it stands for a candidate like any other: it is
held to the knob's range and step, ranked with the rest, and goes through the same gate. The text around it is never
followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pilothouse.canonical import Json
from pilothouse.errors import PilothouseError
from pilothouse.evidence.verdict import Outcome
from pilothouse.knobs.assignment import read_assignments
from pilothouse.knobs.knob import Knob, KnobRisk
from pilothouse.proposals.proposal import BY_HAND
from pilothouse.proposals.ranking import Candidate
from pilothouse.proposals.reach import alternatives, is_numeric, movable, reach_of, start_of
from pilothouse.proposals.window import Window

ASSIGNMENT = re.compile(r"(?<![\w.=-])([A-Za-z][\w.-]*)\s?=\s?([-+\w.]+)")
RADIUS = {KnobRisk.LOW: 1.0, KnobRisk.MEDIUM: 0.6, KnobRisk.HIGH: 0.2}
"""How little could break; a larger share is better."""

ASKED, CALLED_FOR, PROPOSED, TOUCHED, MENTIONED, ROUTINE = 1.0, 0.95, 0.8, 0.6, 0.5, 0.3
"""What a change is worth to the integration: asked for by a person, called for by a regression, proposed in an issue,
touched by the code since, mentioned in an issue, or merely the next one's turn."""

FULL, HALF = 0.8, 0.5
"""The signal that is expected of a full step and of half a step in one run; a repeated direction tells less."""

TAKEN_BACK = 0.7
AGAIN = 0.5
"""How much of its signal a knob keeps that the last ferry has moved already; the others take their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What candidates are made on: the last ferry's config, and the knobs that may move."""

    parent: Mapping[str, Json]
    knobs: Mapping[str, Knob]


def candidates_of(window: Window, ground: Ground) -> tuple[Candidate, ...]:
    """Return every candidate change, those of one effect once, as the worthiest source has it."""
    best: dict[str, Candidate] = {}
    for found in (
        *asked(window.guidance, ground),
        *_taken_back(window, ground),
        *_issues(window, ground),
        *_steps(window, ground),
    ):
        known = best.get(found.key)
        if known is None or found.value > known.value:
            best[found.key] = found
    return tuple(best.values())


def asked(guidance: str, ground: Ground) -> Iterator[Candidate]:
    """Yield what a person asks for by name; a value that may not be raises the error that says why."""
    texts = [f"{name}={value}" for name, value in ASSIGNMENT.findall(guidance) if name in ground.knobs]
    for knob, value in read_assignments(texts, ground.knobs).items():
        yield _candidate(
            ground, knob, value, value_of=ASKED, signal=FULL, sources=(BY_HAND,), why="asked for in the guidance"
        )


def with_suggestion(
    candidates: Iterable[Candidate], overrides: Mapping[str, Json], ground: Ground, *, source: str, why: str
) -> tuple[Candidate, ...]:
    """Return the candidates with those that somebody else suggests, who is named beside a source that has it too."""
    found = {each.key: each for each in candidates}
    for knob, value in overrides.items():
        if knob not in ground.knobs:
            continue
        own = _candidate(ground, knob, value, value_of=PROPOSED, signal=FULL, sources=(source,), why=why)
        known = found.get(own.key, own)
        found[own.key] = replace(known, sources=tuple(dict.fromkeys((*known.sources, source))), why=why)
    return tuple(found.values())


def _taken_back(window: Window, ground: Ground) -> Iterator[Candidate]:
    """Yield the way back of every change that the last ferry made, where it has regressed."""
    last = window.last
    if last is None or last.outcome is not Outcome.REGRESSED:
        return
    for change in last.changes:
        if change.knob in ground.knobs and change.before is not None:
            why = f"takes back what ferry {last.number} changed and lost by"
            yield _candidate(
                ground,
                change.knob,
                change.before,
                value_of=CALLED_FOR,
                signal=TAKEN_BACK,
                sources=("rule: regression",),
                why=why,
            )


def _issues(window: Window, ground: Ground) -> Iterator[Candidate]:
    """Yield the values that issues name exactly; what may not be is passed over."""
    for issue in window.issues:
        for name, text in ASSIGNMENT.findall(f"{issue.title}\n{issue.text}"):
            try:
                value = read_assignments([f"{name}={text}"], ground.knobs)[name]
            except PilothouseError:
                continue
            yield _candidate(
                ground,
                name,
                value,
                value_of=PROPOSED,
                signal=FULL,
                sources=(f"issue #{issue.number}",),
                why="proposed in an issue",
            )


def _steps(window: Window, ground: Ground) -> Iterator[Candidate]:
    """Yield bounded steps of every knob from the last ferry's config."""
    for knob in movable(ground.knobs):
        worth, sources, why = _talk(window, knob)
        moved = window.last is not None and any(change.knob == knob.name for change in window.last.changes)
        for value, expected in _values(knob, ground.parent):
            signal = expected * AGAIN if moved else expected
            yield _candidate(ground, knob.name, value, value_of=worth, signal=signal, sources=sources, why=why)


def _talk(window: Window, knob: Knob) -> tuple[float, tuple[str, ...], str]:
    """Return what moving a knob is worth by what was written since the last ferry."""
    word = re.compile(rf"(?<!\w){re.escape(knob.name).replace('_', '[_ -]')}(?!\w)", re.IGNORECASE)
    touched = [each.sha[:10] for each in window.commits.listed if word.search(each.subject)]
    if touched:
        return (
            TOUCHED,
            tuple(f"commit {sha}" for sha in touched[:3]),
            "the code around it has changed since the last ferry",
        )
    issues = [each.number for each in window.issues if word.search(f"{each.title}\n{each.text}")]
    if issues:
        return MENTIONED, tuple(f"issue #{number}" for number in issues[:3]), "an issue speaks of it"
    return ROUTINE, ("rule: one step",), "one bounded step, so that what follows has one cause"


def _values(knob: Knob, parent: Mapping[str, Json]) -> Iterator[tuple[Json, float]]:
    """Yield the values of a full and of half a step up and down, each with its expected signal."""
    if not is_numeric(knob):
        yield from ((value, FULL) for value in alternatives(knob, parent))
        return
    reach = reach_of(knob, parent)
    if reach is None or not reach.is_open():
        return
    low, start, high = reach.places()
    seen: set[Json] = {reach.start}
    for place, signal in ((high, FULL), (low, FULL), ((start + high) / 2, HALF), ((start + low) / 2, HALF)):
        value = reach.at(place)
        if value not in seen:
            seen.add(value)
            yield value, signal


def _candidate(
    ground: Ground, knob: str, value: Json, *, value_of: float, signal: float, sources: Iterable[str], why: str
) -> Candidate:
    rule = ground.knobs[knob]
    back = is_numeric(rule) or rule.risk is not KnobRisk.HIGH
    return Candidate(
        overrides={knob: value},
        before=start_of(rule, ground.parent),
        value=value_of,
        blast_radius=RADIUS[rule.risk],
        reversibility=1.0 if back else 0.5,
        signal=signal,
        sources=tuple(sources),
        why=why,
    )
