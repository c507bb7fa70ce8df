from __future__ import annotations

import pytest
import torch

pytest.importorskip("numba")


@pytest.fixture(params=[1, 2], ids=lambda threads: f"{threads} threads")
def threads(request):
    """Loops for one thread and loops that several share are compiled apart."""
    torch.set_num_threads(request.param)
    return request.param
