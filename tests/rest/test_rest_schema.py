"""The door without and with drf-spectacular; `make schema` holds the views to what is described."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_orq.payloads import MAX_NAME

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


def test_door_opens_without_drf_spectacular(tmp_path):
    outcome = run("-c", WITHOUT_SPECTACULAR, tmp_path=tmp_path, settings="tests.settings")

    assert (outcome.stdout.strip(), outcome.stderr) == ("8", "")


def test_schema_is_valid_and_made_without_a_warning(tmp_path):
    arguments = ("manage.py", "spectacular", "--validate", "--fail-on-warn")
    outcome = run(*arguments, tmp_path=tmp_path, settings="example_project.settings")

    assert outcome.returncode == 0, outcome.stderr
    assert "/orq/conversations/fetch/:" in outcome.stdout
    assert "Warning" not in outcome.stderr


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> dict[str, Any]:
    """drf-spectacular as it comes; a warning fails."""
    arguments = ("manage.py", "spectacular", "--validate", "--fail-on-warn", "--format=openapi-json")
    folder = tmp_path_factory.mktemp("schema")
    outcome = run(*arguments, tmp_path=folder, settings="tests.subclassing.settings")
    assert outcome.returncode == 0, outcome.stderr
    described: dict[str, Any] = json.loads(outcome.stdout)
    return described


class TestProjectWithARouterOfItsOwn:
    def test_errors_of_every_action_are_described(self, described):
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                statuses = {int(status) for status in operation["responses"]}
                assert statuses >= {400, 401, 403, 404, 406, 429, 500, 503}, (method, path)
                assert operation["summary"]
                assert operation["description"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("get", "/own/{remote_id}/"),
            ("post", "/own/"),
            ("patch", "/own/{remote_id}/"),
            ("post", "/own/{remote_id}/refresh/"),
            ("post", "/own/fetch/"),
            ("post", "/one/fetch/"),
        ],
    )
    def test_answers_have_the_fields_of_its_own_serializer(self, described, method, path):
        answers = described["paths"][path][method]["responses"]
        names = fields_of(described, answers.get("200", answers.get("201")))

        assert names >= {"remote_id", "display_name", "shouted"}
        assert ({"replaced", "overtaken_by"} <= names) is (method == "patch")
        assert "state" not in names

    def test_its_own_words_go_before_ours(self, described):
        shown = described["paths"]["/own/{remote_id}/"]["get"]

        assert shown["summary"] == "One of ours"
        assert "503" in shown["responses"]

    @pytest.mark.parametrize("path", ["/own/{remote_id}/refresh/", "/runs/{id}/cancel/"])
    def test_what_wants_no_body_has_none(self, described, path):
        assert "requestBody" not in described["paths"][path]["post"]

    def test_name_has_its_limits(self, described):
        name = described["components"]["schemas"]["PatchedRename"]["properties"]["display_name"]

        assert (name["minLength"], name["maxLength"]) == (1, MAX_NAME)

    def test_progress_has_its_shape(self, described):
        run = described["components"]["schemas"]["SyncRunDetail"]["properties"]

        assert run["progress"]["allOf"] == [{"$ref": "#/components/schemas/Extent"}]
        assert run["state"]["allOf"] == [{"$ref": "#/components/schemas/SyncRunState"}]

    def test_every_filter_says_what_it_does(self, described):
        parameters = described["paths"]["/own/"]["get"]["parameters"]

        assert all(parameter.get("description") for parameter in parameters)


def fields_of(described: dict[str, Any], answer: dict[str, Any]) -> set[str]:
    schema = answer["content"]["application/json"]["schema"]
    references = [part["$ref"] for part in schema.get("allOf", [schema])]
    components = [described["components"]["schemas"][reference.rpartition("/")[2]] for reference in references]
    return {name for component in components for name in component["properties"]}
