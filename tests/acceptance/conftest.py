"""The built wheel, installed in an environment with nothing but its requirements."""

import os
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ..conformance.conftest import _sdk_rc29_process, sdk_rc29  # noqa: F401 # fixtures
from ..programs import environment
from .project import Project


@pytest.fixture(scope="session")
def wheel() -> Path:
    folder = os.environ.get("ORQ_WHEELS")
    if not folder:
        pytest.skip("needs the built wheel: make acceptance")
    (found,) = Path(folder).resolve().glob("*.whl")
    return found


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new virtual environment with the wheel, with the versions that the tests use."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(folder / "bin" / "python", *install, wheel, *required_as_here())
    return folder / "bin"


def required_as_here() -> list[str]:
    required = (Requirement(line) for line in requires("django-orq") or ())
    return [f"{each.name}=={version(each.name)}" for each in required if each.marker is None]


def run(*command: str | Path) -> None:
    subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, check=True)  # noqa: S603 # the above


@pytest.fixture
def project(programs, tmp_path, orq_sandbox) -> Project:
    """An empty project whose workspace is `orq_sandbox`, with an empty database."""
    return Project(tmp_path, programs=programs, api_key=orq_sandbox.api_key, base_url=orq_sandbox.base_url)
