"""Signals in a storm: a process that is asked to stop in any moment, more than once, stops."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

STORM = """
import os, subprocess, threading, time
from pilothouse.launch.ears import Ears

heard, stop = [], threading.Event()

def on(number):
    heard.append(number)
    stop.set()

with Ears(on):
    own = os.getpid()
    loop = f"trap '' INT TERM; while kill -TERM {own} && kill -INT {own}; do :; done"
    storm = subprocess.Popen(["sh", "-c", loop], start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(set(heard)) < 2 and time.monotonic() < end:
        stop.wait(0.0001)
    for _ in range(20000):
        stop.set()
        stop.clear()
    storm.kill()
    storm.wait()
print(sorted(set(heard)))
"""
HARSH = """
import os, signal, threading
from pilothouse.launch import ears

ears.AGAIN_SECONDS = 0.0
stop = threading.Event()
with ears.Ears(lambda number: stop.set(), harsh=True):
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(10), "the first was not heard"
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(10)
"""


def ended(script: str) -> subprocess.CompletedProcess[str]:
    """Return how a process of this script ended, within its time."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False)


def test_signals_that_interrupt_each_other_lock_nothing() -> None:
    """They come while the main thread holds the event's lock, and while an earlier one is being taken."""
    done = ended(STORM)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(sorted({int(signal.SIGINT), int(signal.SIGTERM)}))


def test_a_second_one_of_a_kind_has_its_usual_effect() -> None:
    assert ended(HARSH).returncode == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_handlers_before_come_back(number: signal.Signals) -> None:
    script = f"""
import signal
from pilothouse.launch.ears import Ears
before = signal.getsignal({number.value})
with Ears(print):
    assert signal.getsignal({number.value}) is not before
print(signal.getsignal({number.value}) is before)
"""
    assert ended(script).stdout.strip() == "True"
