"""The newest versions of what the app needs, looked up among known vulnerabilities: `make audit`.

Ends with code 1 if one of them is vulnerable. An advisory service that can't be asked, or that answers without
knowing anything, proves nothing: that is told by asking for a package that is known to be vulnerable as well. Then
nothing was audited, which is said; with ORQ_AUDIT=required it is code 1 too.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SERVICES = ("pypi", "osv")
"""In turn, until one knows the canary."""
CANARY, CANARY_VERSION = "jinja2", "2.10"
"""CVE-2019-10906, and others since. The app does not need it."""
ACCEPTED: dict[str, str] = {}
"""Ids of vulnerabilities that don't concern this app, with the reason why."""
LONGEST = 300
"""Seconds for one service."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    vulnerable: Sequence[str]
    """What was found, a line for each."""
    unaudited: Sequence[str]
    """The names of packages of which nothing is known."""


def judge(report: Mapping[str, Any], dependencies: Mapping[str, str]) -> Verdict:
    """What a report of pip-audit says of ``dependencies`` (versions by name), if it knows its canary."""
    told = {entry["name"]: entry["vulns"] for entry in report["dependencies"] if "vulns" in entry}
    if not told.get(CANARY):
        told = {}
    found = [
        _describe(name, version, vulnerability)
        for name, version in dependencies.items()
        for vulnerability in told.get(name, ())
        if vulnerability["id"] not in ACCEPTED
    ]
    return Verdict(vulnerable=found, unaudited=[name for name in dependencies if name not in told])


def _describe(name: str, version: str, vulnerability: Mapping[str, Any]) -> str:
    mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
    return f"{name} {version}: {vulnerability['id']}, mended in {mended}"


def conclude(verdict: Verdict, dependencies: Mapping[str, str], *, is_required: bool) -> int:
    """Say it, and return the exit code."""
    for line in verdict.vulnerable:
        _say(f"VULNERABLE: {line}")
    if verdict.unaudited:
        _say(f"WARNING: NOT AUDITED: {', '.join(verdict.unaudited)}.")
        _say("No advisory service knew of them, as seen from here. ORQ_AUDIT=required makes this a failure.")
    _say(f"{len(dependencies) - len(verdict.unaudited)} of {len(dependencies)} packages audited.")
    return int(bool(verdict.vulnerable) or (is_required and bool(verdict.unaudited)))


def resolve() -> dict[str, str]:
    """The newest versions that pip would install today for the app alone, by name."""
    options = ("--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check", "--report", "-")
    done = subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-m", "pip", "install", *options, str(ROOT)], check=True, stdout=subprocess.PIPE, text=True
    )
    packages = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    return {_canonical(one["name"]): one["version"] for one in packages if _canonical(one["name"]) != "django-orq"}


def ask(service: str, dependencies: Mapping[str, str]) -> dict[str, Any]:
    """pip-audit's report on them and on the canary; an empty one if the service is out of reach."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        pinned = {**dependencies, CANARY: CANARY_VERSION}
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in pinned.items()))
        options = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", f"--requirement={wanted}")
        try:
            done = subprocess.run(  # noqa: S603 # our own words
                [sys.executable, "-m", "pip_audit", f"--vulnerability-service={service}", *options],
                check=False,
                capture_output=True,
                text=True,
                timeout=LONGEST,
            )
            report: dict[str, Any] = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            _say(f"{service}: no report within {LONGEST} s")
        except ValueError:
            _say(f"{service}: {(done.stderr.strip().splitlines() or ['no report'])[-1]}")
        else:
            return report
    return {"dependencies": []}


def main() -> int:
    dependencies = resolve()
    if CANARY in dependencies:
        raise SystemExit(f"{CANARY} is needed now: choose another canary.")
    for service in SERVICES:
        verdict = judge(ask(service, dependencies), dependencies)
        _say(f"{service} knows {len(dependencies) - len(verdict.unaudited)} of {len(dependencies)} packages")
        if len(verdict.unaudited) < len(dependencies):
            break
    return conclude(verdict, dependencies, is_required=os.environ.get("ORQ_AUDIT") == "required")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    sys.exit(main())
