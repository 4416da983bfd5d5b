"""What holds for every test."""

import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import settings
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

# A busy machine makes any example slow: how long one takes is no property of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="module", autouse=True)
def old_objects_are_not_looked_at_again() -> None:
    """Every run collects garbage at its end, which takes seconds where thousands of tests have left their objects."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def a_yaml_file_is_parsed_once() -> Iterator[None]:
    """Hydra reads some twenty files each time that it composes, hundreds of times in these tests."""

    @cache
    def parsed(text: str) -> Any:
        return yaml.load(text, Loader=get_yaml_loader())

    def load(file: Any) -> Any:
        if not hasattr(file, "read"):
            return plain(file)
        found = parsed(file.read())
        return OmegaConf.create() if found is None else OmegaConf.create(found)

    plain = OmegaConf.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(load))
        yield
