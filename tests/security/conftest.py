"""What tests of hostile files share."""

import pytest

from helpers.canary import Canary, Watch


@pytest.fixture
def canary(tmp_path):
    """A file that must not appear, and a secret that must not be read."""
    return Canary(tmp_path)


@pytest.fixture
def sealed():
    """No socket, no name that is looked up, no question on stdin, no other program, while the test runs."""
    with Watch() as watch:
        yield watch
