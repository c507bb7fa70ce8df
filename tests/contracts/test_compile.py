"""`torch.compile` sees a whole model as one graph, training or not."""

from __future__ import annotations

import subprocess
import sys

# in a process of its own: the checks of shapes that run in tests are no code that compiles
SCRIPT = """
import torch
from sublayer import build

torch.set_num_threads(1)
network = build("transformer", vocab_size=11, d_model=8, n_layers=1, n_heads=2, d_ff=16)
source, target = torch.tensor([[5, 6, 2], [4, 2, 0]]), torch.tensor([[1, 4, 5], [1, 7, 0]])
compiled = torch.compile(network, backend="eager", fullgraph=True)
compiled(source, target, source != 0).sum().backward()
network.eval()
with torch.no_grad():
    expected = network(source, target, source != 0)
    torch.testing.assert_close(compiled(source, target, source != 0), expected)
"""


def test_one_graph():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
