"""The import contracts of setup.cfg, which `make check` checks too."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WITHOUT_ORM = """
import sys
import django_orq.service, django_orq.payloads, django_orq.exceptions, django_orq.conf
loaded = [name for name in sys.modules if name == "django.db" or name.startswith(("django.db.", "django_orq.models"))]
print(loaded)
"""


def test_upper_layers_import_lower_ones_only():
    command = [Path(sys.executable).with_name("lint-imports"), "--config", "setup.cfg", "--no-cache"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 # our own words

    assert outcome.returncode == 0, outcome.stdout


def test_service_works_without_the_orm_and_without_settings():
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    outcome = subprocess.run(  # noqa: S603 # our own words
        [sys.executable, "-c", WITHOUT_ORM], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )

    assert outcome.stdout.strip() == "[]"
