"""Read a thread of the logbook: its entries, whether they are unbroken, and the page they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json
from pilothouse.errors import ChainBroken, NotFound
from pilothouse.ids import CampaignName, ProductId
from pilothouse.logbook.chain import verify
from pilothouse.logbook.entry import Entry
from pilothouse.logbook.markdown import render
from pilothouse.logbook.thread import ThreadHeader
from pilothouse.ports.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An unbroken thread: how many entries it has and the hash of the last."""

    thread: str
    entries: int
    head: str


def read_thread(tx: Transaction, product: ProductId, thread: str | None) -> Sequence[Entry]:
    """Return the entries of the thread of that name, or of the only one there is."""
    return tx.entries.thread(product, _named(tx, product, thread))


def verify_thread(tx: Transaction, product: ProductId, thread: str | None, *, head: str | None) -> Checked:
    """Return what was checked; raise `ChainBroken`, naming the first entry that does not follow."""
    name = _named(tx, product, thread)
    entries = tx.entries.thread(product, name)
    broken = verify(entries, product=product, thread=name, head=head)
    if broken is not None:
        raise ChainBroken(
            f"{name}, entry {broken.number}: {broken.detail}",
            fix="somebody wrote past the product; compare with a copy of the database or an exported page",
        )
    return Checked(thread=name, entries=len(entries), head=entries[-1].hash)


def thread_markdown(tx: Transaction, product: ProductId, thread: str | None) -> str:
    """Return the thread's page; its header is told by the campaign of the same name."""
    name = _named(tx, product, thread)
    campaign = tx.campaigns.get(product, CampaignName(name))
    entries = tx.entries.thread(product, name)
    return render(_header(name, campaign, entries), entries)


def _named(tx: Transaction, product: ProductId, thread: str | None) -> str:
    known = tx.entries.threads(product)
    if thread is not None and thread in known:
        return thread
    if thread is None and len(known) == 1:
        return known[0]
    listed = ", ".join(known) or "none yet"
    what = f"product {product} has no thread {thread!r}" if thread is not None else "name the thread"
    raise NotFound(what, fix=f"threads: {listed}")


def _header(name: str, campaign: Campaign | None, entries: Sequence[Entry]) -> ThreadHeader:
    """Return the scope from the campaign's definition, and the baseline from the first entry."""
    if campaign is None:
        return ThreadHeader(topic=name)
    definition = campaign.definition
    metrics = cast("Mapping[str, Mapping[str, Json]]", definition["metrics"])
    table = cast("Mapping[str, Json]", definition["campaign"])
    change_budget = cast("Mapping[str, Json]", definition["change_budget"])
    decision = cast("Mapping[str, Json]", definition["decision"])
    first = entries[0] if entries else None
    return ThreadHeader(
        topic=name,
        goal=str(table["goal"]),
        metrics=", ".join(
            f"{metric} ({values['direction']}{', primary' if values['primary'] else ''})"
            for metric, values in metrics.items()
        ),
        constraints=f"at most {change_budget['max']} knobs a proposal; error rate {decision['alpha']} a comparison",
        baseline_date=f"{first.at:%Y-%m-%d}" if first is not None else "",
        baseline_code=f"campaign definition {campaign.definition_digest[:16]}",
        baseline_numbers=first.body.result if first is not None else "",
    )
