"""Memory, in bytes: of a training step, and of a decoder's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.place import device_of
from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder, LanguageModel
from sublayer.scaling.count import Shape, zeros

# ---- training ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes held at the height of a training step.

    Not in it: what comes and goes within one operation, PyTorch itself, CUDA's context.
    """

    weights: int
    gradients: int
    moments: int
    """Adam's two running means (Kingma & Ba 2015) of each gradient."""
    activations: int
    """What the forward pass keeps for the backward pass, copies of weights in bfloat16 included."""
    loss: int
    """Gradients of hidden states and pre-softmax matrix, made with the loss; it keeps no logits."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.moments + self.activations + self.loss


def training_memory(
    build: Callable[[], nn.Module], *inputs: Shape, bfloat16: bool
) -> TrainingMemory:
    """The memory of a step on a batch of `inputs`: ids `b n`, of a pair two, or pixels `b c h w`.

    `build` makes the network; `bfloat16` says whether autocast is on. A batch goes through with
    tensors that have shapes and no memory. What autograd keeps of them is what it keeps of real
    ones on a CPU; the kernels of a GPU keep about as much.
    """
    with FakeTensorMode():
        network: Any = build().train()
        weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
        kept = _Kept(network)
        with (
            torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            hidden = network.hidden(*map(zeros, inputs))
        every = network.named_parameters(remove_duplicate=False)
        head = sum(_bytes(weight) for name, weight in every if _is_head(name))
    return TrainingMemory(
        weights=sum(map(_bytes, network.parameters())),
        gradients=sum(map(_bytes, weights)),
        moments=2 * sum(map(_bytes, weights)),
        activations=kept.bytes,
        loss=2 * _bytes(hidden) + head,
    )


def _is_head(name: str) -> bool:
    return name.startswith("head.")


class _Kept:
    """Storages that autograd saves, each once, but for the network's own."""

    def __init__(self, network: nn.Module) -> None:
        own = (*network.parameters(), *network.buffers())
        self._own = {tensor.untyped_storage()._cdata for tensor in own}
        # held, so that no other storage is given the address of one that is gone
        self._storages: dict[int, torch.UntypedStorage] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own:
            self._storages[storage._cdata] = storage
        return tensor

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


# ---- decoding ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecodingMemory:
    """Bytes of a decoder with its state; a hypothesis in the beam is a row of its own."""

    weights: int
    per_target_token: int
    """Keys and values of self-attention, in all layers, of one token of one hypothesis."""
    per_source_token: int
    """Keys and values of the memory, in all layers, of one source token of one hypothesis."""
    carried: int
    """What recurrences and convolutions go on from, however long the text, of one hypothesis."""

    def total(self, rows: int, source: int, target: int) -> int:
        """With `rows` hypotheses of `target` tokens on `source` tokens, no room kept ahead."""
        return self.weights + rows * (
            self.carried + source * self.per_source_token + target * self.per_target_token
        )


def decoding_memory(
    network: EncoderDecoder | LanguageModel, dtype: torch.dtype = torch.float32
) -> DecodingMemory:
    """The memory of decoding with weights and state in `dtype`."""
    widths = {SelfAttention: 0, CrossAttention: 0}
    decoder = network.decoder if isinstance(network, EncoderDecoder) else network.stack
    for module in decoder.modules():
        if isinstance(module, SelfAttention | CrossAttention):
            widths[type(module)] += module.k.out_features + module.v.out_features
    return DecodingMemory(
        weights=sum(parameter.numel() for parameter in network.parameters()) * dtype.itemsize,
        per_target_token=widths[SelfAttention] * dtype.itemsize,
        per_source_token=widths[CrossAttention] * dtype.itemsize,
        carried=_carried(network, dtype),
    )


@torch.no_grad()
def _carried(network: EncoderDecoder | LanguageModel, dtype: torch.dtype) -> int:
    """Bytes that a state carries of one row, as one token shows; counts keep their type."""
    state, ids = State(), torch.zeros(1, 1, dtype=torch.long)
    ids = ids.to(device_of(network))
    if isinstance(network, EncoderDecoder):
        network.decode_hidden(ids, network.encode(ids), state=state)
    else:
        network.hidden(ids, state=state)
    carried = chain.from_iterable(state.carried(module) or () for module in network.modules())
    return sum(
        t.numel() * (dtype.itemsize if t.is_floating_point() else t.element_size()) for t in carried
    )
