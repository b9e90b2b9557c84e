"""Warnings of the kit, in its own voice and on one line wherever they are shown: a terminal, a notebook, a report."""

import warnings

_format = warnings.formatwarning


class Note(UserWarning):
    """A warning that says all there is to know, so that the path and the line of source that raised it are left out."""


def as_note(message: Warning | str) -> str:
    """A warning's one line."""
    return f"note: {message}"


def _format_notes(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """What stands for ``warnings.formatwarning``; only notes are not as Python has them."""
    if issubclass(category, Note):
        return f"{as_note(message)}\n"
    return _format(message, category, filename, lineno, line)


warnings.formatwarning = _format_notes
