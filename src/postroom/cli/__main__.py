"""`python -m postroom.cli`: the same as `postroom`."""

from postroom.cli.main import main

if __name__ == "__main__":
    main()
