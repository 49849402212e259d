"""The program that learns 42 by playing itself: `python -m pilothouse.programs.forty_two.self_play`.

Thousands of games are played side by side, by one network in all four seats, and learnt from; how good it is, is
measured on fixed deals against a fixed opponent. The seed decides weights, deals and luck; a resumed attempt ends with
the same bytes as one that was never stopped. A batch that is no number ends the run.
"""

from pilothouse import trainer


def main() -> None:
    """Learn in the run folder."""
    with trainer.start() as run:
        # SIGTERM is answered from here on; loading JAX takes its time.
        from pilothouse.programs.forty_two.self_play_training import self_play_run  # noqa: PLC0415  as above

        self_play_run(run)


if __name__ == "__main__":
    main()
