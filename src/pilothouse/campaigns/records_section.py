"""The tables of a campaign file that say what else is kept of it, and where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pilothouse.campaigns.sections import Section

_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Records(Section):
    """What is kept beside the home: with `commit` each applied config becomes a commit beside the campaign file."""

    commit: bool = False


class Wandb(Section):
    """Where Weights & Biases keeps the runs; `offline` writes to the home, for `wandb sync` to send later."""

    project: _Name
    entity: _Name | None = None
    mode: Literal["offline", "online"] = "offline"


class Mlflow(Section):
    """Where MLflow keeps the runs. `uri` is a tracking server's address or a folder; a password stands in neither."""

    uri: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\s@]+$")]
    experiment: _Name


class Tracking(Section):
    """Trackers to which runs are mirrored, as well as that goes: none of them ever holds up the loop."""

    wandb: Wandb | None = None
    mlflow: Mlflow | None = None
