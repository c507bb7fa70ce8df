"""Weights and configuration in a folder: `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sublayer.config.files import atomic_write, load_json
from sublayer.models.base import FAMILIES, FamilyConfig, configure

QUANTIZATION = "quantization.json"
"""What says that the weights beside it are quantized, and how."""


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and persistent buffer under its name; shared ones once, under the first."""
    parameters = dict(network.named_parameters())
    kept = network.state_dict().keys()
    buffers = {name: b for name, b in network.named_buffers() if name in kept}
    return {name: tensor.detach() for name, tensor in (parameters | buffers).items()}


def put_tensors(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    where: str,
    called: Callable[[str], str] = str,
) -> None:
    """Copy tensors, which come from `where`, into a network of the same shape.

    `called` says how a tensor of ours is called there.

    Raises:
        ValueError: a tensor, which it names, is missing, left over, or of another shape.
    """
    own = network_tensors(network)
    for name in sorted(own.keys() ^ tensors.keys()):
        raise ValueError(
            f"{where}: tensor '{called(name)}' is "
            + ("missing" if name in own else "not part of the model")
        )
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            shapes = f"{list(tensors[name].shape)}, the model's is {list(tensor.shape)}"
            raise ValueError(f"{where}: tensor '{called(name)}' has shape {shapes}")
        tensor.copy_(tensors[name])


def write_tensors(
    tensors: Mapping[str, Tensor], file: Path, head: Mapping[str, str] | None = None
) -> None:
    """Write beside, then rename, so that a file is whole or not there; `head` stands before all."""
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    atomic_write(file, save(whole, None if head is None else dict(head)))


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        ValueError: the file is not there or damaged.
    """
    try:
        return load_file(file)
    except FileNotFoundError:
        raise ValueError(f"{file} is not there; is {file.parent} a finished run?") from None
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}); restore it or train again") from None


def write_config(config: FamilyConfig, family: str, folder: Path) -> None:
    """`config.json`: the family's name and every key."""
    keys = {"family": family, **config.model_dump()}
    atomic_write(folder / "config.json", json.dumps(keys, indent=2) + "\n")


def read_config(folder: Path) -> tuple[str, FamilyConfig]:
    """The family's name and its configuration.

    Raises:
        ValueError: no such file, no JSON, or keys of no family.
    """
    file = folder / "config.json"
    if not file.exists():
        raise ValueError(f"{file} is not there; is {folder} a finished run?")
    keys = load_json(file)
    family = keys.pop("family", None) if isinstance(keys, dict) else None
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"{file}: 'family' must be one of {', '.join(FAMILIES)}, got {family!r}")
    return family, configure(family, **keys)


class _Undrawn(TorchFunctionMode):
    """Weights are not drawn: all will come from a file, and drawing takes longer than reading."""

    drawing = (
        Tensor.normal_,
        Tensor.uniform_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.uniform_,
    )

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.drawing:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def build_undrawn(config: FamilyConfig) -> nn.Module:
    """A network that waits for its weights."""
    with _Undrawn():
        return config.build()


def load_network(folder: Path) -> nn.Module:
    """The network of a folder, in float32 on the CPU, ready to use.

    Raises:
        ValueError: a file is missing or damaged, the weights are quantized, or they are not those
            of the configuration.
    """
    if (folder / QUANTIZATION).exists():
        raise ValueError(f"{folder} is quantized; give the run that it was made of")
    _, config = read_config(folder)
    network = build_undrawn(config)
    put_tensors(
        network, read_tensors(folder / "model.safetensors"), str(folder / "model.safetensors")
    )
    return network.eval()
