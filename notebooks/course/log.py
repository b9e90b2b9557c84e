"""A signed log of solved exercises, if a class wants one.

With COURSE_LOG (a file), COURSE_KEY (the key of the class) and COURSE_NAME in the environment, ``check`` adds a line
to the file for each exercise that is solved. Each line is signed together with the one before it, so that none can be
changed, moved or left out (but at the end) without the key. ``python -m course.log FILE ... --key KEY`` tells who
solved what.

What it proves: the lines were written by somebody who had the key. The key lies in the environment of the very
student whose answers are checked, so it does not keep a student who wants to cheat from writing lines; nor does it say
who sat at the keyboard. It shows progress. For marks, use ``course.assignment``.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


def note(exercise: str) -> None:
    """Add a line for a solved exercise, where a log is kept."""
    path, key = os.environ.get("COURSE_LOG"), os.environ.get("COURSE_KEY")
    if not path or not key:
        return
    file = Path(path)
    lines = _lines(file) if file.exists() else []
    before = json.loads(lines[-1])["signature"] if lines else ""
    said = [os.environ.get("COURSE_NAME", ""), exercise, datetime.now(UTC).isoformat(timespec="seconds")]
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"said": said, "signature": signature(key, before, said)}, ensure_ascii=False) + "\n")


def _lines(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    return text.rstrip("\n").split("\n") if text else []  # a name may have what Python takes for a line's end, too


def signature(key: str, before: str, said: Sequence[str]) -> str:
    """Of a line (name, exercise, time) and the signature before it."""
    return hmac.new(key.encode(), json.dumps([before, *said]).encode(), hashlib.sha256).hexdigest()


def verified(path: Path, key: str) -> list[list[str]]:
    """The lines of a log: name, exercise, time.

    Raises:
        ValueError: A line does not bear the signature that it should.
    """
    before, found = "", []
    for number, text in enumerate(_lines(path), 1):
        try:
            line = json.loads(text)
            said, signed = [str(part) for part in line["said"]], str(line["signature"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no line of a log") from error
        if not hmac.compare_digest(signed, signature(key, before, said)):
            raise ValueError(f"{path}, line {number}: it was not written with this key, or something before it is gone")
        before = signed
        found.append(said)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course.log", description="Who solved which exercises.")
    parser.add_argument("files", type=Path, nargs="+", help="logs")
    parser.add_argument("--key", required=True, help="the key of the class")
    given = parser.parse_args(arguments)
    failed = False
    for path in given.files:
        try:
            solved: dict[str, list[str]] = {}
            for name, exercise, _ in verified(path, given.key):
                solved.setdefault(name, []).append(exercise)
            for name, exercises in solved.items():
                print(f"{name or path.stem}: {', '.join(dict.fromkeys(exercises))}")
        except (OSError, ValueError) as error:
            failed = True
            print(error, file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
