"""Draft a ferry's change, or mend its program, as one word says: `ferry.py WORD`."""

import json
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

CONTEXT, OUT = (Path(os.environ[name]) for name in ("PILOTHOUSE_CONTEXT", "PILOTHOUSE_OUT"))  # noqa: TID251  its folders


def read(name: str) -> Any:
    """Return one document of the context."""
    return json.loads((CONTEXT / name).read_text(encoding="utf-8"))


def draft(overrides: dict[str, Any], **more: Any) -> None:
    """Answer with a change."""
    words = dict.fromkeys(("rationale", "hypothesis", "rollback", "why_not_identical"), "the agent's reason")
    text = json.dumps({"overrides": overrides, "risk": "medium", **words, **more})
    (OUT / "proposal.json").write_text(text, encoding="utf-8")


def obeyed() -> dict[str, Any]:
    """Do what the text of others asks for, in commits and issues."""
    window = read("window.json")
    said = " ".join([each["subject"] for each in window["commits"]] + [each["title"] for each in window["issues"]])
    for path in re.findall(r"write (\S+)", said):
        with suppress(OSError):
            Path(path).write_text("obeyed", encoding="utf-8")
    return {name: float(value) for name, value in re.findall(r"set (\w+) to (\S+)", said)}


word = sys.argv[1]
(OUT / "asked").write_text(word, encoding="utf-8")
match word:
    case "half":
        draft({"rate": read("parent.json")["rate"] / 2})
    case "same":
        draft({}, why_not_identical="confirm the new driver")
    case "range":
        draft({"rate": 1e6})
    case "obey":
        draft(obeyed())
    case "die":
        os.abort()
    case "late":
        threading.Event().wait()
    case "slow":
        threading.Event().wait(0.7)
        draft({"rate": read("parent.json")["rate"] / 2})
