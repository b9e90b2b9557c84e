"""``python -m ablations``; see ``command_line``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """What ``command_line.main`` does; an interrupt while it is being imported is one sentence too."""
    try:
        from . import command_line
    except KeyboardInterrupt:
        print("interrupted before anything began", file=sys.stderr)
        return 130
    return command_line.main(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` and batch systems end it as Ctrl-C does
    sys.exit(main())
