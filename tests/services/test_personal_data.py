"""
All that is personal is taken along: a table of a user's that nobody thought of shows here.
"""

from gateway.catalog.tables import metadata
from gateway.services.personal_data import EXEMPT, SECTIONS


def test_every_table_of_a_users_is_in_a_section_or_is_exempt_with_a_reason() -> None:
    of_users = {
        table.name for table in metadata.sorted_tables if "user_id" in table.columns or table.name == "users"
    }
    told = {name for section in SECTIONS for name in section.tables}

    assert of_users == told | set(EXEMPT)
    assert set() == told & set(EXEMPT)
    assert all(EXEMPT.values())


def test_sections_have_names_of_their_own() -> None:
    names = [section.name for section in SECTIONS]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)
