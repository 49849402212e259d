"""Run a throw-away PostgreSQL for as long as whoever started it lives.

    python -I -S postgres_keeper.py <folder to remove at the end> <account or nothing> <command> [argument ...]

Standard input is the line to the owner. When it closes, whatever closed it (a normal end, an exception, kill -9), the
server is told to stop at once and the folder is removed; after the word `keep` the folder stays for another start.
It imports nothing of pilothouse and starts in isolated mode, without `site`, to be quick.
"""

import pwd
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

KEEP = "keep"
STOP_SECONDS = 10.0


def main(argv: list[str]) -> int:
    """Start the server, wait for its end or the owner's, and return the server's exit status."""
    folder, account, command = argv[1], argv[2], argv[3:]
    server = subprocess.Popen(  # noqa: S603  the command is the test server's own
        command, stdin=subprocess.DEVNULL, cwd=folder, **as_account(account)
    )
    orders: list[str] = []
    threading.Thread(target=_listen, args=(server, orders), daemon=True).start()
    status = server.wait()
    if orders and orders[0] != KEEP:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def as_account(name: str) -> dict[str, Any]:
    """Return what makes a child run under an account, and nothing when no name is given."""
    if not name:
        return {}
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _listen(server: "subprocess.Popen[bytes]", orders: list[str]) -> None:
    """Wait until nobody holds the other end, then stop the server at once, and by force if it does not obey."""
    orders.append(sys.stdin.read().strip())
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
