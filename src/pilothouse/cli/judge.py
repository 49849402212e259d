"""`pilothouse judge`: compare two files of runs, and plan how many runs a comparison needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pilothouse.cli.context import AsJson, open_existing, print_json, say

if TYPE_CHECKING:
    from pilothouse.canonical import Json
    from pilothouse.evidence.interval_plot import Bar
    from pilothouse.evidence.trial_verdict import Arms, Question, TrialVerdict
    from pilothouse.evidence.verdict import Direction

app = typer.Typer(help="Decide on noisy trainings with a stated error rate.", no_args_is_help=True)

ArmArgument = Annotated[Path, typer.Argument(metavar="CSV", show_default=False)]


@app.command("compare")
def compare(
    baseline: ArmArgument,
    candidate: ArmArgument,
    metric: Annotated[str, typer.Option(help="The column that decides.")] = "val_loss",
    direction: Annotated[str, typer.Option(help="Which way is better: min or max.")] = "min",
    smallest_effect: Annotated[float, typer.Option(help="Differences below this are of no interest.")] = 0.0,
    no_worse_by: Annotated[float | None, typer.Option(help="Also ask: is it no worse by more than this?")] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC:min|max[:MARGIN]", help="A metric that must not regress; may be repeated."),
    ] = None,
    looks: Annotated[
        str | None, typer.Option(metavar="3,5,8", help="Look after these numbers of seeds, at one error rate in all.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="The error rate.")] = 0.05,
    same_seeds: Annotated[
        bool, typer.Option("--same-seeds", help="Runs of one id share a seed: pair them where that pays.")
    ] = False,
    held_before: Annotated[
        int,
        typer.Option(min=0, help="On how many other variants (shape, machine, data set) the claim has held already."),
    ] = 0,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the intervals as SVG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs of a candidate with runs of its baseline: CSV files with the columns run and the metric.

    Failed runs are written as nan; with --looks, rows stand in the order of their launch. Columns `group` and `steps`
    are checked where there are any.
    """
    from pilothouse.evidence.looks import custom_design, judged_look, replay_looks
    from pilothouse.evidence.trial_verdict import Question, held_back, judge_trials, look_json

    texts = _texts(baseline, candidate)
    question = Question(
        metric=metric,
        direction=_direction(direction),
        alpha=alpha,
        smallest_effect=smallest_effect,
        no_worse_by=no_worse_by,
    )
    arms = _arms(texts, metric, same_seeds=same_seeds)
    verdict = judge_trials(question, arms, variants=1 + held_before)
    guards = [
        judge_trials(each, _arms(texts, each.metric, same_seeds=same_seeds))
        for each in _guards(guard or [], alpha=alpha)
    ]
    blocked = held_back(guards, alpha=alpha)
    result: dict[str, Json] = {
        **verdict.as_json(),
        "guards": [each.as_json() for each in guards],
        "held_back_by": blocked,
    }
    if looks is not None:
        here = replay_looks(
            custom_design(_numbers(looks), alpha=alpha),
            baseline=list(arms.baseline.values.values()),
            candidate=list(arms.candidate.values.values()),
            direction=question.direction,
        )
        look = look_json(here, direction=question.direction)
        outcome, reason = judged_look(here, smallest_effect=smallest_effect, no_worse_by=no_worse_by)
        result |= {**look, "outcome": outcome.value, "reason": reason, "look": look}
    if svg is not None:
        _write_svg(svg, [verdict, *guards])
    if as_json:
        print_json(result)
    else:
        _show(verdict, guards, blocked, result)


@app.command("plan")
def plan(
    effect: Annotated[float, typer.Option(help="The gain to be found, in the metric's unit.", show_default=False)],
    sigma: Annotated[float, typer.Option(help="Run-to-run standard deviation of the metric.", show_default=False)],
    power: Annotated[float, typer.Option(help="How surely it shall be found.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="The error rate, one-sided.")] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Say how many seeds per arm an effect needs, fixed and with sequential looks."""
    from pilothouse.evidence.power import plan as planned

    found = planned(effect=effect, sigma=sigma, power=power, alpha=alpha)
    if as_json:
        print_json(asdict(found))
        return
    say(f"effect             {found.effect:g} = {found.effect / found.sigma:.2f} standard deviations of a run")
    say(f"fixed number       {found.seeds_fixed} seeds per arm find it in {100 * found.power_fixed:.0f} % of cases")
    say(
        f"sequential looks   {found.seeds_sequential_mean:.1f} seeds per arm on average, {found.seeds_sequential_most} "
        f"at most, find it in {100 * found.power_sequential:.0f} %; without an effect they stop after "
        f"{found.seeds_without_effect:.1f}"
    )
    if found.power_sequential < found.power:
        say(f"note               the looks end before power {found.power:g}: use the fixed number instead")


def _texts(baseline: Path, candidate: Path) -> tuple[tuple[str, str], tuple[str, str]]:
    from pilothouse.cli.csv_files import read_text

    return (str(baseline), read_text(baseline)), (str(candidate), read_text(candidate))


def _arms(texts: Sequence[tuple[str, str]], metric: str, *, same_seeds: bool) -> Arms:
    from pilothouse.errors import BadValue
    from pilothouse.evidence.runs_file import one_arm, read_runs
    from pilothouse.evidence.trial_verdict import Arms

    left, right = (one_arm(read_runs(text, file=file, metric=metric), file=file, metric=metric) for file, text in texts)
    if left.steps != right.steps:
        raise BadValue(
            f"the step counts are mixed: {left.steps} in {texts[0][0]} and {right.steps} in {texts[1][0]}",
            fix="compare runs of the same number of steps only",
        )
    return Arms(baseline=left, candidate=right, same_seeds=same_seeds)


def _guards(texts: Sequence[str], *, alpha: float) -> list[Question]:
    from pilothouse.errors import BadValue
    from pilothouse.evidence.trial_verdict import Question

    found = []
    for text in texts:
        name, _, rest = text.partition(":")
        way, _, margin = rest.partition(":")
        try:
            limit = float(margin) if margin else None
        except ValueError as error:
            raise BadValue(f"the margin of guard {text!r} is no number", fix="write metric:min:0.01") from error
        found.append(Question(metric=name, direction=_direction(way or "min"), alpha=alpha, no_worse_by=limit))
    return found


def _direction(text: str) -> Direction:
    from pilothouse.errors import BadValue
    from pilothouse.evidence.verdict import Direction

    try:
        return Direction(text)
    except ValueError as error:
        raise BadValue(f"the direction is {text!r}", fix="write min or max") from error


def _numbers(text: str) -> tuple[int, ...]:
    from pilothouse.errors import BadValue

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadValue(f"the looks are {text!r}", fix="write rising numbers of seeds, such as 3,5,8") from error


def _write_svg(file: Path, verdicts: Sequence[TrialVerdict]) -> None:
    from pilothouse.cli.csv_files import write_text
    from pilothouse.evidence.interval_plot import interval_svg

    level = 100 * (1 - verdicts[0].question.alpha)
    unit = f"candidate minus baseline; {level:g} % intervals"
    write_text(file, interval_svg([_bar(each) for each in verdicts], title="Candidate against baseline", unit=unit))


def _bar(verdict: TrialVerdict) -> Bar:
    from pilothouse.evidence.interval_plot import Bar

    found = verdict.found
    return Bar(
        label=verdict.question.metric,
        low=found.interval.low,
        high=found.interval.high,
        estimate=found.difference,
        outcome=verdict.outcome,
    )


def _show(
    verdict: TrialVerdict, guards: Sequence[TrialVerdict], blocked: Sequence[str], result: Mapping[str, Json]
) -> None:
    look = result.get("look")
    if isinstance(look, Mapping):
        _show_look(verdict, result, look)
    for each in guards if isinstance(look, Mapping) else (verdict, *guards):
        _show_verdict(each)
    if blocked:
        say(f"held back by: {', '.join(blocked)}")
    if look is None:
        say("The error rate covers one look at these runs. For looking again as seeds arrive, name --looks.")


def _show_look(verdict: TrialVerdict, result: Mapping[str, Json], look: Mapping[str, Json]) -> None:
    """Say what the look decided; what one look at all runs would say is no verdict beside it."""
    from pilothouse.evidence.sequential import LEVEL

    say(f"{verdict.question.metric}: {result['outcome']}: {result['reason']}")
    _show_arms(verdict)
    low, high = (
        "unbounded" if end is None else f"{end:.4g}" for end in cast("Sequence[float | None]", look["interval"])
    )
    difference, shrunk, p, left = (
        cast("float", look[name]) for name in ("difference", "shrunk_difference", "p", "alpha_left")
    )
    say(
        f"  {look['step']} at {look['seeds']} seeds: difference {difference:.4g}, {100 * LEVEL:g} % interval "
        f"[{low}, {high}], p {p:.3g}; expect {shrunk:.4g}; alpha left {left:.3g}"
    )


def _show_verdict(each: TrialVerdict) -> None:
    from pilothouse.evidence.interval_plot import interval_text
    from pilothouse.evidence.trial_verdict import method_of

    found, question = each.found, each.question
    say(f"{question.metric}: {each.outcome.value} ({each.confidence.value}): {each.reason}")
    _show_arms(each)
    say(
        f"  difference {found.difference:.4g}, {100 * (1 - found.alpha):g} % interval [{found.interval.low:.4g}, "
        f"{found.interval.high:.4g}], p {found.p:.3g}; expect {found.shrunk:.4g}"
    )
    say(f"  {interval_text(_bar(each))}")
    say(f"  {method_of(found)}")


def _show_arms(each: TrialVerdict) -> None:
    arms = (("baseline", each.found.baseline), ("candidate", each.found.candidate))
    for (name, values), failed in zip(arms, each.failed, strict=True):
        lost = f", {failed} failed" if failed else ""
        say(f"  {name:<10} {values.mean():.6g} ± {values.std(ddof=1):.2g} over {len(values)} runs{lost}")


@app.command("floor")
def floor(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The campaign, if there are several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell the noise floor that was measured last, and whether it still holds."""
    from pilothouse.campaigns.kinds import definition_of
    from pilothouse.errors import NotFound
    from pilothouse.operations.calibrate import conditions_of, floor_json, stored_floors
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.wiring.conditions import code_commit, hardware_class

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, name)
        definition = definition_of(campaign.definition)
        floors = stored_floors(tx, campaign)
        now = conditions_of(tx, definition, campaign, code=code_commit(workspace.home), hardware=hardware_class())
    if not floors:
        raise NotFound(
            f"campaign {campaign.name} was never calibrated", fix="measure it: pilothouse campaign calibrate FILE"
        )
    if as_json:
        print_json([{**floor_json(each), "expired": each.expired(now)} for each in floors])
        return
    for each in floors:
        say(
            f"{each.metric}: noise floor {each.sigma:.4g} [{each.sigma_low:.4g}, {each.sigma_high:.4g}] over "
            f"{each.replicates} replicates; 8 seeds per arm find {each.detectable:.4g}"
        )
        if each.expired(now):
            say(f"  expired: {each.expired(now)}; calibrate again")
