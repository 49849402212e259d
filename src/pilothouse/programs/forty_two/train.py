"""The program that trains: `python -m pilothouse.programs.forty_two.train`.

Inputs: `tokens`, sealed token sets, joined in the given order; `checkpoint`, optional, whose weights it starts from,
with fresh moments. A resumed attempt goes on from its own last checkpoint and ends with the same bytes as one that was
never stopped. Each line it logs has the mean loss since the last one; a loss that is no number ends the run.
"""

from pilothouse import trainer


def main() -> None:
    """Train in the run folder."""
    with trainer.start() as run:
        # SIGTERM is answered from here on; loading JAX takes its time.
        from pilothouse.programs.forty_two.training import train_run  # noqa: PLC0415  as above

        train_run(run)


if __name__ == "__main__":
    main()
