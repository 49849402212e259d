"""A server in this process, from its first moment to its last."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from pilothouse.settings import Settings
from pilothouse.wiring.server import ServerOrder, serve
from pilothouse.wiring.server_file import SERVER_FILE, living_server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_before_the_first_answer_ends_the_server_as_any_other(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Whoever finds the note may send one at once; the note goes, and no thread stays behind."""
    before, handler = threading.active_count(), signal.getsignal(number)
    found: list[bool] = []

    def ready(url: str) -> None:
        del url
        found.append(living_server(tmp_path) is not None)
        signal.raise_signal(number)

    order = ServerOrder(host="127.0.0.1", port=0)
    caught = serve(Settings(home=tmp_path, product=None), order, ready=ready, waiting=lambda _: None)

    assert (found, caught) == ([True], number)
    assert not (tmp_path / SERVER_FILE).exists()
    assert threading.active_count() <= before
    assert signal.getsignal(number) is handler
