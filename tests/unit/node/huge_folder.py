"""A folder of huge pages for tests, where the machine lets them have one."""

import pytest

from zgen_node.io import huge_pages


def huge_folder() -> int:
    """Return a descriptor of one, or skip the test."""
    found = huge_pages.make_folder()
    if found is None:
        pytest.skip("no tmpfs with huge pages can be mounted here")
    return found
