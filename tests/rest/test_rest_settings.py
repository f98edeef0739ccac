"""The REST API in a project with other settings of REST framework, most of which are read when it is imported."""

import os
import subprocess
import sys

import pytest


@pytest.mark.any_database
def test_api_is_the_same_whatever_the_settings(request):
    cases = ("project_cases", "test_rest", "test_rest_changes", "test_rest_permissions", "test_rest_writes")
    options = ["-qq", "--no-cov", "-p", "no:cacheprovider", "-p", "no:xdist", "--ds=tests.rest.project_settings"]
    outcome = subprocess.run(  # noqa: S603 # ourselves
        [sys.executable, "-m", "pytest", *options, *(request.path.with_name(f"{case}.py") for case in cases)],
        cwd=request.config.rootpath,
        env=os.environ | {"DATABASE_URL": "sqlite://:memory:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout
