"""What holds for every test."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched while testing
torch.set_num_threads(1)  # for fixtures of modules, which come before those of tests
# a shell's background job begins deaf to Ctrl-C, and so would commands that tests start and stop
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("sublayer", deadline=None)  # no test is about time
hypothesis.settings.load_profile("sublayer")


@pytest.fixture(autouse=True)
def _alike() -> None:
    """The same random numbers and threads whether a test runs alone or behind others.

    Sums over more threads are rounded otherwise, which runs that are compared to the last bit feel;
    and tiny models are no faster by them.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
