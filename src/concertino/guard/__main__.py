"""The guard process, as a session starts it."""

from concertino.guard._watch import main

if __name__ == "__main__":
    main()
