"""The command line's entry: `python -m pilothouse` and the `pilothouse` script."""


def main() -> None:
    """Run the command line."""


if __name__ == "__main__":
    main()
