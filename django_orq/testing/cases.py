"""A sandbox for each test of a class, for projects that test with unittest."""

from django.test import SimpleTestCase, override_settings

from .sandbox import OrqSandbox


class OrqTestCase(SimpleTestCase):
    """Runs an empty sandbox for each test: `self.orq`, which is also the workspace `default` of the settings.

    Combine it with Django's class for tests that use the database: `class MyTests(OrqTestCase, TestCase)`. Each
    request is tried once, so a fault reaches the code immediately. A `setUp` must call `super().setUp()` first.
    """

    orq: OrqSandbox

    def setUp(self) -> None:
        super().setUp()
        self.orq = self.enterContext(OrqSandbox())
        options = self.orq.settings()["default"] | {"RETRIES": {"attempts": 1}}
        self.enterContext(override_settings(ORQ_WORKSPACES={"default": options}))
