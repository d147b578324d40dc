"""``python -m livesegments.cli``: the command line."""

from livesegments.cli import main

if __name__ == "__main__":
    main()
