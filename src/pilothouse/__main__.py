"""The command line's entry: `python -m pilothouse` and the `pilothouse` script."""

from pilothouse.cli.main import main

if __name__ == "__main__":
    main()
