"""``python -m ablations``: the command line, whose imports take seconds in which it can be interrupted as well."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; see ``command_line.main``.

    Args:
        arguments: Those of the command line; None takes this process's.

    Returns:
        The exit status: 0; 1 if a run failed; 2 for anything wrong with what was asked; 130 if interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "ablations", *arguments])
    try:
        from . import command_line

        return command_line.main(arguments, command)
    except KeyboardInterrupt:
        print(f"interrupted; go on with: {command}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` and batch systems end it as Ctrl-C does
    sys.exit(main())
