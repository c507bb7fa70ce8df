"""Root mean square layer normalization."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


@final
class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, eq. 4).

    The mean is taken in float32, and what leaves has the type of `x`. In training on a CPU it is
    written out in few passes, forward and backward, of which PyTorch's own takes many.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d_model)), eps

    def extra_repr(self) -> str:
        """The width and what is added to the mean, as `nn.RMSNorm` shows them."""
        return f"{len(self.weight)}, eps={self.eps}"

    def forward(self, x: Tensor) -> Tensor:
        """`... m` -> `... m`."""
        if (
            x.device.type == "cpu"
            and torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and (x.requires_grad or self.weight.requires_grad)
        ):
            return _FewPasses.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class _FewPasses(torch.autograd.Function):
    """With r = 1 / sqrt(mean(x^2) + eps) and g the gradient of y = x r weight:

    weight's is the sum of g r x over all vectors, and x's is r weight g - x r^3 mean(weight g x).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """`... m` -> `... m`."""
        wide = torch.promote_types(weight.dtype, torch.float32)
        with torch.autocast("cpu", enabled=False):
            size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
            r = size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()  # ... 1
            ctx.save_for_backward(x, weight, r)
            return (x * r).mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of `x` and of the weight."""
        x, weight, r = ctx.saved_tensors
        m = x.shape[-1]
        x, r, wide = x.reshape(-1, m).to(r.dtype), r.view(-1, 1), weight.to(r.dtype)
        with torch.autocast("cpu", enabled=False):
            scaled = gradient.reshape(-1, m) * r  # r g
            product = scaled * x  # r g x
            of_weight = product.sum(0)
            back = torch.mv(product, wide).unsqueeze(1).mul_(r * r).div_(-m)
            of_x = scaled.mul_(wide).addcmul_(x, back)
        return of_x.to(gradient.dtype).view(gradient.shape), of_weight.to(weight.dtype), None
