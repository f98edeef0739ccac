"""An audit tells what is vulnerable, what is not, and that it does not know."""

import pytest

from . import audit
from .audit import CANARY, Verdict, conclude, judge

WANTED = {"django": "5.2.19", "requests": "2.34.2"}
KNOWN = {"name": CANARY, "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["5.2.20", "6.0.9"]}


def clean(name: str) -> dict:
    return {"name": name, "version": WANTED[name], "vulns": []}


def skipped(name: str) -> dict:
    return {"name": name, "skip_reason": f"Dependency not found on PyPI and could not be audited: {name}"}


def report(*entries: dict) -> dict:
    return {"dependencies": list(entries), "fixes": []}


def test_nothing_is_found_where_nothing_is():
    verdict = judge(report(clean("django"), clean("requests"), KNOWN), WANTED)

    assert verdict == Verdict(vulnerable=[], unaudited=[])
    assert conclude(verdict, WANTED, is_required=True) == 0


def test_vulnerable_package_fails_and_says_what_mends_it(capsys):
    flawed = {"name": "django", "version": "5.2.19", "vulns": [FLAW]}
    verdict = judge(report(flawed, clean("requests"), KNOWN), WANTED)

    assert conclude(verdict, WANTED, is_required=False) == 1
    assert "VULNERABLE: django 5.2.19: PYSEC-2026-1, mended in 5.2.20, 6.0.9" in capsys.readouterr().out


@pytest.mark.parametrize(
    "blind",
    [
        report(),
        report(skipped("django"), skipped("requests"), skipped(CANARY)),
        report(clean("django"), clean("requests")),
        report(clean("django"), clean("requests"), {**KNOWN, "vulns": []}),
    ],
    ids=["out of reach", "knows no version", "leaves the canary out", "has no advisories"],
)
def test_service_that_does_not_know_the_canary_proves_nothing(blind, capsys):
    verdict = judge(blind, WANTED)

    assert verdict == Verdict(vulnerable=[], unaudited=["django", "requests"])
    assert conclude(verdict, WANTED, is_required=False) == 0
    said = capsys.readouterr().out
    assert "WARNING: NOT AUDITED: django, requests." in said
    assert "0 of 2 packages audited." in said
    assert conclude(verdict, WANTED, is_required=True) == 1


def test_package_that_is_passed_over_is_named():
    verdict = judge(report(clean("django"), skipped("requests"), KNOWN), WANTED)

    assert verdict == Verdict(vulnerable=[], unaudited=["requests"])


def test_accepted_vulnerability_is_passed_over(monkeypatch):
    monkeypatch.setattr(audit, "ACCEPTED", {FLAW["id"]: "concerns a view that the app has not"})
    flawed = {"name": "django", "version": "5.2.19", "vulns": [FLAW]}

    assert judge(report(flawed, clean("requests"), KNOWN), WANTED).vulnerable == []


def test_canary_itself_is_not_reported():
    assert judge(report(clean("django"), clean("requests"), KNOWN), WANTED).vulnerable == []
