"""The gate opens for exactly what was seen, and for nothing that has drifted since."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.cli import Product, ended, until_training

GIT_DIGITS = 40
GATED = ('approval = "waived"\nwaived_by = "the test"\nreason = "nothing is at stake"', 'approval = "required"')


@pytest.fixture(name="product")
def _product(tmp_path: Path) -> Product:
    """Return a product in a repository of its own: an approval is bound to the code, which nobody edits there."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "code.py").write_text("1\n", encoding="utf-8")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "--no-verify", "-m", "begin")):
        subprocess.run(["git", *words], cwd=code, check=True)
    return Product(tmp_path / "home", folder=code)


def test_a_required_approval_holds_the_launch_until_it_is_given(product: Product) -> None:
    """Exit 3 names the proposal; after the approval the same command goes on."""
    file = str(product.file(GATED))

    refused = product.say("campaign", "run", file, "--once")
    proposal = product.json("proposal", "list")[0]["id"]
    status = product.json("campaign", "status")
    approved = product.say("proposal", "approve", proposal, "--by", "ada")
    ran = product.say("campaign", "run", file, "--once")

    assert refused.code == 3
    assert proposal in refused.err
    assert len(product.json("proposal", "show", proposal)["subject"]["code_commit"]) == GIT_DIGITS
    assert proposal in status["next_action"]
    assert status["state"] == "ready"
    assert approved.code == 0, approved.err
    assert ran.code == 0, ran.err
    assert product.json("proposal", "list")[0]["state"] == "admitted"


def test_what_drifts_before_the_launch_is_proposed_anew(product: Product) -> None:
    """An approval of another cost ceiling does not count, and the new proposal can be approved."""
    product.say("campaign", "run", str(product.file(GATED)), "--once")
    first = product.json("proposal", "list")[-1]["id"]
    product.say("proposal", "approve", first)
    dearer = str(product.file((GATED[0], GATED[1] + "\n\n[budget]\nhours = 5.0")))

    refused = product.say("campaign", "run", dearer, "--once")
    second = product.json("proposal", "list")[-1]["id"]
    product.say("proposal", "approve", second)
    ran = product.say("campaign", "run", dearer, "--once")

    assert refused.code == 3
    assert second != first
    assert second in refused.err
    assert ran.code == 0, ran.err
    states = {row["id"]: row["state"] for row in product.json("proposal", "list")}
    assert states == {first: "rejected", second: "admitted"}


def test_a_knob_moved_in_an_open_iteration_supersedes_its_training(product: Product) -> None:
    """The old training is cancelled, not finished first; the new one has the new value."""
    slow = ("config = {}", "config = { pause = 0.2 }")
    campaign = product.start("campaign", "run", str(product.file(slow)), "--once")
    until_training(product)
    campaign.send_signal(signal.SIGINT)
    ended(campaign)

    said = product.say("campaign", "run", str(product.file(slow)), "--once", "--set", "rate=0.06")

    runs = product.json("run", "list")
    assert said.code == 0, said.err
    assert [run["stage"] for run in runs] == ["shipped", "cancelled"]
    assert product.json("run", "show", runs[0]["run"])["spec"]["config"]["rate"] == 0.06
    assert product.json("campaign", "status")["iterations"][0]["verdict"] == "improved"
