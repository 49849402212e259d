"""Answer as the words say, one for each proposal on record and the last for all that follow: `agent.py WORD...`."""

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

CONTEXT, OUT = (Path(os.environ[name]) for name in ("PILOTHOUSE_CONTEXT", "PILOTHOUSE_OUT"))  # noqa: TID251  its folders


def read(name: str) -> Any:
    """Return one document of the context."""
    return json.loads((CONTEXT / name).read_text(encoding="utf-8"))


def answer(overrides: dict[str, Any], **more: Any) -> str:
    """Return an answer in good form, but for what is added."""
    words = dict.fromkeys(("rationale", "hypothesis", "rollback", "why_not_identical"), "a reason")
    return json.dumps({"overrides": overrides, "risk": "low", **words, **more})


def misbehave() -> None:
    """Try to leave a mark outside, and to look into the database and into other processes."""
    home = next(folder for folder in OUT.parents if folder.name == "home")
    for path in (home / "mark", home / "pilothouse.db", home.parent / "mark"):
        with suppress(OSError):
            path.open("ab").write(b"mark")
    for path in (home / "pilothouse.db", Path("/proc/1/environ"), Path.home() / ".." / ".." / "context" / "x"):
        with suppress(OSError):
            (OUT / "stolen").write_bytes(path.read_bytes())
    with suppress(OSError):
        (CONTEXT / "history.json").write_text("[]", encoding="utf-8")


tried = len(read("history.json"))
word = sys.argv[1:][min(tried, len(sys.argv) - 2)]
rate = read("parent.json")["rate"]
said = {
    "lower": answer({"rate": rate / 2}),
    "no json": "{",
    "unknown key": answer({"rate": rate / 2}, confidence=0.9),
    "unknown knob": answer({"rates": rate / 2}),
    "range": answer({"rate": 1e6}),
    "too many": answer({"rate": rate / 2, "width": 2}),
    "hostile": answer({"rate": rate / 2}),
    "slow": answer({"rate": rate / 2}),
}
(OUT / "asked").write_text(word, encoding="utf-8")
if word == "hostile":
    misbehave()
if word in {"late", "slow"}:
    threading.Event().wait(0.7 if word == "slow" else None)
(OUT / "proposal.json").write_text(said[word], encoding="utf-8")
