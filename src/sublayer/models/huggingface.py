"""Folders as Hugging Face's transformers writes them, read and written: safetensors and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from sublayer.config.files import atomic_write, load_object
from sublayer.config.registry import Registry
from sublayer.models.base import FamilyConfig, configure
from sublayer.models.hub import network_tensors, put_tensors, read_tensors, write_tensors
from sublayer.models.names import Rule, is_known, their_name, to_ours, to_theirs

WEIGHTS = "model.safetensors"
PICKLES = "pytorch_model*.bin"

FORMAT = {"format": "pt"}
"""What transformers wants to find in the head of a safetensors file."""

Reader = Callable[[Mapping[str, Any], Set[str]], dict[str, Any]]
"""Their `config.json`, and the names of the tensors for what it leaves open -> our keys."""


@dataclass(frozen=True)
class Convention:
    """How Hugging Face writes a family down.

    `prefix` stands before the names of the body in models with a head, and may be missing; some
    classes of transformers have their own in `prefixes`. `outside` is the pattern of names it never
    stands before, and `bare` the class of transformers that is the body alone, which has none.
    `constants` are patterns of tensors that follow from the configuration, and `unused` of those
    that a model has no use for, which old folders hold all the same. `departs` tells what a
    configuration has that the model type cannot hold, and `architecture` which class of
    transformers it is if that is nothing. `pad` is the padding's id, where positions are counted
    from it.
    """

    family: str
    model_type: str
    architecture: Callable[[FamilyConfig], str]
    prefix: str
    names: Callable[[FamilyConfig], Sequence[Rule]]
    read: Reader
    write: Callable[[FamilyConfig], dict[str, Any]]
    departs: Callable[[FamilyConfig], Sequence[str]] = lambda config: ()
    constants: Sequence[str] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)
    unused: Callable[[FamilyConfig], Sequence[str]] = lambda config: ()
    outside: str = r"lm_head\..*"
    bare: str = ""
    pad: Callable[[FamilyConfig], int | None] = lambda config: None


CONVENTIONS: Registry[Convention] = Registry("Hugging Face model_type")


def to_our_keys(theirs: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """What their `config.json` says of `keys` (their name -> ours), under our names."""
    return {own: theirs[key] for key, own in keys.items() if key in theirs}


def to_their_keys(config: FamilyConfig, keys: Mapping[str, str]) -> dict[str, Any]:
    """Our keys under their names."""
    ours = config.model_dump()
    return {key: ours[own] for key, own in keys.items()}


def our_word(table: Mapping[str, Any], theirs: Mapping[str, Any], key: str, default: str) -> Any:
    """Our word for the one that stands under `key`.

    Raises:
        ValueError: the table has no word for it.
    """
    word = theirs.get(key, default)
    if word not in table:
        raise ValueError(f"{key} '{word}' is none of {', '.join(table)}")
    return table[word]


def their_word(table: Mapping[str, Any], own: Any) -> str:
    """The first of their words that stands for ours."""
    return next(word for word, meaning in table.items() if meaning == own)


def read_n_labels(theirs: Mapping[str, Any]) -> int:
    """The number of labels in their `config.json`, which leaves it out where it is 2."""
    names = theirs.get("id2label")
    return len(names) if names is not None else theirs.get("num_labels", 2)


def write_labels(n_labels: int) -> dict[str, Any]:
    """As many labels as theirs are where nobody gave them names."""
    names = [f"LABEL_{i}" for i in range(n_labels)]
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def architecture_of(theirs: Mapping[str, Any], default: str) -> str:
    """The class of transformers in their `config.json`."""
    named = theirs.get("architectures") or default
    return named if isinstance(named, str) else str(named[0])


def known_architecture(theirs: Mapping[str, Any], known: Sequence[str]) -> str:
    """The class of transformers in their `config.json`; where it names none, the first.

    Raises:
        ValueError: it is not one that is known.
    """
    name = architecture_of(theirs, known[0])
    if name not in known:
        raise ValueError(f"architecture '{name}' is not known here; known: {', '.join(known)}")
    return name


def needed_number(theirs: Mapping[str, Any], key: str) -> int:
    """The whole number under a key of their `config.json`.

    Raises:
        ValueError: there is none.
    """
    value = theirs.get(key)
    if not isinstance(value, int):
        raise ValueError(f"{key} must be a whole number, got {value!r}; save the model again")
    return value


def refuse_others(theirs: Mapping[str, Any], only: Mapping[str, Any]) -> None:
    """For keys that change what a model computes, and have one value here.

    Raises:
        ValueError: a key, which it names, has another.
    """
    for key, value in only.items():
        if theirs.get(key) not in {None, value}:
            raise ValueError(f"{key} = {theirs[key]!r} is not supported, only {value!r}")


def convention_of(keys: Mapping[str, Any], where: Path) -> Convention:
    """The convention that a `config.json`, which is at `where`, follows.

    Raises:
        ValueError: it names no architecture known here.
    """
    kind = keys.get("model_type")
    if kind is None:
        raise ValueError(
            f"{where} names no model_type, so this is no folder of Hugging Face's; nor is it a run "
            "of sublayer (models for CTranslate2 are written, not read)"
        )
    if not isinstance(kind, str) or kind not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise ValueError(f"{where}: model_type {kind!r} is not known here; known: {known}")
    return CONVENTIONS[kind]


Weights = Callable[[Path], dict[str, Tensor]]
"""A folder -> its tensors under their names."""


def read_safetensors(folder: Path) -> dict[str, Tensor]:
    """All tensors, from one file or from those an index lists.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    index = folder / f"{WEIGHTS}.index.json"
    if (folder / WEIGHTS).exists():
        return read_tensors(folder / WEIGHTS)
    if index.exists():
        parts = load_object(index).get("weight_map")
        if not isinstance(parts, dict):
            raise ValueError(f"{index} has no weight_map, so it is damaged; copy it again")
        files = sorted(set(map(str, parts.values())))
        return {
            name: tensor
            for file in files
            for name, tensor in read_tensors(folder / Path(file).name).items()
        }
    if any(folder.glob(PICKLES)):
        raise ValueError(
            f"{folder} holds only pytorch_model.bin, a pickle, which can run anybody's code; "
            f"`sublayer convert {folder} NEW --pickle` reads it with "
            "torch.load(weights_only=True), which runs none, and writes safetensors"
        )
    raise ValueError(f"{folder / WEIGHTS} is not there; is {folder} a model?")


def read_pickle(folder: Path) -> dict[str, Tensor]:
    """All tensors of `pytorch_model.bin`, or of its parts; nothing in them is run.

    Raises:
        ValueError: there is no such file, or it holds more than tensors.
    """
    files = sorted(folder.glob(PICKLES))
    if not files:
        raise ValueError(f"{folder} holds no pytorch_model.bin; leave --pickle out")
    out: dict[str, Tensor] = {}
    for file in files:
        try:
            out |= torch.load(file, map_location="cpu", weights_only=True)
        except (UnpicklingError, RuntimeError, EOFError) as error:
            told = str(error).splitlines()[0]
            raise ValueError(f"{file} is damaged, or holds more than tensors ({told})") from None
    return out


def read_network(
    folder: Path, weights: Weights = read_safetensors
) -> tuple[str, FamilyConfig, nn.Module]:
    """Family, configuration and network, in float32, of a folder that transformers wrote.

    Raises:
        ValueError: a file is missing or damaged, the architecture is unknown, or a tensor, which is
            named, is missing, left over or of another shape.
    """
    keys = load_object(folder / "config.json")
    convention = convention_of(keys, folder / "config.json")
    prefix = convention.prefixes.get(architecture_of(keys, ""), convention.prefix)
    found = weights(folder)
    files = {_body_name(file, prefix): file for file in found}
    tensors = _without({n: found[f].float() for n, f in files.items()}, convention.constants)
    try:
        config = configure(convention.family, **convention.read(keys, tensors.keys()))
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    network, rules = config.build(), convention.names(config)

    def called(own: str) -> str:
        name = their_name(own, rules)
        is_bare = not any(file.startswith(prefix) for file in found)
        return name if is_bare or re.fullmatch(convention.outside, name) else prefix + name

    tensors = _without(tensors, convention.unused(config))
    for name in tensors:
        if not is_known(name, rules):
            raise ValueError(f"{folder}: tensor '{files[name]}' is not part of the model")
    try:
        ours = _once(network, to_ours(tensors, rules), called)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    put_tensors(network, ours, str(folder), called)
    return convention.family, config, network.eval()


def _once(
    network: nn.Module, tensors: Mapping[str, Tensor], called: Callable[[str], str]
) -> dict[str, Tensor]:
    """Tensors that a network shares under their first name, whichever it is that they came under.

    Raises:
        ValueError: two that are one in the network differ.
    """
    first = {tensor.data_ptr(): name for name, tensor in network_tensors(network).items()}
    state = network.state_dict()
    out: dict[str, Tensor] = {}
    for own, tensor in tensors.items():
        name = first[state[own].data_ptr()] if own in state else own
        if name in out and not torch.equal(out[name], tensor):
            raise ValueError(
                f"tensor '{called(own)}' differs from '{called(name)}', but here they are one; "
                "such a model is not supported"
            )
        out[name] = tensor
    return out


def convention_for(family: str, config: FamilyConfig) -> Convention:
    """The convention that can hold a configuration of a family; the most special one.

    Raises:
        ValueError: there is none; it says what the nearest has not.
    """
    own = [CONVENTIONS[kind] for kind in CONVENTIONS if CONVENTIONS[kind].family == family]
    if not own:
        raise ValueError(
            f"transformers has no architecture for the family '{family}'; keep the model as it is"
        )
    nearest = min(own, key=lambda c: (len(c.departs(config)), c.model_type == family))
    if departs := nearest.departs(config):
        raise ValueError(
            f"transformers has no architecture for a '{nearest.model_type}' with "
            f"{' and '.join(departs)}; keep the model as it is, or train without"
        )
    return nearest


def write_network(
    network: nn.Module,
    family: str,
    config: FamilyConfig,
    folder: Path,
    extra_keys: Mapping[str, Any] = MappingProxyType({}),
    dtype: torch.dtype = torch.float32,
) -> None:
    """A folder that transformers reads, with tensors in `dtype` if that changes none of them.

    `extra_keys` are what `config.json` says beside or instead: names of labels, ids of tokens.

    Raises:
        ValueError: transformers has no architecture for it.
    """
    convention = convention_for(family, config)
    wanted = convention.pad(config)
    pad = extra_keys.get("pad_token_id", wanted)
    if wanted is not None and pad != wanted:
        raise ValueError(
            f"transformers counts the positions of a '{convention.model_type}' from its padding, "
            f"which must have the id {wanted}, but this vocabulary has {pad}; "
            "train without skipped_positions"
        )
    theirs = to_theirs(network_tensors(network), convention.names(config))
    architecture = convention.architecture(config)
    prefix = convention.prefixes.get(architecture, convention.prefix)
    is_bare = architecture == convention.bare
    named = {
        name if is_bare or re.fullmatch(convention.outside, name) else prefix + name: t
        for name, t in theirs.items()
    }
    if all(torch.equal(t.to(dtype).to(t.dtype), t) for t in named.values()):
        named = {name: t.to(dtype) for name, t in named.items()}
    else:
        dtype = torch.float32
    write_tensors(named, folder / WEIGHTS, FORMAT)
    keys = {
        "architectures": [architecture],
        "model_type": convention.model_type,
        "dtype": str(dtype).removeprefix("torch."),
        **convention.write(config),
        **extra_keys,
    }
    atomic_write(folder / "config.json", json.dumps(keys, indent=2) + "\n")


def _body_name(name: str, prefix: str) -> str:
    """Without prefix; that of a norm as it is today."""
    name = name.removeprefix(prefix)
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _without(tensors: Mapping[str, Tensor], patterns: Sequence[str]) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not any(re.fullmatch(pattern, name) for pattern in patterns)
    }
