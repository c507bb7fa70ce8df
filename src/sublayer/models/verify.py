"""A network beside the same one in transformers: what each layer gives, on random inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sublayer.config.files import load_json
from sublayer.layers.block import Body, Stack
from sublayer.models.base import Classifier, Encoder, EncoderDecoder, ImageEncoder, LanguageModel
from sublayer.models.huggingface import architecture_of

LARGEST = 1e-4
"""Difference that float32 explains; more is a mistake."""
ROWS, LENGTHS, TARGETS = 3, (11, 7, 3), 5
"""Texts of these lengths, padded to the first, and tokens of a target."""
IMAGES = 2


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference in what a layer gives, padding left out.

    More than `most` is a mistake.
    """

    layer: str
    largest: float
    most: float = LARGEST

    @property
    def is_mistake(self) -> bool:
        """Whether rounding does not explain it."""
        return not self.largest <= self.most


@dataclass(frozen=True)
class _Inputs:
    """The same for both: theirs by name, ours in order; `valid` where there is no padding."""

    ours: tuple[Any, ...]
    theirs: Mapping[str, Tensor]
    valid: Tensor | None


@torch.no_grad()
def compare(network: nn.Module, folder: Path, seed: int = 0) -> list[Difference]:
    """Layer for layer, then what comes out, in float32 on the CPU.

    Raises:
        ValueError: transformers is not installed, or has no such class.
    """
    model = _their_model(folder)
    network = network.float().cpu().eval()
    inputs = _inputs(network, model.config, torch.Generator().manual_seed(seed))
    with _heard(network) as heard:
        ours = _outputs(network, inputs)
    theirs = model(**inputs.theirs, output_hidden_states=True)
    found = []
    for name, (stack, valid) in _stacks(network, inputs).items():
        key = "hidden_states" if name == "" else f"{name}_hidden_states"
        found += _layers(f"{name} " if name else "", heard[stack], theirs[key], valid)
    return found + _ends(ours, theirs, inputs.valid)


def _their_model(folder: Path) -> Any:
    try:
        import transformers
    except ModuleNotFoundError:
        raise ValueError(
            "--verify compares with the package transformers, which is not installed: "
            "pip install transformers"
        ) from None
    name = architecture_of(load_json(folder / "config.json"), "AutoModel")
    kind = getattr(transformers, name, None)
    if kind is None:
        raise ValueError(f"the installed transformers has no class '{name}'")
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


def _inputs(network: nn.Module, config: Any, random: torch.Generator) -> _Inputs:
    if isinstance(network, ImageEncoder):
        shape = (IMAGES, config.num_channels, config.image_size, config.image_size)
        images = torch.randn(shape, generator=random)
        return _Inputs((images,), {"pixel_values": images}, None)
    pad = config.pad_token_id if config.pad_token_id is not None else 0
    config.pad_token_id = pad  # theirs finds the last token of a text by it
    valid = torch.arange(LENGTHS[0]) < torch.tensor(LENGTHS)[:, None]

    def ids(length: int) -> Tensor:
        drawn = torch.randint(config.vocab_size - 1, (ROWS, length), generator=random)
        return drawn + (drawn >= pad)  # all but the padding

    given = ids(LENGTHS[0]).where(valid, torch.tensor(pad))
    theirs = {"input_ids": given, "attention_mask": valid.long()}
    if isinstance(network, EncoderDecoder):
        target = ids(TARGETS)
        return _Inputs((given, target, valid), theirs | {"decoder_input_ids": target}, None)
    if isinstance(network, Encoder | Classifier) and network.n_segments > 1:
        segments = torch.randint(2, given.shape, generator=random)
        return _Inputs((given, valid, segments), theirs | {"token_type_ids": segments}, valid)
    return _Inputs((given, valid), theirs, valid)


def _stacks(network: nn.Module, inputs: _Inputs) -> dict[str, tuple[Body, Tensor | None]]:
    """Each stack under the name that theirs goes by, and where there is no padding in it."""
    if isinstance(network, EncoderDecoder):
        return {"encoder": (network.encoder, inputs.ours[2]), "decoder": (network.decoder, None)}
    assert isinstance(network, LanguageModel | Encoder | Classifier | ImageEncoder)
    return {"": (network.stack, inputs.valid)}


@dataclass(frozen=True)
class _Heard:
    """What the blocks of a stack give, as they are gone through, and what follows the last."""

    blocks: list[Tensor] = field(default_factory=list)
    ends: list[Tensor] = field(default_factory=list)


@contextmanager
def _heard(network: nn.Module) -> Iterator[dict[Body, _Heard]]:
    """Of each stack."""
    heard: dict[Body, _Heard] = {}
    handles = []

    def listen(module: nn.Module, out: list[Tensor]) -> None:
        handles.append(module.register_forward_hook(lambda module, given, x: out.append(x)))

    for stack in network.modules():
        if isinstance(stack, Stack):
            heard[stack] = _Heard()
            for block in stack.blocks:
                listen(block, heard[stack].blocks)
            for part in stack.norm.modules():
                listen(part, heard[stack].ends)
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _layers(
    name: str, ours: _Heard, theirs: tuple[Tensor, ...], valid: Tensor | None
) -> list[Difference]:
    """Blocks beside theirs; of the last theirs gives what is before the norm or behind it."""
    if len(theirs) != len(ours.blocks) + 1:
        here = len(ours.blocks)
        raise ValueError(f"transformers has {len(theirs) - 1} {name}layers, here are {here}")
    found = [
        Difference(f"{name}layer {i}", _largest(own, their, valid))
        for i, (own, their) in enumerate(zip(ours.blocks, theirs[1:], strict=True))
    ]
    normed = [_largest(end, theirs[-1], valid) for end in ours.ends]
    return [*found[:-1], Difference(found[-1].layer, min(found[-1].largest, *normed))]


def _outputs(network: nn.Module, inputs: _Inputs) -> list[tuple[str, Tensor]]:
    """What comes out, under their names."""
    if not isinstance(network, Encoder):
        logits = network(*inputs.ours)
        if isinstance(network, Classifier) and logits.ndim == 3 and logits.shape[-1] == 2:
            start, end = logits.unbind(-1)
            return [("start_logits", start), ("end_logits", end), ("logits", logits)]
        if isinstance(network, ImageEncoder) and isinstance(network.head, nn.Identity):
            return [("pooler_output", logits)]
        return [("logits", logits)]
    hidden = network.hidden(*inputs.ours)
    out = [("last_hidden_state", hidden)]
    if not isinstance(network.head, nn.Identity):
        logits = network.head(hidden)
        out += [("logits", logits), ("prediction_logits", logits)]
    if not isinstance(network.pooler, nn.Identity):
        out.append(("pooler_output", network.pooler(hidden)))
    if not isinstance(network.pair_head, nn.Identity):
        pairs = network.pair_logits(hidden)
        out += [("seq_relationship_logits", pairs), ("sop_logits", pairs)]
    return out


def _ends(
    ours: list[tuple[str, Tensor]], theirs: Mapping[str, Tensor], valid: Tensor | None
) -> list[Difference]:
    """Of the names that theirs has."""
    return [
        Difference(name, _largest(tensor, theirs[name], valid))
        for name, tensor in ours
        if theirs.get(name) is not None
    ]


def _largest(ours: Tensor, theirs: Tensor, valid: Tensor | None) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes differ: {list(ours.shape)} here, {list(theirs.shape)} there")
    if valid is not None and ours.shape[:2] == valid.shape:
        ours, theirs = ours[valid], theirs[valid]
    return float((ours - theirs).abs().nan_to_num(nan=float("inf")).max())
