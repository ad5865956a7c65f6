"""`python -m demos` is the `demos` command."""

from demos.cli import run

if __name__ == "__main__":
    run()
