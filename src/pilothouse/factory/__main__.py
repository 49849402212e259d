"""`python -m pilothouse.factory`: the factory process."""

import os
import sys

from pilothouse.factory.process import main

if __name__ == "__main__":
    variables = dict(os.environ)  # noqa: TID251  what a job may see is filtered from this process's own environment
    sys.exit(main(sys.argv[1:], variables=variables))
