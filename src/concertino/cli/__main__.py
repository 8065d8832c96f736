"""Runs the command: ``python -m concertino.cli``."""

from . import main

if __name__ == "__main__":
    main()
