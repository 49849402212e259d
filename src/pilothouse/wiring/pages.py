"""A campaign's pages for people: logbook, labbook, plot, and the pointer to what holds. All of them are views."""

from __future__ import annotations

import json

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.best import best_json, best_toml
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.progress_plot import progress_svg
from pilothouse.campaigns.record import Campaign, TrialState
from pilothouse.operations.campaign_report import campaign_plot
from pilothouse.operations.labbook import labbook_markdown
from pilothouse.operations.read_best import read_best
from pilothouse.operations.read_logbook import thread_markdown
from pilothouse.ports.store import Transaction
from pilothouse.wiring.workspace import Workspace, write_text


def write_pages(workspace: Workspace, campaign: Campaign) -> None:
    """Write what there is to show; each page is replaced in one step, the pointer to what holds last of all."""
    pages = workspace.pages(campaign)
    definition = definition_of(campaign.definition)
    with workspace.store.read() as tx:
        trials = tx.campaigns.trials(campaign.product, campaign.name)
        written = campaign.name in tx.entries.threads(campaign.product)
        if not any(trial.state is TrialState.JUDGED for trial in trials) and not written:
            return
        texts = {
            pages.logbook: thread_markdown(tx, campaign.product, campaign.name) if written else "",
            pages.labbook: labbook_markdown(tx, campaign),
            pages.plot: plot_svg(tx, campaign, definition),
        }
        best = read_best(tx, campaign, definition)
    if best is not None:
        texts[pages.config] = best_toml(best)
        texts[pages.best] = json.dumps(best_json(best), indent=2, ensure_ascii=False) + "\n"
    for path, text in texts.items():
        write_text(path, text)


def plot_svg(tx: Transaction, campaign: Campaign, definition: Definition) -> str:
    """Return the progress of a campaign as one SVG."""
    if isinstance(definition, AutopilotDefinition):
        return campaign_plot(tx, campaign, definition)
    return progress_svg(
        title=f"Campaign {campaign.name}",
        metric=definition.primary()[0],
        trials=tx.campaigns.trials(campaign.product, campaign.name),
        promotions=tx.campaigns.promotions(campaign.product, campaign.name),
    )
