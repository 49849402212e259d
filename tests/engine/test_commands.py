"""How the coroutines that wait for the writer go on: together, in their own context, or not at all any more."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from pilothouse.engine.commands import Look, Loops, Patience, wake
from pilothouse.errors import StillPending

WHO: ContextVar[str] = ContextVar("who", default="nobody")


def asked_here() -> Look[str]:
    """Return a command of the running loop that nobody carries out."""
    command: Look[str] = Look(lambda _: "")
    command.attach(asyncio.get_running_loop())
    return command


async def awaited(command: Look[str]) -> str:
    """Return the answer of a command, as a task."""
    return await command


def answer(*commands: Look[str]) -> None:
    """Answer commands as the writer does, with one call for all of them."""
    loops: Loops = {}
    for number, command in enumerate(commands):
        command.answer(f"answer {number}")
        command.tell(loops)
    wake(loops)


def test_each_of_a_batch_gets_its_own_answer_or_error() -> None:
    """Also one that was answered before anybody waited for it."""

    async def work() -> list[object]:
        commands = [asked_here() for _ in range(3)]
        tasks = [asyncio.create_task(awaited(command)) for command in commands]
        await asyncio.sleep(0)
        early = asked_here()
        commands[1].refuse(ZeroDivisionError())
        answer(*commands, early)
        told: list[object] = list(await asyncio.gather(*tasks, return_exceptions=True))
        return [*told, await early]

    first, second, third, early = asyncio.run(work())

    assert (first, third, early) == ("answer 0", "answer 2", "answer 3")
    assert isinstance(second, ZeroDivisionError)


def test_a_task_goes_on_in_its_own_context() -> None:
    """And not in that of whoever woke it."""

    async def who(command: Look[str], name: str) -> tuple[str, str]:
        WHO.set(name)
        await command
        task = asyncio.current_task()
        return WHO.get(), "" if task is None else task.get_name()

    async def work() -> list[tuple[str, str]]:
        commands = [asked_here() for _ in range(2)]
        tasks = [
            asyncio.create_task(who(command, name), name=name)
            for command, name in zip(commands, ("ada", "bob"), strict=True)
        ]
        await asyncio.sleep(0)
        answer(*commands)
        return [await task for task in tasks]

    assert asyncio.run(work()) == [("ada", "ada"), ("bob", "bob")]


def test_a_cancelled_task_ends_at_once_and_the_answer_reaches_nobody() -> None:
    """The others of its batch are answered as ever."""

    async def work() -> tuple[bool, str]:
        gone, stays = asked_here(), asked_here()
        tasks = [asyncio.create_task(awaited(command)) for command in (gone, stays)]
        await asyncio.sleep(0)
        tasks[0].cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        answer(gone, stays)
        return gone.cancel(), await tasks[1]

    assert asyncio.run(work()) == (False, "answer 1")


def test_a_task_that_ends_the_loop_leaves_the_others_their_answers() -> None:
    """They go on when the loop does."""
    told: list[str] = []

    async def leave(command: Look[str]) -> None:
        await command
        raise SystemExit(3)

    async def tell(command: Look[str]) -> None:
        told.append(await command)

    async def start() -> tuple[list[Look[str]], list[asyncio.Task[None]]]:
        commands = [asked_here() for _ in range(3)]
        works = (tell(commands[0]), leave(commands[1]), tell(commands[2]))
        tasks = [asyncio.create_task(work) for work in works]
        await asyncio.sleep(0)
        return commands, tasks

    loop = asyncio.new_event_loop()
    commands, tasks = loop.run_until_complete(start())
    answer(*commands)
    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(tasks[2])
    loop.close()

    assert told == ["answer 0", "answer 2"]
    assert isinstance(tasks[1].exception(), SystemExit)


def test_a_loop_that_has_closed_is_not_woken() -> None:
    """Nobody is left there who could be told."""

    async def ask() -> Look[str]:
        return asked_here()

    command = asyncio.run(ask())

    answer(command)

    assert command.value() == "answer 0"


def test_only_those_out_of_patience_give_up() -> None:
    """Whatever the order in which they began to wait."""

    async def work() -> list[object]:
        patience = Patience(asyncio.get_running_loop())
        commands = [asked_here() for _ in range(4)]
        tasks = [asyncio.create_task(awaited(command)) for command in commands]
        for command, seconds in zip(commands, (60.0, 0.002, 60.0, 0.001), strict=True):
            patience.begin(command, seconds=seconds)
        late = await asyncio.gather(tasks[1], tasks[3], return_exceptions=True)
        for command in commands:
            patience.end(command)
        answer(*commands)
        return [*late, await tasks[0], await tasks[2]]

    late, later, first, third = asyncio.run(work())

    assert (first, third) == ("answer 0", "answer 2")
    assert isinstance(late, StillPending)
    assert isinstance(later, StillPending)
