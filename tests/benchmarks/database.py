"""Creates, empties or destroys the benchmark's database: `python -m tests.benchmarks.database create`"""

import json
import sys

import django
from django.core.management import call_command
from django.db import connection


def create() -> str:
    """Return the name and version of the database server. A database of that name is replaced."""
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    return f"{connection.display_name} {'.'.join(map(str, connection.get_database_version()))}"


def empty() -> None:
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")


def destroy() -> None:
    connection.creation.destroy_test_db(verbosity=0)


if __name__ == "__main__":
    django.setup()
    action = {"create": create, "empty": empty, "destroy": destroy}[sys.argv[1]]
    sys.stdout.write(json.dumps(action()) + "\n")
