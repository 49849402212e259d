"""The program that trains: `python -m pilothouse.programs.language.train`.

A resumed attempt goes on from its own last checkpoint and ends with the same bytes as one that was never stopped, on
the same kind and number of devices. The evaluation set is measured at the start, at intervals if asked, and at the end,
where each example's loss is told. A loss that is no number, or that has left all reason, ends the run.
"""

from __future__ import annotations

from pilothouse import trainer


def main() -> None:
    """Train in the run folder."""
    with trainer.start() as run:
        # SIGTERM is answered from here on; loading JAX takes its time.
        from pilothouse.programs.language.training import train_run  # noqa: PLC0415  as above

        train_run(run)


if __name__ == "__main__":
    main()
