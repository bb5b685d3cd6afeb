"""docs/limits.md is true: each row of its table has tests that provoke it, next to the tests of what it is about."""

from helpers import limits


def test_every_row_has_a_test_and_every_test_a_row():
    starts = set(limits.marks())
    missing = [row.what for row in limits.table() if not any(row.what.startswith(start) for start in starts)]
    assert not missing
    for start in starts:
        limits.row_of(start)
