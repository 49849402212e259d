"""What every store must do with ferries and their monitors, as tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.campaigns.ferry_record import Ferry, Monitor
from pilothouse.errors import Conflict
from pilothouse.ids import CampaignName, RunId
from pilothouse.ports.store import Store
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import CAMPAIGN, PRODUCT

LATER = BEGIN + timedelta(hours=5)
RUN = RunId("daily-125m-2026-01-02")
FERRY = Ferry(
    product=PRODUCT,
    campaign=CAMPAIGN,
    number=1,
    run=RUN,
    tick=BEGIN,
    drafted_at=BEGIN,
    considered={"head": "c0ffee", "commits": []},
)
MONITOR = Monitor(product=PRODUCT, run=RUN, owner="ada", taken_at=BEGIN)
CLOSED = replace(FERRY, judged={"failure": ""}, closed_at=LATER, seal=f"ferry/daily/20260102/{RUN}")


class FerriesConformance:
    """Ferries, and who watches their runs."""

    def test_a_ferry_comes_back_and_is_found_by_its_run(self, store: Store) -> None:
        """Open and closed, by campaign and by name."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.ferries.put(FERRY)
            assert tx.ferries.by_run(PRODUCT, RUN) == FERRY
            tx.ferries.put(CLOSED)
        with store.read() as tx:
            assert tx.ferries.listed(PRODUCT, CAMPAIGN) == [CLOSED]
            assert tx.ferries.by_run(PRODUCT, RunId("another")) is None
            assert tx.ferries.listed(PRODUCT, CampaignName("another")) == []

    def test_of_many_ferries_only_the_newest_are_read_where_they_suffice(self, store: Store) -> None:
        """Their records, trials and proposals: a loop that looks each second reads no old ones."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            for number in (1, 2, 3):
                tx.ferries.put(replace(FERRY, number=number, run=RunId(f"{RUN}-{number}")))
                tx.campaigns.put_trial(values.make_trial(number=number))
                tx.proposals.add(values.make_proposal(number))

        with store.read() as tx:
            assert [each.number for each in tx.ferries.listed(PRODUCT, CAMPAIGN, least=2)] == [2, 3]
            assert [each.number for each in tx.campaigns.trials(PRODUCT, CAMPAIGN, least=3)] == [3]
            assert [each.number for each in tx.proposals.listed(PRODUCT, CAMPAIGN, least=2)] == [2, 3]
            assert len(tx.ferries.listed(PRODUCT, CAMPAIGN)) == 3

    @pytest.mark.parametrize(
        "changed",
        [replace(CLOSED, seal=""), replace(CLOSED, judged={"failure": "no"}), FERRY],
    )
    def test_a_closed_ferry_is_never_changed(self, store: Store, changed: Ferry) -> None:
        """Neither its seal nor its judgement, and it is not opened again."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.ferries.put(CLOSED)

        with pytest.raises(Conflict), store.write() as tx:
            tx.ferries.put(changed)

    def test_a_run_s_name_is_one_ferry_s(self, store: Store) -> None:
        """A second ferry cannot take it, and once it is admitted the first cannot lose it."""
        renamed = replace(FERRY, run=RunId("renamed"))
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.ferries.put(FERRY)

        with pytest.raises(Conflict), store.write() as tx:
            tx.ferries.put(replace(FERRY, number=2))
        with store.write() as tx:
            tx.ferries.put(renamed)
            assert tx.ferries.by_run(PRODUCT, RUN) is None
            tx.ferries.put(FERRY)
            tx.campaigns.put_trial(values.make_trial(number=FERRY.number))
        with pytest.raises(Conflict), store.write() as tx:
            tx.ferries.put(renamed)
        with store.read() as tx:
            assert tx.ferries.by_run(PRODUCT, RUN) == FERRY

    def test_a_run_has_one_monitor_with_one_owner(self, store: Store) -> None:
        """A handover replaces the owner, and what was seen is kept whole."""
        seen = replace(
            MONITOR,
            owner="grace",
            looked_at=LATER,
            moved_at=BEGIN,
            looks=2,
            state="degraded",
            step=5,
            total=9,
            detail="x",
        )
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.ferries.put(FERRY)
            tx.ferries.put_monitor(MONITOR)
            assert tx.ferries.monitor(PRODUCT, RUN) == MONITOR
            tx.ferries.put_monitor(seen)
        with store.read() as tx:
            assert tx.ferries.monitor(PRODUCT, RUN) == seen
            assert tx.ferries.monitor(PRODUCT, RunId("another")) is None
