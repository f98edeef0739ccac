"""Lays out the project without its package in the working folder, where the tests then find what is installed."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "django_orq"


def _left_out(folder: str, names: list[str]) -> set[str]:
    if Path(folder) != ROOT:
        return {"__pycache__"}
    return {name for name in names if name == PACKAGE or name.startswith(".") or name.endswith(".egg-info")}


if __name__ == "__main__":
    shutil.copytree(ROOT, Path.cwd(), ignore=_left_out, dirs_exist_ok=True)
