"""`ports.gate.Waivers` over a connection of either database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from pilothouse.errors import NotFound
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.proposal import Risk
from pilothouse.proposals.waiver import Admission, Standing, Waiver
from pilothouse.store import rows
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.rows import Row, at, instant, maybe_at


class StoredWaivers:
    """Waivers, and who opened the gate, within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("waivers")

    def grant(self, waiver: Waiver) -> None:
        """Keep a waiver; what it covers is never changed again."""
        self._connection.run(
            self._sql["add_waiver"],
            {
                "id": waiver.id,
                "product": waiver.product,
                "campaign": waiver.campaign,
                "granted_by": waiver.granted_by,
                "reason": waiver.reason,
                "knobs": rows.strict_json(list(waiver.knobs)),
                "buckets": rows.strict_json(list(waiver.buckets)),
                "risk": waiver.risk.value,
                "proposals": waiver.proposals,
                "terms": rows.strict_json(dict(waiver.terms)),
                "granted_at": instant(waiver.granted_at),
                "expires_at": instant(waiver.expires_at),
            },
        )

    def end(self, product: ProductId, waiver: str, *, by: str, now: datetime) -> None:
        """End a waiver before its time, once."""
        parameters: Parameters = {"product": product, "id": waiver, "ended_at": instant(now), "ended_by": by}
        if self._connection.run(self._sql["end_waiver"], parameters) == 0:
            raise NotFound(f"no waiver has the id {waiver!r}", fix="`pilothouse proposal waive --json` lists them")

    def standing(self, product: ProductId, name: CampaignName) -> Sequence[Standing]:
        """Return the waivers of a campaign with how many proposals each has let through, oldest first."""
        found = self._connection.rows(self._sql["waivers_of_campaign"], {"product": product, "name": name})
        return [Standing(waiver=_waiver(row), used=row["used"]) for row in found]

    def admit(self, admission: Admission) -> None:
        """Keep who opened the gate; a waiver that is used up is refused."""
        self._connection.run(
            self._sql["add_admission"],
            {
                "product": admission.product,
                "campaign": admission.campaign,
                "proposal": admission.proposal,
                "subject_digest": admission.subject_digest,
                "approver": admission.approver,
                "waiver": admission.waiver,
                "at": instant(admission.at),
            },
        )

    def admission(self, product: ProductId, proposal: ProposalId) -> Admission | None:
        """Return who opened the gate for a proposal, None if nobody has."""
        row = self._connection.row(self._sql["admission_of_proposal"], {"product": product, "proposal": proposal})
        if row is None:
            return None
        return Admission(
            product=row["product"],
            campaign=row["campaign"],
            proposal=row["proposal"],
            subject_digest=row["subject_digest"],
            approver=row["approver"],
            waiver=row["waiver"],
            at=at(row["at"]),
        )


def _waiver(row: Row) -> Waiver:
    return Waiver(
        id=row["id"],
        product=row["product"],
        campaign=row["campaign"],
        granted_by=row["granted_by"],
        reason=row["reason"],
        knobs=tuple(json.loads(row["knobs"])),
        buckets=tuple(json.loads(row["buckets"])),
        risk=Risk(row["risk"]),
        proposals=row["proposals"],
        terms=json.loads(row["terms"]),
        granted_at=at(row["granted_at"]),
        expires_at=at(row["expires_at"]),
        ended_at=maybe_at(row["ended_at"]),
        ended_by=row["ended_by"],
    )
