"""A server in this process, from its first moment to its last."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import httpx2
import pytest

from pilothouse.cli.campaign_run import read_address
from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell
from pilothouse.errors import Conflict, UsageError
from pilothouse.settings import Settings
from pilothouse.wiring.listening import Address, bound, listen
from pilothouse.wiring.server import ServerOrder, serve
from pilothouse.wiring.server_file import SERVER_FILE, living_server
from pilothouse.wiring.serving import WORK, Serving, shown
from pilothouse.wiring.workspace import open_workspace


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

    order = ServerOrder(address=Address(host="127.0.0.1", port=0))
    caught = serve(Settings(home=tmp_path, product=None), order, ready=ready, waiting=lambda _: None)

    assert (found, caught) == ([True], number)
    assert not (tmp_path / SERVER_FILE).exists()
    assert threading.active_count() <= before
    assert signal.getsignal(number) is handler


def test_a_loop_is_shown_while_it_runs_and_gives_no_work_away(tmp_path: Path) -> None:
    """Its runs go to this machine's own factory, as was approved; the note and the thread end with the block."""
    before = threading.active_count()
    workspace = open_workspace(Settings(home=tmp_path, product=None), create=True)
    with Engine(workspace.store, workspace.clock) as engine:
        serving = Serving(workspace=workspace, engine=engine, bell=Bell(), closed=WORK)
        with shown(serving, Address(host="127.0.0.1", port=0)) as url, httpx2.Client(base_url=url) as client:
            note = living_server(tmp_path)
            page, claim = client.get("/gate"), client.post("/fleet/claim", json={"factory": "f1", "boot": "b1"})
    workspace.store.close()

    assert note is not None
    assert (note.url, page.status_code) == (url, 200)
    assert (claim.status_code, claim.json()["title"]) == (403, "Refused")
    assert not (tmp_path / SERVER_FILE).exists()
    assert threading.active_count() <= before


def test_a_port_that_is_taken_is_told_before_anything_runs(tmp_path: Path) -> None:
    workspace = open_workspace(Settings(home=tmp_path, product=None), create=True)
    with Engine(workspace.store, workspace.clock) as engine, bound(Address(host="127.0.0.1", port=0)) as listening:
        listen(listening, Address(host="127.0.0.1", port=0))
        serving = Serving(workspace=workspace, engine=engine, bell=Bell())
        taken = Address(host="127.0.0.1", port=listening.getsockname()[1])
        with pytest.raises(Conflict, match="cannot be had"), shown(serving, taken):
            pytest.fail("it was served on a port that another holds")
    workspace.store.close()


@pytest.mark.parametrize(
    ("text", "host", "port"), [("8750", "127.0.0.1", 8750), ("192.0.2.1:1", "192.0.2.1", 1), ("[::1]:0", "::1", 0)]
)
def test_an_address_is_a_port_with_or_without_its_host(text: str, host: str, port: int) -> None:
    assert read_address(text) == Address(host=host, port=port)


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "1:99999", "-1", "1.5", "\u0661"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        read_address(text)
