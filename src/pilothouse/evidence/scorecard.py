"""How often each rule promotes noise, finds a true gain, and what it pays: measured on real runs with known truth.

Every figure is a plain count over replays (`evidence.replay`). `false_promotion_single` is the share of A/A proposals
that are promoted; `false_promotions_per_20` and `_per_100` the mean number of them in a night of so many A/A proposals;
`power` and `mean_seeds` the share promoted and the candidate runs paid, by the true gain in standard deviations;
`coverage` the share of intervals that contain the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilothouse.canonical import Json
from pilothouse.evidence.arms import Floats
from pilothouse.evidence.looks import single_design, stream_design
from pilothouse.evidence.replay import Campaigns, Ended, Noise, replay_single
from pilothouse.evidence.rivals import Greedy, MadBadge, PercentileBootstrap, Rule, Session, TwoBaselines, Welch
from pilothouse.evidence.stream import ledger

EFFECTS = (0.0, 0.5, 1.0, 2.0)
NIGHT = 100
EVERY = 10
"""In a campaign with true gains, each tenth proposal is one."""
CHUNK = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many replays stand behind the figures."""

    comparisons: int = 40_000
    nights: int = 4_000
    nights_with_gains: int = 1_000


Progress = Callable[[str], None]


def scorecard(noise: Noise, *, seed: int, alpha: float, sizes: Sizes, progress: Progress) -> dict[str, Json]:
    """Return the figures of every rule, by its name; the same seed gives the same figures."""
    rng = np.random.default_rng(seed)
    rules: dict[str, Json] = {}
    progress("ours, single")
    rules["ours_single"] = ours_single(noise, rng, alpha=alpha, sizes=sizes)
    progress("ours, stream")
    rules["ours_stream"] = ours_stream(noise, rng, sizes=sizes)
    cost = _mean_seeds(rules["ours_single"])
    for name, rule in rivals(alpha, cost=cost).items():
        progress(name)
        rules[name] = _rival(rule, noise, rng, sizes=sizes)
    return rules


def rivals(alpha: float, *, cost: int) -> dict[str, Rule]:
    """Return the rules beside ours; the last one is Welch at what ours pays for a gain of one standard deviation."""
    return {
        "greedy": Greedy(),
        "mad_badge": MadBadge(),
        "two_baselines": TwoBaselines(),
        "percentile_bootstrap": PercentileBootstrap(),
        "welch_fixed": Welch(seeds=5, alpha=alpha),
        "welch_same_cost": Welch(seeds=cost, alpha=alpha),
    }


def _mean_seeds(figures: Json) -> int:
    assert isinstance(figures, Mapping)
    seeds = figures["mean_seeds"]
    assert isinstance(seeds, Mapping)
    at_one = seeds["1"]
    assert isinstance(at_one, float)
    return max(2, round(at_one))


def ours_single(noise: Noise, rng: np.random.Generator, *, alpha: float, sizes: Sizes) -> dict[str, Json]:
    """Return the figures of one question at a time."""
    design = single_design(alpha)
    runs = design.looks[-1]
    by_effect: dict[float, Ended] = {}
    for effect in EFFECTS:
        group = noise.groups(rng, sizes.comparisons)
        baseline, candidate = noise.draw(rng, group, runs), noise.draw(rng, group, runs) - effect
        by_effect[effect] = replay_single(design, baseline, candidate)
    rate = float(by_effect[0.0].promoted.mean())
    covered = {effect: float(_covered(ended, effect).mean()) for effect, ended in by_effect.items()}
    return {
        "false_promotion_single": rate,
        "false_promotions_per_20": 20 * rate,
        "false_promotions_per_100": 100 * rate,
        "power": {_name(effect): float(by_effect[effect].promoted.mean()) for effect in EFFECTS[1:]},
        "mean_seeds": {_name(effect): float(by_effect[effect].seeds.mean()) for effect in EFFECTS},
        "coverage": float(np.mean(list(covered.values()))),
        "coverage_by_effect": {_name(effect): value for effect, value in covered.items()},
        "apparent_gain_of_promoted": _gains([by_effect[effect] for effect in EFFECTS[1:]]),
        "looks": list(design.looks),
    }


def ours_stream(noise: Noise, rng: np.random.Generator, *, sizes: Sizes) -> dict[str, Json]:
    """Return the figures of whole nights: A/A nights for the promise, each tenth a true gain for the power."""
    nulls = _night(noise, rng, nights=sizes.nights, gain=0.0)
    by_effect = {effect: _night(noise, rng, nights=sizes.nights_with_gains, gain=effect) for effect in EFFECTS[1:]}
    real = {effect: night[EVERY - 1 :: EVERY] for effect, night in by_effect.items()}
    covered = [_covered(ended, 0.0).mean() for ended in nulls]
    mixed = {
        effect: float(np.mean([_covered(e, 0.0 if (i + 1) % EVERY else effect).mean() for i, e in enumerate(night)]))
        for effect, night in by_effect.items()
    }
    return {
        "false_promotion_single": float(np.mean([ended.promoted.mean() for ended in nulls])),
        "false_promotions_per_20": float(sum(ended.promoted.mean() for ended in nulls[:20])),
        "false_promotions_per_100": float(sum(ended.promoted.mean() for ended in nulls)),
        "power": {_name(effect): _mean(each, "promoted") for effect, each in real.items()},
        "mean_seeds": {"0": _mean(nulls, "seeds")}
        | {_name(effect): _mean(each, "seeds") for effect, each in real.items()},
        "coverage": float(np.mean([float(np.mean(covered)), *mixed.values()])),
        "coverage_by_effect": {"0": float(np.mean(covered))}
        | {_name(effect): float(np.mean([_covered(e, effect).mean() for e in each])) for effect, each in real.items()},
        "false_promotions_per_100_after_confirmation": float(sum(ended.kept.mean() for ended in nulls)),
        "power_after_confirmation": {_name(effect): _mean(each, "kept") for effect, each in real.items()},
        "power_of_first_gain": {_name(effect): float(each[0].promoted.mean()) for effect, each in real.items()},
        "baseline_runs_per_proposal": {"0": _mean(nulls, "baseline_runs")}
        | {_name(effect): _mean(each, "baseline_runs") for effect, each in real.items()},
        "apparent_gain_of_promoted": _gains([ended for each in real.values() for ended in each]),
        "looks": list(stream_design(ledger().grant()).looks),
    }


def _night(noise: Noise, rng: np.random.Generator, *, nights: int, gain: float) -> list[Ended]:
    """Play nights of a hundred proposals in lock step and return each proposal's ends, in their order."""
    campaigns = Campaigns(noise, noise.groups(rng, nights), rng)
    book = ledger()
    ends = []
    for number in range(1, NIGHT + 1):
        level = book.grant()
        ends.append(campaigns.propose(stream_design(level), gain if number % EVERY == 0 else 0.0))
        book = book.charged(level)
    return ends


def _rival(rule: Rule, noise: Noise, rng: np.random.Generator, *, sizes: Sizes) -> dict[str, Json]:
    rates: dict[float, float] = {}
    covered: list[float] = []
    for effect in EFFECTS:
        found, inside = _compare(rule, noise, rng, effect=effect, count=sizes.comparisons)
        rates[effect] = found
        covered += [inside] if inside is not None else []
    per_20, per_100 = 20 * rates[0.0], 100 * rates[0.0]
    if isinstance(rule, Greedy | MadBadge | TwoBaselines):
        per_20, per_100 = (_session(rule, noise, rng, nights=sizes.nights, proposals=count) for count in (20, NIGHT))
    return {
        "false_promotion_single": rates[0.0],
        "false_promotions_per_20": per_20,
        "false_promotions_per_100": per_100,
        "power": {_name(effect): rates[effect] for effect in EFFECTS[1:]},
        "mean_seeds": {_name(effect): float(rule.seeds) for effect in EFFECTS},
        "coverage": float(np.mean(covered)) if covered else None,
    }


def _compare(
    rule: Rule, noise: Noise, rng: np.random.Generator, *, effect: float, count: int
) -> tuple[float, float | None]:
    """Return the share promoted, and the share of intervals that contain the truth where the rule states any."""
    promoted, inside, stated = 0, 0, False
    for _ in range(0, count, CHUNK):
        group = noise.groups(rng, CHUNK)
        baseline = noise.draw(rng, group, rule.baseline_runs)
        answer = rule.compare(baseline, noise.draw(rng, group, rule.seeds) - effect, rng)
        promoted += int(answer.promoted.sum())
        if answer.low is not None and answer.high is not None:
            stated = True
            inside += int(((answer.low <= effect) & (effect <= answer.high)).sum())
    played = CHUNK * len(range(0, count, CHUNK))
    return promoted / played, inside / played if stated else None


def _session(rule: Session, noise: Noise, rng: np.random.Generator, *, nights: int, proposals: int) -> float:
    runs = noise.draw(rng, noise.groups(rng, nights), rule.baseline_runs + proposals)
    return float(rule.night(runs).mean())


def _covered(ended: Ended, effect: float) -> Floats:
    inside: Floats = ((ended.low <= effect) & (effect <= ended.high)).astype(np.float64)
    return inside


def _mean(ends: Sequence[Ended], name: str) -> float:
    return float(np.mean([getattr(ended, name).mean() for ended in ends]))


def _gains(ends: Sequence[Ended]) -> dict[str, Json]:
    """Return the mean plain and shrunk gain of what was promoted; the truth is the mean of what it should be."""
    promoted = [ended.promoted for ended in ends]
    if not any(each.any() for each in promoted):
        return {"plain": None, "shrunk": None}
    plain = np.concatenate([ended.gain[each] for ended, each in zip(ends, promoted, strict=True)])
    shrunk = np.concatenate([ended.shrunk[each] for ended, each in zip(ends, promoted, strict=True)])
    return {"plain": float(plain.mean()), "shrunk": float(shrunk.mean())}


def _name(effect: float) -> str:
    return f"{effect:g}"
