"""What went wrong, in words: a loss that is no number, memory that is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def first_bad_module(network: nn.Module, run: Callable[[], Any]) -> str:
    """The first parameter or module output that is not finite; `run` does the step once more."""
    for name, parameter in network.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"parameter {name}"
    bad: list[str] = []

    def listen(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if (
                isinstance(output, Tensor)
                and output.is_floating_point()
                and not bool(output.isfinite().all())
            ):
                bad.append(path)

        return hook

    hooks = [
        module.register_forward_hook(listen(path))
        for path, module in network.named_modules()
        if path
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return f"output of {bad[0]}" if bad else "the loss itself"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is a device's or the machine's way to say that memory is short."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
