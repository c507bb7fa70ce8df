"""What holds for every test."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched while testing

torch.set_num_threads(1)  # the models are tiny: more threads only wait for one another

hypothesis.settings.register_profile("sublayer", deadline=None)  # no test is about time
hypothesis.settings.load_profile("sublayer")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random numbers whether a test runs alone or with others."""
    torch.manual_seed(0)
