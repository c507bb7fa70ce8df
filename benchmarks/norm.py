"""RMSNorm of ours beside PyTorch's, Hugging Face's formula and LayerNorm: training on one thread.

`python benchmarks/norm.py` prints microseconds, medians: forward, and forward with backward.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sublayer.layers.norm import RMSNorm


class Decomposed(nn.RMSNorm):
    """The formula as transformers writes it (LlamaRMSNorm), in the type of the input at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """`... m` -> `... m`."""
        wide = x.float()
        mean = wide.pow(2).mean(-1, keepdim=True)
        return (self.weight * (wide * torch.rsqrt(mean + 1e-5)).to(x.dtype)).to(x.dtype)


KINDS: dict[str, Callable[[int], nn.Module]] = {
    "sublayer": RMSNorm,
    "torch": lambda m: nn.RMSNorm(m, eps=1e-5),
    "transformers": Decomposed,
    "layer norm": nn.LayerNorm,
}


def times(norm: nn.Module, x: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Seconds of the forward pass, and of both."""
    x = x.clone().requires_grad_()
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        out = norm(x)
    middle = time.perf_counter()
    out.backward(gradient)
    return middle - begin, time.perf_counter() - begin


def main() -> None:
    """A line for each size, type and kind; the kinds take turns."""
    warnings.simplefilter("ignore")  # torch's own warns of bfloat16 beside a weight in float32
    torch.set_num_threads(1)
    for n, m in ((4096, 192), (1024, 512)):
        for dtype in (torch.float32, torch.bfloat16):
            norms = {name: make(m) for name, make in KINDS.items()}
            x, gradient = torch.randn(n, m, dtype=dtype), torch.randn(n, m, dtype=dtype)
            rounds: list[dict[str, tuple[float, float]]] = [
                {
                    name: times(norm, x, gradient.to(norm(x[:1]).dtype))
                    for name, norm in norms.items()
                }
                for _ in range(50)
            ]
            for name in KINDS:
                forward, both = (
                    1e6 * statistics.median(one[name][i] for one in rounds) for i in (0, 1)
                )
                print(f"{n} x {m} {str(dtype)[6:]:9}{name:13}{forward:6.0f}{both:6.0f}")


if __name__ == "__main__":
    main()
