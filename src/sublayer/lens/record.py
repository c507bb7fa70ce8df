"""Hearing what goes through a network, without changing it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from sublayer.config.registry import nearest


@contextmanager
def record(network: nn.Module, pattern: str) -> Iterator[dict[str, Tensor]]:
    """Inside the block, the outputs of the modules whose path matches `pattern`, by path.

    `pattern` is of the shell's kind: `decoder.blocks.*.cross.layer.attend.weights`. Tensors are
    detached, on the network's device, in the order the modules ran; of a module that runs again the
    last output is kept.

    Raises:
        ValueError: no module matches.
    """
    modules = {
        path: module for path, module in network.named_modules() if fnmatchcase(path, pattern)
    }
    if not modules:
        known = {re.sub(r"\.\d+\b", ".*", path) for path, _ in network.named_modules() if path}
        raise ValueError(f"no module of the network matches '{pattern}'; {nearest(pattern, known)}")
    heard: dict[str, Tensor] = {}

    def listen(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            heard[path] = output.detach()

        return hook

    handles = [module.register_forward_hook(listen(path)) for path, module in modules.items()]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
