"""What a lease allows, and what a lost one does."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.lease import BEATS_MISSED_MAX, Fenced, Lease, Renewed, expired, miss_beat, renew
from pilothouse.ids import Epoch, JobId
from pilothouse.testing.clock import BEGIN

EPOCHS = st.integers(0, 1000)
LAGS = st.integers(-(10**6), 10**6)


def lease(*, epoch: int = 3, beats_missed: int = 0) -> Lease:
    """Return a lease that is good until the beginning of time."""
    return Lease(job=JobId("job-1"), epoch=Epoch(epoch), expires_at=BEGIN, beats_missed=beats_missed)


@given(held=EPOCHS, current=EPOCHS, lag=LAGS, missed=st.integers(0, 9))
def test_the_epoch_alone_decides_a_renewal(held: int, current: int, lag: int, missed: int) -> None:
    """However late it comes, a holder of the present epoch keeps its lease; nobody else does."""
    now = BEGIN + timedelta(seconds=lag)

    decision = renew(lease(epoch=held, beats_missed=missed), current=Epoch(current), now=now, lease_seconds=30)

    if held == current:
        assert decision == Renewed(
            lease=Lease(job=JobId("job-1"), epoch=Epoch(held), expires_at=now + timedelta(seconds=30))
        )
    else:
        assert decision == Fenced(held=Epoch(held), current=Epoch(current))


@given(lag=LAGS, missed=st.integers(0, 9))
def test_a_rescue_needs_the_clock_and_the_silence(lag: int, missed: int) -> None:
    """A clock that jumped ahead rescues nobody who still beats, and silence within the lease is no loss."""
    now = BEGIN + timedelta(seconds=lag)

    assert expired(lease(beats_missed=missed), now=now) == (lag >= 0 and missed >= BEATS_MISSED_MAX)


def test_a_renewal_forgives_missed_beats() -> None:
    """The next sweeps count from nothing."""
    silent = miss_beat(miss_beat(lease()))
    assert expired(silent, now=BEGIN)

    decision = renew(silent, current=Epoch(3), now=BEGIN, lease_seconds=30)

    assert isinstance(decision, Renewed)
    assert not expired(decision.lease, now=BEGIN + timedelta(days=1))
