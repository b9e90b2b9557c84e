"""``python -m ablations``: the command line, whose imports take seconds in which it can be interrupted as well."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Sequence

LEAST_MEMORY = 2**30  # bytes of addresses that the imports take


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
        _check_memory()
        from . import command_line

        return command_line.main(arguments, command)
    except KeyboardInterrupt:
        print(f"interrupted; go on with: {command}", file=sys.stderr)
        return 130
    except MemoryError as error:
        print(f"error: memory ran out: {error}; give it more, and go on with: {command}", file=sys.stderr)
        return 2


def _check_memory() -> None:
    """Refuse to import what OpenBLAS would wait for without an end.

    Raises:
        MemoryError: The addresses of a process are limited to fewer than the imports take.
    """
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if 0 <= limit < LEAST_MEMORY:
            raise MemoryError(f"ulimit -v allows {limit >> 20} MB, and {LEAST_MEMORY >> 20} MB are the least")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` and batch systems end it as Ctrl-C does
    sys.exit(main())
