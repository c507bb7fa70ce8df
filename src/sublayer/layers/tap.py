"""A place to listen: an identity with a name."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


@final
class Tap(nn.Module):
    """Passes a tensor on; whoever wants to see it puts a forward hook on the tap.

    The tap's path in the model names the activation
    (`decoder.blocks.0.cross.layer.attend.weights`), as in TransformerLens' hook points. Nothing is
    stored, so an unheard tap costs nothing.
    """

    @property
    def heard(self) -> bool:
        """Whether somebody listens: asked by parts whose fused kernel could not show the tensor."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same tensor out."""
        return x
