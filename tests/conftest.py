"""What holds for every test."""

import gc

import pytest
from hypothesis import settings

# A busy machine makes any example slow: how long one takes is no property of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="module", autouse=True)
def old_objects_are_not_looked_at_again() -> None:
    """Every run collects garbage at its end, which takes seconds where thousands of tests have left their objects."""
    gc.freeze()
