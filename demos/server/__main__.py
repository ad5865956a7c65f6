"""`python -m demos.server STORE [--port P]`: the viewer as a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demos.errors import DemosError
from demos.server.app import serve


def main(argv: list[str] | None = None) -> int:
    """Serve one store; return 1 with the reason where that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m demos.server", description=serve.__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args(argv)
    try:
        serve(arguments.store, port=arguments.port)
    except DemosError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
