"""Parameters and floating-point operations, by part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sublayer.layers.alignment import Alignment
from sublayer.layers.attend import Attend
from sublayer.layers.score import Additive, LocationBased

Shape = tuple[int, ...]
"""Of one input of a network: `b n` for ids, `b n c` for letters, `b c h w` for pixels."""

PARTS = (
    (r"(\w+)_embed\b.*", r"\1 embedding"),
    (r"(\w+)\.position\b.*", r"\1 positions"),
    (r"(\w+)\.(.+\.)?norm\b.*", r"\1 norms"),
    (r"(\w+)\.blocks\.\d+\.attention\b.*", r"\1 self-attention"),
    (r"(\w+)\.blocks\.\d+\.cross\b.*", r"\1 cross-attention"),
    (r"(\w+)\.blocks\.\d+\.feedforward\b.*", r"\1 feed-forward"),
    (r"(\w+)\.(entry|blocks\.\d+\.convolution)\.product\b.*", r"\1 convolutions"),
    (r"(\w+)\.(windows\.)?products\b.*", r"\1 convolutions"),
    (r"(\w+)\.highways\b.*", r"\1 highways"),
    (r"(\w+)\.cross\b.*", r"\1 attention"),
    (r"(\w+)\.(cells?|layers|(encoder\.)?(forward|backward)_layers)\b.*", r"\1 recurrences"),
    (r"(\w+)\.blocks\.\d+\.(residual|skip)\b.*", r"\1 residuals and skips"),
    (r"(\w+).*", r"\1"),
)
"""The part a path belongs to, by the first pattern that it matches."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a network: its `parameters`, and the `flops` of one pair's forward pass in it.

    `shared` parameters are used here too, but counted in the part they belong to, `shared_with`.
    """

    name: str
    parameters: int
    shared: int
    shared_with: str | None
    flops: int


@dataclass(frozen=True, slots=True)
class Count:
    """What one example costs in each part; for a pair, of the source and the target tokens given.

    A multiplication and an addition are two FLOPs. Matrix products are counted and nothing else:
    the rest is little, and waits for memory anyway. Attention counts whole, also where a mask hides
    half of it.
    """

    tokens: int
    """Of the last input: what costs are told per. An image counts as one."""
    parts: tuple[Part, ...]

    @property
    def parameters(self) -> int:
        """All parameters, shared ones once."""
        return sum(part.parameters for part in self.parts)

    @property
    def forward(self) -> float:
        """FLOPs per token of the last input, forward."""
        return sum(part.flops for part in self.parts) / self.tokens

    @property
    def training(self) -> float:
        """FLOPs per token, forward and backward, where a product has two gradients."""
        return 3 * self.forward


def count(build: Callable[[], nn.Module], *inputs: int | Shape) -> Count:
    """Parameters of the network that `build` makes, and FLOPs of one example's forward pass in it.

    `inputs` are what the network is called with: numbers of tokens, the shape `n c` of words in
    letters, or `c h w` of an image.

    A product costs 2 FLOPs for each weight at each position; attention costs 2 for each query, key
    and width of its scores, and as many for its values (Kaplan et al. 2020, arXiv:2001.08361, table
    1). The example goes through the network with tensors that have shapes and no memory, so a large
    model takes no longer.
    """
    with FakeTensorMode():
        network = build().eval()
        flops = _flops(network, [_batch_of_one(one) for one in inputs])
    last = inputs[-1]
    return Count(tokens_of(last), tuple(_parts(network, flops)))


def tokens_of(one: int | Shape) -> int:
    """Of one input: tokens, words, or 1 for an image."""
    if isinstance(one, int):
        return one
    return one[0] if len(one) == 2 else 1


def _batch_of_one(one: int | Shape) -> Shape:
    return (1, one) if isinstance(one, int) else (1, *one)


def zeros(shape: Shape) -> Tensor:
    """Ids `b n`, letters `b n c`, or pixels `b c h w`, of nothing in particular."""
    return torch.zeros(shape, dtype=torch.float32 if len(shape) == 4 else torch.long)


def _parts(network: nn.Module, flops: Counter[str]) -> Iterator[Part]:
    used: dict[str, set[nn.Parameter]] = {}
    for path, parameter in network.named_parameters(remove_duplicate=False):
        used.setdefault(_part(path), set()).add(parameter)
    home: dict[nn.Parameter, str] = {}
    for name, parameters in used.items():
        shared = parameters & home.keys()
        own = parameters - shared
        owner = home[next(iter(shared))] if shared else None
        yield Part(name, _size(own), _size(shared), owner, flops[name])
        home |= dict.fromkeys(own, name)
    for name in flops.keys() - used.keys():
        yield Part(name, 0, 0, None, flops[name])


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _part(path: str) -> str:
    return next(
        match.expand(name) for pattern, name in PARTS if (match := re.fullmatch(pattern, path))
    )


@torch.no_grad()
def _flops(network: nn.Module, inputs: Iterable[Shape]) -> Counter[str]:
    """By part: the FLOPs of one example."""
    flops = Counter[str]()

    def listen(path: str, cost: Callable[..., int]) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            flops[_part(path)] += cost(module, *inputs)

        return hook

    for path, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(listen(path, _product))
        elif isinstance(module, nn.RNNBase):
            module.register_forward_pre_hook(listen(path, _recurrence))
        elif isinstance(module, Attend):
            module.register_forward_pre_hook(listen(path, _attention))
        elif isinstance(module, Alignment):
            module.register_forward_pre_hook(listen(path, _alignment))
    network(*map(zeros, inputs))
    return flops


def _product(layer: nn.Linear, x: Tensor) -> int:
    """`... i` -> `... o`."""
    return 2 * x.numel() * layer.out_features


def _recurrence(layers: nn.RNNBase, x: Tensor, *context: Any) -> int:
    """`b n m` through all layers; with each weight once at each position."""
    weights = sum(p.numel() for p in layers.parameters() if p.ndim == 2)
    return 2 * x.shape[:-1].numel() * weights


def _alignment(part: Alignment, q: Tensor, keys: Tensor, memory: Tensor, *context: Any) -> int:
    """Scores `b q k` and memory mixed by them; layers of a score's own are counted as layers."""
    weights = q.shape[:-1].numel() * memory.shape[-2]
    is_product = not isinstance(part.score, Additive | LocationBased)
    return 2 * weights * (memory.shape[-1] + (keys.shape[-1] if is_product else 0))


def _attention(attend: Attend, q: Tensor, k: Tensor, v: Tensor, *context: Any) -> int:
    """Scores `b h q k` and values mixed by them; layers of a score's own are counted as layers."""
    weights = q.shape[:-1].numel() * k.shape[-2]
    is_product = not any(
        isinstance(module, Additive | LocationBased) for module in attend.children()
    )
    return 2 * weights * (v.shape[-1] + (k.shape[-1] if is_product else 0))
