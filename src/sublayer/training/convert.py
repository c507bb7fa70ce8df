"""Models from one form into another: ours, transformers', CTranslate2's, files of vectors."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sublayer.config.files import atomic_folder, check_new, dump_json, load_json
from sublayer.config.objective import ClassifyObjective, EmbedObjective
from sublayer.config.schema import Recipe
from sublayer.data.vectors import write_vectors
from sublayer.generation.stopping import Stops
from sublayer.models.base import EncoderDecoder, FamilyConfig, ImageEncoder, LanguageModel
from sublayer.models.hub import load_network, network_tensors, read_config, write_tensors
from sublayer.models.hub import write_config as write_own_config
from sublayer.models.huggingface import (
    WEIGHTS,
    Weights,
    read_network,
    read_safetensors,
    write_network,
)
from sublayer.models.snapshot import local_folder
from sublayer.models.vectors import WordVectors
from sublayer.models.verify import Difference, compare
from sublayer.tasks import Vocabulary
from sublayer.tasks.foreign import MODULES, TARGETS, body_folder, vocabulary_of
from sublayer.tasks.images import MEAN, SPREAD
from sublayer.tasks.neighbours import Neighbours
from sublayer.text.codec import LearnedCodec
from sublayer.text.huggingface import FILES, write_tokenizers
from sublayer.text.special import Framing
from sublayer.training.run import THEIRS, open_run
from sublayer.training.vectors import make_run, words_of_file

Form = Literal["huggingface", "sublayer", "ctranslate2", "vec"]
BESIDE = (".json", ".txt", ".model", ".spm")
"""Files that belong to a model beside its weights."""
EXPORTED = "model.bin"
"""Of a folder that CTranslate2 loads."""


@dataclass(frozen=True)
class _Model:
    """A model as it is read; `recipe` of a run, `beside` the files that theirs has."""

    network: nn.Module
    family: str
    config: FamilyConfig
    recipe: Recipe | None
    beside: Path | None
    is_ours: bool


def convert(
    source: Path, target: Path, to: Form, weights: Weights = read_safetensors
) -> tuple[nn.Module, Path]:
    """Write the model in `source` to `target`; what is to be compared, and where theirs lies.

    `to` "huggingface" is a folder that transformers loads. `to` "sublayer" holds our `config.json`
    and `model.safetensors`, and in a folder `huggingface` all else that the source had. `to`
    "ctranslate2" is for models that write text, with the files of their tokenizers; padding and
    begin are never written there, as here. `to` "vec" is a file of the vectors of words, in the
    form of word2vec; such a file, as `source`, becomes a run.

    Raises:
        ValueError: `source` is no model, is of that form already, or has no such form; or `target`
            is there already.
    """
    source = local_folder(source, pickle=weights is not read_safetensors)
    check_new(target)
    if source.is_file():
        if to != "sublayer":
            raise ValueError(f"{source} is a file; one of word vectors becomes a run without --to")
        return make_run(source, target), source
    model = _read(source, weights)
    if to == "vec":
        _write_vec(model, source, target)
        return model.network, target
    if to == "sublayer" and model.is_ours:
        raise ValueError(f"{source} is in our own form already; add --to huggingface")
    with atomic_folder(target) as folder:
        if to == "sublayer":
            assert model.beside is not None
            write_own_config(model.config, model.family, folder)
            write_tensors(network_tensors(model.network), folder / WEIGHTS)
            _copy(model.beside, folder / THEIRS)
        elif to == "ctranslate2":
            _write_ctranslate2(model, source, folder)
        elif model.beside is not None:
            home = folder / body_folder(model.beside).relative_to(model.beside)
            keys = load_json(body_folder(model.beside) / "config.json")
            write_network(model.network, model.family, model.config, home, {}, _dtype(keys))
            _copy(model.beside, folder)
        else:
            assert model.recipe is not None
            _write_run(model, source, model.recipe, folder)
    if to == "sublayer":
        return load_network(target), body_folder(source)
    return model.network, body_folder(target)


def differences(network: nn.Module, theirs: Path) -> list[Difference]:
    """`--verify`: our network beside the folder of theirs, or the file of its vectors."""
    if isinstance(network, WordVectors) and theirs.is_file():
        words, vectors = words_of_file(theirs)
        own = network.table.detach().numpy()[-len(words) :]
        return [Difference("vectors", float(np.abs(own - vectors).max()))]
    if (theirs / EXPORTED).exists():
        from sublayer.models.ctranslate2_verify import compare as compare_texts

        return compare_texts(network, theirs)
    return compare(network, theirs)


def _write_vec(model: _Model, source: Path, target: Path) -> None:
    if not isinstance(model.network, WordVectors):
        raise ValueError(f"{source} has no vectors of words, and only such models go to a .vec")
    own = Neighbours(model.network, Vocabulary.load(source))
    write_vectors(target, own.words, model.network.table.detach().numpy()[own.ids])


def _read(source: Path, weights: Weights) -> _Model:
    if (source / "recipe.toml").exists():
        run, recipe = open_run(source)
        if not run.weights.exists():
            raise ValueError(f"{source} is not finished; finish it before it is converted")
        family, config = read_config(source)
        return _Model(load_network(source), family, config, recipe, None, True)
    if (source / THEIRS).is_dir():
        family, config = read_config(source)
        return _Model(load_network(source), family, config, None, source / THEIRS, True)
    if not any((source / name).exists() for name in ("config.json", MODULES)):
        raise ValueError(f"{source} is no model: it has neither a recipe.toml nor a config.json")
    family, config, network = read_network(body_folder(source), weights)
    return _Model(network, family, config, None, source, False)


def _dtype(keys: Mapping[str, Any]) -> torch.dtype:
    """What their `config.json` says that the weights are in."""
    named = getattr(torch, str(keys.get("dtype", keys.get("torch_dtype"))), None)
    return named if isinstance(named, torch.dtype) else torch.float32


def _copy(beside: Path, folder: Path) -> None:
    """All files but weights, and lists of their parts."""
    for file in sorted(beside.rglob("*")):
        parts = file.relative_to(beside)
        hidden = any(part.startswith(".") for part in parts.parts)
        if file.suffix in BESIDE and file.is_file() and not hidden:
            if file.name.endswith(".index.json"):
                continue
            (folder / parts).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / parts)


def _write_ctranslate2(model: _Model, source: Path, folder: Path) -> None:
    from sublayer.models.ctranslate2 import export, silence

    network = model.network
    if not isinstance(network, EncoderDecoder | LanguageModel):
        raise ValueError(f"{source} writes no text, and only such models go to CTranslate2")
    home = None if model.beside is None else body_folder(model.beside)
    vocabulary = Vocabulary.load(source) if home is None else vocabulary_of(network, home)
    tokenizers = vocabulary.tokenizers
    assert tokenizers is not None
    special = tokenizers.target.special
    silence(network, Stops.of(special).never)
    export(network, folder, tokenizers.target.tokens, tokenizers.source.tokens, special)
    if home is not None:
        for file in (home / name for name in FILES):
            if file.exists():
                shutil.copyfile(file, folder / file.name)
    elif tokenizers.shared or not isinstance(tokenizers.source.codec, LearnedCodec):
        write_tokenizers(tokenizers, folder, _framing(network, vocabulary))
    else:
        tokenizers.save(folder)


def _write_run(model: _Model, source: Path, recipe: Recipe, folder: Path) -> None:
    """A run of ours: its special ids, labels and search under their names too."""
    vocabulary = Vocabulary.load(source)
    keys = _label_keys(vocabulary, recipe)
    if vocabulary.tokenizers is not None:
        ids = _id_keys(model.network, vocabulary)
        write_tokenizers(vocabulary.tokenizers, folder, _framing(model.network, vocabulary))
        keys |= ids
        if isinstance(model.network, EncoderDecoder | LanguageModel):
            dump_json(ids | _search_keys(model.network, recipe), folder / "generation_config.json")
    write_network(model.network, model.family, model.config, folder, keys)
    if isinstance(model.network, ImageEncoder):
        dump_json(_image_keys(model.config.model_dump()), folder / "preprocessor_config.json")
    if isinstance(recipe.objective, EmbedObjective):
        _write_sentences(recipe.objective, recipe, model.config.model_dump()["d_model"], folder)


def _image_keys(own: Mapping[str, Any]) -> dict[str, Any]:
    """How images become pixels for the network."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": own["image_size"], "width": own["image_size"]},
        "resample": 2,  # bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * own["n_channels"],
        "image_std": [SPREAD] * own["n_channels"],
    }


def _label_keys(vocabulary: Vocabulary, recipe: Recipe) -> dict[str, Any]:
    if not vocabulary.labels:
        return {}
    keys: dict[str, Any] = {
        "id2label": {str(i): label for i, label in enumerate(vocabulary.labels)},
        "label2id": {label: i for i, label in enumerate(vocabulary.labels)},
    }
    if isinstance(recipe.objective, ClassifyObjective):
        words = {own: their for their, own in TARGETS.items()}
        keys["problem_type"] = words[recipe.objective.targets]
    return keys


def _id_keys(network: nn.Module, vocabulary: Vocabulary) -> dict[str, Any]:
    assert vocabulary.tokenizers is not None
    special = vocabulary.tokenizers.target.special
    keys = {
        "pad_token_id": special.pad,
        "bos_token_id": special.bos,
        "eos_token_id": special.eos,
    }
    if isinstance(network, EncoderDecoder):
        keys |= {"decoder_start_token_id": special.bos, "forced_eos_token_id": special.eos}
    return keys


def _framing(network: nn.Module, vocabulary: Vocabulary) -> Framing:
    """How texts stand for this network: a source has an end alone, a prompt a begin alone."""
    tokenizer = vocabulary.text
    if not isinstance(tokenizer.codec, LearnedCodec):
        return tokenizer.framing
    bos, eos = (tokenizer.special.bos,), (tokenizer.special.eos,)
    if isinstance(network, EncoderDecoder):
        return Framing(((), eos), ((), eos, eos))
    if isinstance(network, LanguageModel):
        return Framing((bos, ()), (bos, (), ()))
    return tokenizer.framing


def _search_keys(network: nn.Module, recipe: Recipe) -> dict[str, Any]:
    g = recipe.generation
    keys: dict[str, Any] = {} if g.max_length is None else {"max_new_tokens": g.max_length}
    if isinstance(network, LanguageModel) and g.temperature:
        keys |= {"do_sample": True, "temperature": g.temperature, "top_p": g.top_p}
        return keys | {"top_k": g.top_k, "repetition_penalty": g.repetition_penalty}
    return keys | {"num_beams": g.beam}


def _write_sentences(objective: EmbedObjective, recipe: Recipe, width: int, folder: Path) -> None:
    """What makes the folder one of sentence-transformers."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    dump_json(modules, folder / MODULES)
    modes = {"mean": "pooling_mode_mean_tokens", "first": "pooling_mode_cls_token"}
    pooling = {mode: own == objective.pooling for own, mode in modes.items()}
    dump_json({"word_embedding_dimension": width} | pooling, folder / "1_Pooling" / "config.json")
    (folder / "2_Normalize").mkdir()
    longest = {"max_seq_length": recipe.data.max_source, "do_lower_case": False}
    dump_json(longest, folder / "sentence_bert_config.json")
