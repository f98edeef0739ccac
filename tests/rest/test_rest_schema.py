"""The views with and without drf-spectacular; `make schema` tests them against the schema."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT_SPECTACULAR = """
import sys
sys.modules["drf_spectacular"] = None
import django
django.setup()
import django_orq.rest.urls
assert "django_orq.rest.schema" not in sys.modules
print(len(django_orq.rest.urls.urlpatterns))
"""


def run(*command: str, tmp_path: Path, settings: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": settings, "DEMO_DIR": str(tmp_path), "ORQ_API_KEY": "key"}
    return subprocess.run(  # noqa: S603 # our own words
        [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


def test_views_work_without_drf_spectacular(tmp_path):
    outcome = run("-c", WITHOUT_SPECTACULAR, tmp_path=tmp_path, settings="tests.settings")

    assert (outcome.stdout.strip(), outcome.stderr) == ("12", "")


def test_schema_is_valid_and_describes_every_operation(tmp_path):
    arguments = ("manage.py", "spectacular", "--validate", "--fail-on-warn", "--format=openapi-json")
    outcome = run(*arguments, tmp_path=tmp_path, settings="example_project.settings")

    assert (outcome.returncode, outcome.stderr) == (0, "")
    described = json.loads(outcome.stdout)
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    assert len(operations) == 16
    for operation in operations:
        assert {int(status) for status in operation["responses"]} >= {400, 401, 403, 404, 406, 429, 500, 503}
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"][0] in ("conversations", "changes", "sync-runs")
    listing = described["paths"]["/orq/conversations/"]["get"]
    assert all(parameter.get("description") for parameter in listing["parameters"])
    assert "requestBody" not in described["paths"]["/orq/sync-runs/{id}/resume/"]["post"]
    components = described["components"]["schemas"]
    assert {"replaced", "overtaken_by", "state"} <= components["RenamedConversation"]["properties"].keys()
    assert components["SyncRunDetail"]["properties"]["state"]["allOf"] == [
        {"$ref": "#/components/schemas/SyncRunState"}
    ]
