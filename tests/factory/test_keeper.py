"""A factory that dies is replaced, its jobs come back, and dying for ever is said aloud."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pilothouse.factory.keeper import DEATHS_MAX, FactoryKeeper
from pilothouse.ids import BootId

SECONDS_MAX = 10.0


@dataclass(eq=False)
class Mortal:
    """A factory that can be told to die."""

    boot: BootId
    ended: threading.Event = field(default_factory=threading.Event)
    stopped: list[float] = field(default_factory=list)
    stoppers: set[int] = field(default_factory=set)

    def stop(self, *, grace_seconds: float) -> int | None:
        """Remember with which grace it was ended, and by which thread."""
        self.stopped.append(grace_seconds)
        self.stoppers.add(threading.get_ident())
        self.ended.set()
        return 0


@dataclass
class World:
    """Counts births, rescues and the end; `stillborn` factories are dead when they are started."""

    stillborn: bool = False
    born: list[Mortal] = field(default_factory=list)
    rescued: list[BootId] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    given_up: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0

    def start(self, boot: BootId) -> Mortal:
        """Start a factory."""
        child = Mortal(boot)
        if self.stillborn:
            child.ended.set()
        with self.changed:
            self.born.append(child)
            self.changed.notify_all()
        return child

    def keeper(self, *, rescue: Callable[[BootId], object] | None = None) -> FactoryKeeper:
        """Return a keeper of this world, opened."""
        boots = iter(range(1000))
        keeper = FactoryKeeper(
            self.start,
            rescue=rescue or self.rescued.append,
            new_boot=lambda: BootId(f"boot-{next(boots)}"),
            monotonic=lambda: self.seconds,
            given_up=self.given_up.set,
        )
        keeper.open()
        return keeper

    def wait_births(self, count: int) -> None:
        """Wait until so many factories were started."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.born) >= count, SECONDS_MAX)


def test_a_dead_factory_is_buried_rescued_and_replaced() -> None:
    """In this order, and under a new boot."""
    world = World()
    keeper = world.keeper()

    world.born[0].ended.set()
    world.wait_births(2)
    keeper.close(grace_seconds=7.0)

    assert world.rescued == ["boot-0"]
    assert world.born[0].stopped[0] == 0.0
    assert [child.boot for child in world.born] == ["boot-0", "boot-1"]
    assert world.born[1].stopped == [7.0]
    assert keeper.failure is None


def test_a_factory_that_is_told_to_end_is_not_replaced() -> None:
    """Closing is no death."""
    world = World()

    world.keeper().close(grace_seconds=1.0)

    assert len(world.born) == 1
    assert world.rescued == []


def test_factories_that_keep_dying_young_end_the_loop_with_the_reason() -> None:
    """Replacing has an end, every dead boot is rescued, and the person is told where to look."""
    world = World(stillborn=True)

    keeper = world.keeper()

    assert world.given_up.wait(SECONDS_MAX)
    keeper.close(grace_seconds=0.0)
    assert len(world.born) == len(world.rescued) == DEATHS_MAX
    assert keeper.failure is not None
    assert "factory.log" in keeper.failure.fix


def test_closing_while_a_dead_factory_is_replaced_starts_no_other() -> None:
    """Nobody would be left to stop it; and no two threads end one factory at once."""
    world, rescuing, go_on = World(), threading.Event(), threading.Event()

    def rescue(boot: BootId) -> None:
        world.rescued.append(boot)
        rescuing.set()
        assert go_on.wait(SECONDS_MAX)

    keeper = world.keeper(rescue=rescue)
    world.born[0].ended.set()
    assert rescuing.wait(SECONDS_MAX)
    closing = threading.Thread(target=keeper.close, kwargs={"grace_seconds": 3.0})
    closing.start()
    assert keeper.closing.wait(SECONDS_MAX)
    stopped_meanwhile = list(world.born[0].stopped)
    go_on.set()
    closing.join(SECONDS_MAX)

    assert not closing.is_alive()
    assert stopped_meanwhile == [0.0]
    assert len(world.born) == 1


def test_an_error_that_nobody_foresaw_ends_the_loop_with_its_name() -> None:
    """A thread that dies without a word leaves the loop waiting for ever."""
    world = World()

    def rescue(_: BootId) -> None:
        raise ZeroDivisionError("a fault")

    keeper = world.keeper(rescue=rescue)
    world.born[0].ended.set()

    assert world.given_up.wait(SECONDS_MAX)
    keeper.close(grace_seconds=0.0)
    assert keeper.failure is not None
    assert "a fault" in keeper.failure.message
