"""The rules on recorded runs as they are: real A/B pairs, splits of one group, and curves cut short."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pilothouse.canonical import Json
from pilothouse.evidence.arms import Floats
from pilothouse.evidence.doomed import CURVES_LEAST, doomed_at, predictor
from pilothouse.evidence.looks import single_design, stream_design
from pilothouse.evidence.replay import Campaigns, raw_noise, replay_single
from pilothouse.evidence.rivals import Welch
from pilothouse.evidence.runs_file import Curves, Group
from pilothouse.evidence.sequential import Design, make_design
from pilothouse.evidence.stream import ledger

PAIR_LEAST = 5
SPLIT_LEAST = 8
POINTS_LEAST = 4
REPLAYS = 4000
DATED = re.compile(r"^\d{4}-?\d{2}-?\d{2}")


def record_of(name: str) -> str:
    """Return the folder of the record that a group belongs to: up to the first part that begins with a date."""
    parts = name.split("/")
    dated = next((place for place, part in enumerate(parts) if DATED.match(part)), len(parts) - 1)
    return "/".join(parts[: dated + 1])


def same_record(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Return the pairs of one record and step count; the first is the baseline (by name, else by the file's order)."""
    usable = [group for group in groups if len(group.finite()) >= PAIR_LEAST and len(set(group.finite())) > 1]
    pairs = []
    for place, first in enumerate(usable):
        for second in usable[place + 1 :]:
            if first.steps == second.steps and record_of(first.name) == record_of(second.name):
                swap = "baseline" in second.name and "baseline" not in first.name
                pairs.append((second, first) if swap else (first, second))
    return pairs


def on_pairs(groups: Sequence[Group], rng: np.random.Generator, *, alpha: float) -> list[Json]:
    """Return, for each real pair, how often each rule promotes the second over the first, and at what cost."""
    return [_pair(first, second, rng, alpha=alpha) for first, second in same_record(groups)]


def _pair(first: Group, second: Group, rng: np.random.Generator, *, alpha: float) -> Json:
    left, right = np.array(first.finite()), np.array(second.finite())
    noise = raw_noise([left, right])
    baseline, candidate = np.zeros(REPLAYS, dtype=np.int64), np.ones(REPLAYS, dtype=np.int64)
    single = single_design(alpha)
    runs = single.looks[-1]
    ours = replay_single(single, noise.draw(rng, baseline, runs), noise.draw(rng, candidate, runs))
    stream = Campaigns(noise, baseline, rng).propose(stream_design(ledger().grant()), 0.0, tried_group=candidate)
    welch = Welch(alpha=alpha)
    fixed = welch.compare(noise.draw(rng, baseline, welch.seeds), noise.draw(rng, candidate, welch.seeds), rng)
    spread = float(np.sqrt((left.var(ddof=1) + right.var(ddof=1)) / 2))
    gain = float(left.mean() - right.mean())
    return {
        "baseline": first.name,
        "candidate": second.name,
        "steps": first.steps,
        "runs": [len(left), len(right)],
        "gain": gain,
        "d": gain / spread,
        "ours_single": {"promoted": float(ours.promoted.mean()), "mean_seeds": float(ours.seeds.mean())},
        "ours_stream": {"promoted": float(stream.promoted.mean()), "mean_seeds": float(stream.seeds.mean())},
        "welch_fixed": {"promoted": float(fixed.promoted.mean()), "mean_seeds": float(welch.seeds)},
    }


def on_splits(groups: Sequence[Group], rng: np.random.Generator, *, alpha: float) -> Json:
    """Return the share of promotions when real groups are split into two arms, without replacement."""
    promoted, played, used = 0.0, 0, 0
    for group in groups:
        values = np.array(group.finite())
        if len(values) < SPLIT_LEAST or len(set(values.tolist())) < 2:
            continue
        design = _shortened(single_design(alpha), len(values) // 2)
        order = rng.permuted(np.broadcast_to(values, (REPLAYS, len(values))), axis=1)
        half = design.looks[-1]
        ended = replay_single(design, order[:, :half], order[:, half : 2 * half])
        promoted += float(ended.promoted.sum())
        played += REPLAYS
        used += 1
    return {"groups": used, "false_promotion_single": promoted / played if played else None}


def _shortened(design: Design, most: int) -> Design:
    """Return the design that spends what the whole one would up to this many seeds, and then stops."""
    count = max(2, sum(1 for seeds in design.looks if seeds <= most))
    return make_design(
        design.looks[:count],
        alpha=design.alpha,
        shares=(*design.shares[: count - 1], sum(design.shares[count - 1 :])),
        futility=(*design.futility[: count - 1], 1.0),
    )


def on_curves(curves: Sequence[Curves]) -> Json:
    """Return what stopping doomed runs early does: to other runs of the baseline, and to changed configurations.

    A run is doomed when it ends more than one standard deviation above the mean of the baseline's runs, and a winner
    when it ends below that mean. Each is judged by curves that its own is not among.
    """
    tables: list[tuple[Curves, Floats, Floats]] = []
    for each in curves:
        table = _table(each)
        if table is not None and not any(_is_copy(table[2], other) for _, _, other in tables):
            tables.append(table)
    same = [
        _fate(np.delete(values, place, axis=0), steps, values[place])
        for _, steps, values in tables
        if len(values) > CURVES_LEAST
        for place in range(len(values))
    ]
    changed: dict[bool, list[tuple[bool, bool, float]]] = {True: [], False: []}
    for first, steps, values in tables:
        for second, other_steps, others in tables:
            if first is second or first.steps != second.steps or len(values) < CURVES_LEAST:
                continue
            shared = np.intersect1d(steps, other_steps)
            if len(shared) >= POINTS_LEAST:
                own = values[:, np.isin(steps, shared)]
                one_record = record_of(first.name) == record_of(second.name)
                changed[one_record] += [_fate(own, shared, curve) for curve in others[:, np.isin(other_steps, shared)]]
    return {
        "same_configuration": _fates(same),
        "changed_within_a_record": _fates(changed[True]),
        "changed_between_records": _fates(changed[False]),
        "all": _fates(same + changed[True] + changed[False]),
    }


def _is_copy(values: Floats, others: Floats) -> bool:
    """Whether the same logs stand there twice, which would be no independent evidence."""
    return values.shape == others.shape and np.array_equal(values, others)


def _table(curves: Curves) -> tuple[Curves, Floats, Floats] | None:
    """Return the steps that all runs of a group share, and the values there: float64 [runs, steps]; None if too few."""
    shared = set.intersection(*(set(curve) for curve in curves.values.values()))
    steps = sorted(step for step in shared if step > 0)
    if len(curves.values) < 2 or len(steps) < POINTS_LEAST or steps[-1] != curves.steps:
        return None
    values = np.array([[curve[step] for step in steps] for curve in curves.values.values()])
    return curves, np.array(steps, dtype=np.float64), values


def _fate(baseline: Floats, steps: Floats, curve: Floats) -> tuple[bool, bool, float]:
    """Return whether the run won, whether it was doomed, and the share of its training that stopping it saves."""
    final = baseline[:, -1]
    place = doomed_at(predictor(baseline, steps), curve)
    saved = 0.0 if place is None else float(1 - steps[place] / steps[-1])
    won = bool(curve[-1] < final.mean())
    return won, bool(not curve[-1] <= final.mean() + final.std(ddof=1)), saved


def _fates(fates: Sequence[tuple[bool, bool, float]]) -> Json:
    winners = [saved for won, _, saved in fates if won]
    doomed = [saved for _, lost, saved in fates if lost]
    stopped = sum(saved > 0 for saved in winners)
    return {
        "runs": len(fates),
        "doomed": len(doomed),
        "doomed_stopped": sum(saved > 0 for saved in doomed) / len(doomed) if doomed else None,
        "compute_saved_of_doomed": float(np.mean(doomed)) if doomed else None,
        "compute_saved": float(np.mean([saved for _, _, saved in fates])) if fates else None,
        "winners": len(winners),
        "winners_stopped": stopped,
        "winners_stopped_share": stopped / len(winners) if winners else None,
    }
