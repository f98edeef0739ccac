"""The door without and with drf-spectacular; `make schema` holds the views to what is described."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WITHOUT_SPECTACULAR = """
import sys
sys.modules["drf_spectacular"] = None
import django
django.setup()
import django_orq.rest.urls
print(len(django_orq.rest.urls.urlpatterns))
"""


def run(*command: str, tmp_path: Path, settings: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": settings, "DEMO_DIR": str(tmp_path), "ORQ_API_KEY": "key"}
    return subprocess.run(  # noqa: S603 # our own words
        [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


def test_door_opens_without_drf_spectacular(tmp_path):
    outcome = run("-c", WITHOUT_SPECTACULAR, tmp_path=tmp_path, settings="tests.settings")

    assert (outcome.stdout.strip(), outcome.stderr) == ("7", "")


def test_schema_is_valid_and_made_without_a_warning(tmp_path):
    arguments = ("manage.py", "spectacular", "--validate", "--fail-on-warn")
    outcome = run(*arguments, tmp_path=tmp_path, settings="example_project.settings")

    assert outcome.returncode == 0, outcome.stderr
    assert "/orq/conversations/fetch/:" in outcome.stdout
    assert "Warning" not in outcome.stderr
