"""The program that evaluates: `python -m pilothouse.programs.forty_two.evaluate`.

Inputs: `golden`, sealed token sets; `checkpoint`, optional: without it an untrained network of the configured preset is
measured, which is the baseline of the first iteration. It writes the metrics and one row per example.
"""

from pilothouse import trainer


def main() -> None:
    """Evaluate in the run folder."""
    with trainer.start() as run:
        # SIGTERM is answered from here on; loading JAX takes its time.
        from pilothouse.programs.forty_two.evaluation import evaluate_run  # noqa: PLC0415  as above

        evaluate_run(run)


if __name__ == "__main__":
    main()
