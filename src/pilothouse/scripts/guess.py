"""What an argument is for, guessed by its name, its type and its default; every guess says why it was made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilothouse.scripts.argument import Argument, Kind

CHOICES_MOST = 8


class Role(StrEnum):
    """What becomes of an argument in the campaign file."""

    KNOB = "knob"
    MAYBE = "maybe"
    """Nothing is known of it but that it is a number: a knob for a person to take in."""
    FIXED = "fixed"
    MISSING = "missing"
    """It must be given, and only a person knows what."""
    SEED = "seed"
    RUN_FOLDER = "run folder"
    RUN_FILE = "run file"
    LEFT = "left"
    """It is not told, so the script's own default holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A role with its reason; of a knob also its range, scale and largest step."""

    role: Role
    why: str = ""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    bucket: str = "other"
    risk: str = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How far the arguments of a name may move.

    A rule of factors goes from the default divided by `spread` to the default times `spread`, within `least` and
    `most`; without a spread these two are the range.
    """

    names: str
    what: str
    bucket: str
    spread: float = 0.0
    least: float = 0.0
    most: float = math.inf
    step: float | None = None
    risk: str = "low"


_SEED: Final = re.compile(r"^(random_|rng_|manual_|global_)?seed$|^random_state$")
_FOLDER: Final = re.compile(
    r"^(out|output|outputs|results?|save|run|log|logging|work|working|exp|experiment)_?(dir|directory|folder|root)?$"
    r"|^(logdir|outdir|savedir|workdir|rundir)$|^(checkpoints?|ckpt)_?(dir|directory|folder)$"
)
_FILE: Final = re.compile(
    r"^(out|output|save|results?|summary|metrics)_?(file|path|json|to)$|^(summary|metrics)$|^(checkpoint|model)_(out|output)$"
)
_PACE: Final = re.compile(
    r"(^|_)(epochs?|iterations?|iters?|updates|timesteps|episodes|rounds)$|^(max|num|n|total|train)_steps$|^steps$"
    r"|^max_(iter|epochs)$"
)
_MEASURE: Final = re.compile(r"(^|_)(loss|criterion|objective|metric|scoring|metrics)$")
_INFRA: Final = re.compile(
    r"(^|_)(device|gpus?|cuda|cpu|workers?|threads?|jobs|port|host|rank|world|backend|dist|distributed|precision|dtype|"
    r"fp16|bf16|amp|compile|verbose|quiet|debug|log|logs|interval|every|freq|frequency|wandb|project|entity|tags?|name|"
    r"resume|data|dataset|path|dir|file|root|url|tokenizer|env|task|split|val|eval|test|checkpoint|save|load|plot|show|"
    r"version|cache|profile|deterministic|download|classes|vocab|input|output|outputs|features|fold|folds|samples)(_|$)"
)
_RULES: Final = (
    _Rule(names=r"warm_?up", what="a warm-up", bucket="optimizer", spread=8),
    _Rule(
        names=r"(^|_)(lr|learning_rate|step_size|eta)(_|$)",
        what="a learning rate",
        bucket="optimizer",
        spread=100,
        most=10.0,
        step=3.0,
    ),
    _Rule(
        names=r"(weight_)?decay|(^|_)(l1|l2|reg|regularization|regularisation|alpha|ridge)(_|$)",
        what="a penalty",
        bucket="regularisation",
        spread=1000,
        most=1.0,
        step=10.0,
    ),
    _Rule(names=r"momentum|(^|_)beta_?[12]?$", what="a momentum", bucket="optimizer", most=0.999, step=0.2),
    _Rule(
        names=r"^gamma$|discount|gae|^lambda_?$|(^|_)ema(_|$)",
        what="a discount",
        bucket="objective",
        most=0.9999,
        step=0.05,
        risk="medium",
    ),
    _Rule(names=r"drop", what="a dropout", bucket="regularisation", most=0.9, step=0.2),
    _Rule(names=r"smooth", what="a smoothing", bucket="regularisation", most=0.5, step=0.1),
    _Rule(names=r"batch", what="a batch size", bucket="optimizer", spread=8, least=1, step=2.0),
    _Rule(
        names=r"(^|_)(hidden|width|dim|units|embed|embedding|channels|d_model|filters|neurons|size_hidden)(_|$)",
        what="a width",
        bucket="model",
        spread=8,
        least=1,
        step=2.0,
        risk="medium",
    ),
    _Rule(
        names=r"(^|_)(n_)?(layers?|depth|blocks?)(_|$)",
        what="a depth",
        bucket="model",
        spread=4,
        least=1,
        step=2.0,
        risk="medium",
    ),
    _Rule(
        names=r"estimators|trees|(^|_)leaf|leaves|(^|_)bins?$|neighbo",
        what="a size of the model",
        bucket="model",
        spread=8,
        least=1,
        step=2.0,
    ),
    _Rule(names=r"clip|max_norm", what="a clipping bound", bucket="optimizer", spread=10, step=3.0),
    _Rule(
        names=r"temperature|(^|_)tau$",
        what="a temperature",
        bucket="objective",
        spread=10,
        step=2.0,
    ),
    _Rule(
        names=r"(^|_)(eps|epsilon|tol)$",
        what="a small constant",
        bucket="optimizer",
        spread=100,
        step=10.0,
        risk="medium",
    ),
    _Rule(
        names=r"coef|(^|_)weight$|(^|_)ent(ropy)?(_|$)",
        what="a weight of the objective",
        bucket="objective",
        spread=30,
        step=3.0,
        risk="medium",
    ),
    _Rule(
        names=r"subsample|fraction|(^|_)frac$|ratio|(^|_)(prob|probability|p|rate|share)$",
        what="a share",
        bucket="other",
        most=1.0,
        step=0.2,
    ),
)
_SWITCHES: Final = re.compile(
    r"nesterov|augment|shuffle|normali[sz]e|(^|_)(bias|residual|norm|layernorm|batchnorm|amsgrad|bootstrap)(_|$)|^use_|"
    r"early_stopping|anneal|warm_start|standardi[sz]e|mirror|flip"
)


def guess(argument: Argument) -> Guess:
    """Return what the argument is for."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-.]", "_", argument.name).lower()
    trouble = _trouble(argument)
    if trouble:
        return Guess(role=Role.LEFT, why=trouble)
    special = _special(name, argument)
    if special is not None:
        return special
    if argument.default is None:
        if argument.required:
            return Guess(role=Role.MISSING, why="the script asks for it, and it has no default")
        return Guess(role=Role.LEFT, why="it has no default")
    if argument.many:
        return Guess(role=Role.FIXED, why="a list is no knob")
    return _movable(name, argument)


def _trouble(argument: Argument) -> str:
    """Return why the argument cannot be handed over, empty where it can."""
    if argument.trouble:
        return argument.trouble
    if not argument.option and argument.many:
        return "it takes several words without an option; write them into the command"
    return "" if _can_stand(argument) else f"its default {argument.default!r} is no value of a campaign file"


def _can_stand(argument: Argument) -> bool:
    """Return whether the default is a text, a number, a truth or, for an argument of several values, a list of them."""
    default = argument.default
    if isinstance(default, list | tuple):
        return argument.many and all(isinstance(item, str | int | float) for item in default)
    return default is None or isinstance(default, str | int | float)


def _special(name: str, argument: Argument) -> Guess | None:
    """Return the guess for what belongs to every run, None for anything else."""
    if _SEED.search(name) and argument.kind in {Kind.INT, Kind.TEXT, Kind.FLOAT}:
        return Guess(role=Role.SEED)
    if argument.kind is Kind.TEXT and not argument.choices:
        if _FOLDER.search(name):
            return Guess(role=Role.RUN_FOLDER)
        if _FILE.search(name) and (argument.default or re.search("summary|metrics|result", name)):
            return Guess(role=Role.RUN_FILE)
    return None


def _movable(name: str, argument: Argument) -> Guess:
    if _MEASURE.search(name):
        return Guess(role=Role.FIXED, why="it changes what is measured")
    if _PACE.search(name) and "warm" not in name:
        return Guess(role=Role.FIXED, why="it decides how long a run takes; fewer make a cheaper mode for a screen")
    if argument.kind in {Kind.INT, Kind.FLOAT} and not argument.choices:
        return _number(name, argument)
    if not _INFRA.search(name):
        if argument.kind is Kind.BOOL and _SWITCHES.search(name):
            return Guess(role=Role.KNOB, why="a switch of the training", bucket="other")
        if 1 < len(argument.choices) <= CHOICES_MOST:
            return Guess(role=Role.KNOB, why="a choice of the training", bucket="model", risk="medium")
    return Guess(role=Role.FIXED)


def _number(name: str, argument: Argument) -> Guess:
    rule = next((each for each in _RULES if re.search(each.names, name)), None)
    if rule is not None and not re.search(r"(^|_)(eval|test|val)(_|$)", name):
        return _ranged(rule, argument)
    if _INFRA.search(name):
        return Guess(role=Role.FIXED)
    if argument.low is not None and argument.high is not None:
        return _stated(argument)
    return Guess(role=Role.MAYBE, why="its name says nothing that is known")


def _ranged(rule: _Rule, argument: Argument) -> Guess:
    """Return the range around the default, within what the script states itself."""
    default = float(argument.default) if isinstance(argument.default, int | float) else 0.0
    whole = argument.kind is Kind.INT
    log = rule.spread > 0 and default > 0
    if log:
        low, high = max(default / rule.spread, rule.least), min(default * rule.spread, rule.most)
    else:
        low, high = rule.least, rule.most if math.isfinite(rule.most) else max(10 * abs(default), 100 if whole else 1.0)
    low, high = min(low, default), max(high, default)
    if whole:
        low, high = math.floor(low), math.ceil(high)
        low = max(low, 1) if log else low
    step = rule.step if log or rule.spread == 0 else (high - low) / 4
    return _clipped(
        Guess(
            role=Role.KNOB,
            why=rule.what,
            low=low,
            high=high,
            log=log,
            step=max(step, 1) if step is not None and whole and not log else step,
            bucket=rule.bucket,
            risk=rule.risk,
        ),
        argument,
    )


def _clipped(found: Guess, argument: Argument) -> Guess:
    """Return the guess within the range that the script states."""
    low = found.low if argument.low is None else max(found.low, argument.low)
    high = found.high if argument.high is None else min(found.high, argument.high)
    log = found.log and low > 0
    return Guess(
        role=found.role,
        why=found.why,
        low=_short(low),
        high=_short(high),
        log=log,
        step=found.step if log or not found.log else _short((high - low) / 4),
        bucket=found.bucket,
        risk=found.risk,
    )


def _stated(argument: Argument) -> Guess:
    """Return a knob within the range that the script itself states; wide ranges are taken by ratio."""
    low, high = argument.low or 0.0, argument.high or 0.0
    log = low > 0 and high / low > 100
    step = 3.0 if log else max((high - low) / 4, 1.0 if argument.kind is Kind.INT else 0.0)
    return Guess(role=Role.KNOB, why="the range is the script's own", low=low, high=high, log=log, step=_short(step))


def suggestion(argument: Argument) -> Guess:
    """Return a range for a number of which nothing is known, for a person to judge."""
    rule = _Rule(names="", what="nothing but its default", bucket="other", spread=4, step=2.0)
    return _ranged(rule, argument)


def _short(number: float) -> float:
    """Return the number without the dust of division."""
    return float(f"{number:.6g}")
