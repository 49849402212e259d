"""Worker processes that make shards."""

import multiprocessing
import os
from math import factorial

import pytest

from pilothouse.programs.forty_two.pool import Stopped, WorkerFailed, each_done


def never() -> bool:
    return False


def test_every_task_is_done_once() -> None:
    """More tasks than workers; each comes back with its own result."""
    done = dict(each_done(factorial, [5, 4, 3, 2, 1], workers=2, stopping=never))
    assert done == {5: 120, 4: 24, 3: 6, 2: 2, 1: 1}
    assert multiprocessing.active_children() == []


def test_no_tasks_need_no_worker() -> None:
    """An empty list ends at once."""
    assert list(each_done(factorial, [], workers=4, stopping=never)) == []


def test_a_failing_task_is_named_with_its_account() -> None:
    """The worker's traceback comes along, and the workers are gone."""
    with pytest.raises(WorkerFailed, match=r"(?s)-1 failed:.*factorial\(\) not defined for negative"):
        list(each_done(factorial, [-1, 3], workers=2, stopping=never))
    assert multiprocessing.active_children() == []


def test_a_dead_worker_is_noticed() -> None:
    """A process that ends over its task is an error, not an endless wait."""
    with pytest.raises(WorkerFailed, match="died over 9"):
        list(each_done(os._exit, [9], workers=1, stopping=never))


def test_a_request_to_stop_ends_the_workers() -> None:
    """No result is waited for once the caller wants to stop."""
    with pytest.raises(Stopped):
        list(each_done(factorial, [1, 2, 3], workers=1, stopping=lambda: True))
    assert multiprocessing.active_children() == []
