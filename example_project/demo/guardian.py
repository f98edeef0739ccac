"""Ends the process groups that its standard input names, once that input closes.

The demo writes "+<group>" and "-<group>", a line each, as its children come and go. However the
demo ends, by `kill -9` too, the pipe closes and nothing is left behind.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
