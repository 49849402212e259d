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


def mend(name: str, before: str, after: str) -> None:
    """Change the copy of the code, and say why."""
    place = OUT / "code" / name
    text = place.read_text(encoding="utf-8")
    assert before in text, name
    place.write_text(text.replace(before, after), encoding="utf-8")
    (OUT / "proposal.json").write_text('{"rationale": "the name was wrong", "risk": "low"}', encoding="utf-8")


def vandalise() -> None:
    """Touch everything that a patch may not, besides the mend itself."""
    mend("src/train.py", "batchh", "batch")
    code = OUT / "code"
    (code / ".github" / "workflows").mkdir(parents=True)
    (code / ".github" / "workflows" / "ci.yml").write_text("on: push", encoding="utf-8")
    (code / "daily.toml").write_text("approval = 'waived'", encoding="utf-8")
    (code / "src" / "link.py").symlink_to("/etc/passwd")
    (code / "src" / "batch.py").rename(code / "src" / "moved.py")
    (code / ".git").mkdir()
    (code / ".git" / "config").write_text("[core]\nfsmonitor = touch /tmp/owned", encoding="utf-8")
    (code / "src" / "data.bin").write_bytes(b"\0\1")
    with suppress(OSError):
        (OUT.parent / "context" / "log.txt").write_text("all is well", encoding="utf-8")


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
    case "mend":
        mend("src/train.py", "batchh", "batch")
        (OUT / "code" / "src" / "__pycache__").mkdir()
        (OUT / "code" / "src" / "__pycache__" / "train.pyc").write_bytes(b"\0")
    case "vandal":
        vandalise()
    case "flood":
        mend("src/train.py", "batchh", "batch\n" + "x = 1\n" * 10_000)
