"""What a run begins with: nothing, or another model's weights and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sublayer.models.base import LABELS, FamilyConfig, configure
from sublayer.models.hub import load_network, network_tensors, read_config, read_tensors
from sublayer.models.huggingface import read_network
from sublayer.models.snapshot import local_folder
from sublayer.tasks import Vocabulary
from sublayer.tasks.foreign import body_folder, vocabulary_of
from sublayer.text.tokenizer import Tokenizers
from sublayer.training.run import THEIRS

SIZES = ("vocab_size", "source_vocab_size")
HEADS = ("head.", "pooler.", "pair_head.")
"""What names of tensors begin with that belong to what a model was trained for, not to its body."""


@dataclass(frozen=True)
class Begin:
    """A trained model: its family and numbers, its weights by name, and its tokenizers."""

    where: str
    family: str
    config: FamilyConfig
    tensors: Mapping[str, Tensor]
    vocabulary: Vocabulary

    @property
    def tokenizers(self) -> Tokenizers | None:
        """Those of a model that reads text."""
        return self.vocabulary.tokenizers

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
            return cls(source, family, config, tensors, Vocabulary.load(folder))
        if (folder / THEIRS).is_dir():
            family, config = read_config(folder)
            network = load_network(folder)
            vocabulary = vocabulary_of(network, body_folder(folder / THEIRS))
            return cls(source, family, config, network_tensors(network), vocabulary)
        home = body_folder(folder)
        if not (home / "config.json").exists():
            raise ValueError(
                f"model.from: {source} is no model: it has neither a recipe.toml nor a config.json"
            )
        family, config, network = read_network(home)
        vocabulary = vocabulary_of(network, home)
        return cls(source, family, config, network_tensors(network), vocabulary)

    def configured(self, changes: Mapping[str, Any]) -> FamilyConfig:
        """The same numbers, but for `changes`; a vocabulary is never made smaller.

        Raises:
            ValueError: a key is unknown or out of range.
        """
        own = self.config.model_dump()
        keys = own | dict(changes)
        for size in SIZES:
            if keys.get(size):  # a model with one table for both sides keeps to one
                keys[size] = own[size] and max(keys[size], own[size])
        return configure(self.family, **keys)

    @torch.no_grad()
    def put(self, network: nn.Module, config: FamilyConfig, labels: Sequence[str]) -> list[str]:
        """Copy the weights into a network of `config`; names of its tensors that begin anew.

        Heads that the network has and the model has not keep their first random numbers, and so
        does one that is to say another thing, or others of the `labels`; those that only the model
        has are left out. Where the vocabulary has grown, so have the tables.

        Raises:
            ValueError: a tensor of the body is missing, left over, or of another shape.
        """
        own, new = network_tensors(network), []
        grown, is_other = self._grown(config), not self._says_the_same(config, labels)
        missing = own.keys() - self.tensors.keys()
        for name in sorted(missing | (self.tensors.keys() - own.keys())):
            if not name.startswith(HEADS):
                what = "missing" if name in missing else "not part of the model"
                raise ValueError(f"model.from: {self.where}: tensor '{name}' is {what}")
        for name, tensor in own.items():
            old = self.tensors.get(name)
            if old is None or (is_other and name.startswith(HEADS[0])):
                new.append(name)
            elif old.shape == tensor.shape or (
                (len(old), len(tensor)) in grown and old.shape[1:] == tensor.shape[1:]
            ):
                tensor[: len(old)] = old
            elif name.startswith(HEADS):
                new.append(name)
            else:
                raise ValueError(
                    f"model.from: {self.where}: tensor '{name}' is of shape {list(old.shape)}, "
                    f"the model's is of {list(tensor.shape)}"
                )
        return new

    def _says_the_same(self, config: FamilyConfig, labels: Sequence[str]) -> bool:
        old, new = (keys.model_dump().get("head") for keys in (self.config, config))
        are_alike = old == new or not LABELS & {old, new}
        return are_alike and self.vocabulary.labels == tuple(labels)

    def _grown(self, config: FamilyConfig) -> set[tuple[int, int]]:
        """Sizes of vocabularies before and now."""
        old, new = self.config.model_dump(), config.model_dump()
        return {(old[key], new[key]) for key in SIZES if old.get(key) and new.get(key)}
