"""A run without a chance is stopped while it runs, by real processes."""

from __future__ import annotations

from tests.acceptance.cli import Product

FILE = """
[campaign]
name = "curve"
kind = "autopilot"
product = "test"

[trainer]
command = ["python", "-m", "tests.acceptance.toy_curve.train"]
timeout = "60s"
grace = "3s"

[knobs.rate]
type = "float"
default = 0.3
min = 0.1
max = 0.9
max_step = 0.1

[metrics.loss]
direction = "min"
primary = true

[gate]
approval = "waived"
waived_by = "the test"
reason = "nothing is at stake"

[decision]
calibration = 6
confirmation = 2

[autopilot.stop]
proposals = 1
"""


def test_a_run_without_a_chance_is_stopped_and_its_proposal_given_up(product: Product) -> None:
    """Its incident says why, and the verdict does not call it a failure."""
    file = product.home.parent / "curve.toml"
    file.write_text(FILE, encoding="utf-8")

    said = product.say("campaign", "run", str(file))
    report = product.json("campaign", "report")
    runs = product.json("run", "list")
    told = product.say("campaign", "report")

    assert said.code == 0, said.err
    assert "has no chance left: at step " in said.err
    (trial,) = report["trials"]
    assert trial["verdict"]["outcome"] == "inconclusive"
    assert trial["verdict"]["reason"].endswith("had no chance left and were stopped")
    assert trial["failure"] == "doomed"
    assert report["sources"]["one-axis"]["failed"] == 0
    assert "-0" not in told.out.split()
    assert "cancelled" in {run["stage"] for run in runs}
