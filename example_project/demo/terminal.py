import sys
from contextlib import suppress


def say(text: str) -> None:
    """Tell the person at once. A terminal that can't show it must not keep the demo from stopping."""
    encoding = sys.stdout.encoding
    with suppress(OSError):
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()
