"""`python -m meterhall` is the `meterhall` command."""

from meterhall.app.cli import main

if __name__ == "__main__":
    main()
