"""The index for the search by name: built and dropped on PostgreSQL, and used by admin and REST."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from django_orq.management.commands import orq_search_index
from django_orq.models import Conversation, searching
from django_orq.models.searching import has_index

from ..scale import Shares, fill, rows_read

LARGE = 100_000


def called(*words: str) -> list[str]:
    output = io.StringIO()
    call_command("orq_search_index", *words, stdout=output)
    return output.getvalue().splitlines()


@pytest.mark.skipif(connection.vendor == "postgresql", reason="there it works")
@pytest.mark.django_db
def test_other_databases_are_wrong_usage():
    with pytest.raises(CommandError, match="Only PostgreSQL") as error:
        called()
    assert error.value.returncode == 2
    assert not has_index("default")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="an index of PostgreSQL")
@pytest.mark.django_db(transaction=True)
@pytest.mark.xdist_group("scale")
class TestIndex:
    @pytest.fixture(autouse=True)
    def mirror(self, monkeypatch):
        monkeypatch.setattr(searching, "MAX_SEARCHED", 1_000)
        fill(LARGE, Shares())
        yield
        called("--drop")
        fill(0, Shares())

    def test_searches_cover_all_with_the_index_and_read_little(self, admin_client, statements):
        list_url, rest_url = "/admin/django_orq/conversation/", "/orq/conversations/"
        oldest = {"q": "conversation 17"}
        assert "1,000 conversations were searched" in admin_client.get(list_url, oldest).content.decode()
        assert admin_client.get(rest_url, {"search": "conversation 17"}).json()["searched_back_to"]

        assert called()[-1] == "The index is complete. Searches use it now."
        assert called() == ["The index exists already."]

        with statements() as executed:
            response = admin_client.get(list_url, {"q": "rsation 17777"})
        assert [row.display_name for row in response.context["cl"].result_list] == ["Conversation 17777"]
        assert "were searched" not in response.content.decode()
        listing = [sql for sql in executed if "django_orq_conversation" in sql and "LIKE" in sql]
        assert listing
        assert max(map(rows_read, listing)) < 2_000
        page = admin_client.get(rest_url, {"search": "rsation 17777"}).json()
        assert (page["searched_back_to"], len(page["results"])) == (None, 1)
        assert "were searched" in admin_client.get(list_url, {"q": "17"}).content.decode()  # too short for the index

        assert called("--drop") == ["The index was removed."]
        assert not has_index("default")

    def test_rest_of_an_interrupted_build_is_replaced(self):
        other = connection.copy()
        try:
            other.set_autocommit(False)
            with other.cursor() as writing, connection.cursor() as building:
                writing.execute("LOCK TABLE django_orq_conversation IN ROW EXCLUSIVE MODE")
                building.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                building.execute("SET statement_timeout = '500ms'")
                with pytest.raises(OperationalError):
                    building.execute(orq_search_index._CREATE)  # it waits for the other transaction
                building.execute("RESET statement_timeout")
        finally:
            other.close()
        assert not has_index("default")

        called()

        assert has_index("default")
        assert Conversation.objects.filter(display_name__icontains="conversation 99").exists()
