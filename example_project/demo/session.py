"""The README's session with curl, run as it stands there but for the address."""

import os
import re
import shutil
import subprocess

from .children import ROOT, DemoFailed

ADDRESS = "http://127.0.0.1:8000"
"""As the README has it: a demo takes another port where this one is in use."""
TIMEOUT = 120.0


def can_be_run() -> bool:
    return all(map(shutil.which, ("bash", "curl")))


def run_session(site: str) -> int:
    """How many lines of it there are; ``DemoFailed`` for the first that fails."""
    lines = _lines((ROOT / "README.md").read_text())
    script = "\n".join(("set -e -o pipefail", *lines)).replace(ADDRESS, site)
    done = subprocess.run(  # noqa: S603 # the README's own words
        ["bash", "-x", "-c", script],  # noqa: S607 # as people find it
        env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise DemoFailed(f"The README's session failed:\n{done.stderr}\n{done.stdout}")
    return len(lines)


def _lines(readme: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    (session,) = (block for block in blocks if "curl" in block)
    return [line.removeprefix("$ ") for line in session.splitlines() if line.startswith("$ ")]
