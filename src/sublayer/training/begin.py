"""What a run begins with: nothing, or another model's weights and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sublayer.models.base import FamilyConfig, configure
from sublayer.models.hub import network_tensors, read_config, read_tensors
from sublayer.models.huggingface import read_network
from sublayer.models.snapshot import local_folder
from sublayer.tasks import Vocabulary
from sublayer.tasks.foreign import body_folder, vocabulary_of
from sublayer.text.tokenizer import Tokenizers

HEADS = ("head.", "pooler.", "pair_head.")
"""What names of tensors begin with that belong to what a model was trained for, not to its body."""


@dataclass(frozen=True)
class Begin:
    """A trained model: its family and numbers, its weights by name, and its tokenizers."""

    where: str
    family: str
    config: FamilyConfig
    tensors: Mapping[str, Tensor]
    tokenizers: Tokenizers | None

    @classmethod
    def read(cls, source: str) -> Begin:
        """That of a run folder, a Hugging Face folder, or a name on its hub.

        Raises:
            ValueError: there is no such model, or it is damaged.
        """
        folder = local_folder(Path(source))
        if (folder / "recipe.toml").exists():
            family, config = read_config(folder)
            tensors = read_tensors(folder / "model.safetensors")
            return cls(source, family, config, tensors, Vocabulary.load(folder).tokenizers)
        home = body_folder(folder)
        if not (home / "config.json").exists():
            raise ValueError(
                f"model.from: {source} is no model: it has neither a recipe.toml nor a config.json"
            )
        family, config, network = read_network(home)
        tokenizers = vocabulary_of(network, home).tokenizers
        return cls(source, family, config, network_tensors(network), tokenizers)

    def configured(self, changes: Mapping[str, Any]) -> FamilyConfig:
        """The same numbers, but for `changes`; a vocabulary is never made smaller.

        Raises:
            ValueError: a key is unknown or out of range.
        """
        keys = self.config.model_dump() | changes
        if "vocab_size" in keys:
            keys["vocab_size"] = max(keys["vocab_size"], self.config.model_dump()["vocab_size"])
        return configure(self.family, **keys)

    @torch.no_grad()
    def put(self, network: nn.Module) -> list[str]:
        """Copy the weights into a network; names of its tensors that begin anew.

        Heads that the network has and the model has not keep their first random numbers, and those
        that only the model has are left out. Where the vocabulary has grown, so have the tables.

        Raises:
            ValueError: a tensor of the body is missing, left over, or of another shape.
        """
        own, new = network_tensors(network), []
        missing = own.keys() - self.tensors.keys()
        for name in sorted(missing | (self.tensors.keys() - own.keys())):
            if not name.startswith(HEADS):
                what = "missing" if name in missing else "not part of the model"
                raise ValueError(f"model.from: {self.where}: tensor '{name}' is {what}")
        for name, tensor in own.items():
            old = self.tensors.get(name)
            if old is None or (name.startswith(HEADS) and not _grows(old, tensor)):
                new.append(name)
            elif _grows(old, tensor):
                tensor[: len(old)] = old
            else:
                raise ValueError(
                    f"model.from: {self.where}: tensor '{name}' is of shape {list(old.shape)}, "
                    f"the model's is of {list(tensor.shape)}"
                )
        return new


def _grows(old: Tensor, new: Tensor) -> bool:
    """Whether `new` is `old` with rows, of new ids, behind it, or without any."""
    return old.shape[1:] == new.shape[1:] and len(old) <= len(new)
