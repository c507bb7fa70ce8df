"""What a model of a Hugging Face folder is for, by the architecture that its files name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sublayer.config.files import load_json, load_object
from sublayer.config.objective import AnswerObjective
from sublayer.config.schema import Generation
from sublayer.generation.hypothesis import Power, SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.models.base import Classifier, Encoder, EncoderDecoder, ImageEncoder, LanguageModel
from sublayer.models.huggingface import architecture_of
from sublayer.objectives.contrast import Pooling
from sublayer.tasks.answer import Answers
from sublayer.tasks.base import Predictor
from sublayer.tasks.classify import LONGEST, Labels, Targets
from sublayer.tasks.embed import Vectors
from sublayer.tasks.images import MEAN, SPREAD, ImageLabels
from sublayer.tasks.language import TextGoesOn
from sublayer.tasks.masked import Fills
from sublayer.tasks.seq2seq import TextToText
from sublayer.tasks.tag import Tags
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.huggingface import read_tokenizers

MODULES = "modules.json"
"""What says that a folder is one of sentence-transformers."""
UNUSED: dict[str, Any] = {
    "min_length": 0,
    "min_new_tokens": 0,
    "num_beam_groups": 1,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "forced_bos_token_id": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "guidance_scale": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "penalty_alpha": None,
}
"""Keys of generation that have no counterpart here, and the value that changes nothing."""
TARGETS: dict[str, Targets] = {
    "single_label_classification": "one",
    "multi_label_classification": "several",
    "regression": "number",
}


def body_folder(folder: Path) -> Path:
    """Where the network lies in a folder: its own place, or a folder in that of sentences."""
    if not (folder / MODULES).exists():
        return folder
    return folder / str(_modules(folder)[0]["path"])


def _modules(folder: Path) -> list[dict[str, Any]]:
    """What sentence-transformers sends a text through."""
    file = folder / MODULES
    modules = load_json(file)
    if not isinstance(modules, list) or not modules:
        raise ValueError(f"{file} lists no modules, so it is damaged; copy it again")
    for module in modules:
        if not isinstance(module, dict) or not {"path", "type"} <= module.keys():
            raise ValueError(f"{file}: a module has no path and type; copy the file again")
    return modules


def generation_of(folder: Path) -> dict[str, Any]:
    """Keys of `[generation]` that a folder gives; old ones have them in `config.json`."""
    files = [
        file
        for name in ("config.json", "generation_config.json")
        if (file := folder / name).exists()
    ]
    theirs: dict[str, Any] = {}
    for file in files:
        theirs |= {key: value for key, value in load_object(file).items() if value is not None}
    _tell_unused(theirs, folder)
    ours: dict[str, Any] = {"beam": theirs.get("num_beams", 1)}
    ours["repetition_penalty"] = float(theirs.get("repetition_penalty", 1.0))
    ours["no_repeat_ngram"] = theirs.get("no_repeat_ngram_size", 0)
    ours["length_penalty"] = max(float(theirs.get("length_penalty", 1.0)), 0.0)
    is_pair = theirs.get("is_encoder_decoder", False)
    if "max_new_tokens" in theirs:
        ours["max_length"] = theirs["max_new_tokens"]
    elif is_pair and theirs.get("max_length", 0) > 1:
        ours["max_length"] = theirs["max_length"] - 1  # theirs counts the start
    if theirs.get("do_sample") and not is_pair:
        ours |= {
            "temperature": float(theirs.get("temperature", 1.0)),
            "top_k": theirs.get("top_k", 50),
            "top_p": float(theirs.get("top_p", 1.0)),
            "min_p": float(theirs.get("min_p", 0.0)),
        }
    return ours


def _tell_unused(theirs: Mapping[str, Any], folder: Path) -> None:
    """Say which keys would change what is written, and are not used here."""
    keys = [key for key, none in UNUSED.items() if theirs.get(key, none) != none]
    words = theirs.get("bad_words_ids", [])  # the padding, which is never written here either
    if any(word != [theirs.get("pad_token_id")] for word in words):
        keys.append("bad_words_ids")
    if keys:
        logging.getLogger("sublayer").warning(
            "sublayer: %s asks for %s, which is not used here, so texts may differ from "
            "transformers'",
            folder,
            ", ".join(keys),
        )


def predictor_of(network: nn.Module, folder: Path, generation: Generation) -> Predictor:
    """The network of a folder with what lies beside it, ready to be given inputs.

    Raises:
        ValueError: the folder lacks a tokenizer, or nothing here uses such a model.
    """
    home = body_folder(folder)
    keys = load_object(home / "config.json")
    vocabulary = vocabulary_of(network, home)
    if isinstance(network, EncoderDecoder):
        return _text_to_text(network, vocabulary, generation, keys)
    if isinstance(network, LanguageModel):
        return _text_goes_on(network, vocabulary, generation, home)
    if isinstance(network, ImageEncoder):
        return _image_labels(network, vocabulary, home, keys)
    if isinstance(network, Classifier):
        return _classifier(network, vocabulary, keys)
    if isinstance(network, Encoder) and (
        (folder / MODULES).exists() or isinstance(network.head, nn.Identity)
    ):
        return _vectors(network, vocabulary, folder)
    return Fills(network, vocabulary)


def vocabulary_of(network: nn.Module, folder: Path) -> Vocabulary:
    """The tokenizers of a folder, if its network reads text, and its labels, if it gives any.

    Raises:
        ValueError: the folder lacks a tokenizer.
    """
    keys = load_object(folder / "config.json")
    names = _label_names(keys.get("id2label") or {}, folder / "config.json")
    head = network.head if isinstance(network, Classifier | ImageEncoder) else None
    count = head.out_features if isinstance(head, nn.Linear) else 0
    labels = tuple(names.get(i, f"LABEL_{i}") for i in range(count))
    if isinstance(network, ImageEncoder):
        return Vocabulary(None, labels)
    return Vocabulary(read_tokenizers(folder, keys), labels)


def _label_names(named: Any, file: Path) -> dict[int, str]:
    try:
        return {int(id): str(name) for id, name in named.items()}
    except (AttributeError, ValueError):
        raise ValueError(
            f"{file}: id2label {named!r} does not give names to numbers, such as {{'0': 'no'}}"
        ) from None


def _text_to_text(
    network: EncoderDecoder,
    vocabulary: Vocabulary,
    generation: Generation,
    keys: Mapping[str, Any],
) -> TextToText:
    longest = keys.get("max_position_embeddings") or LONGEST
    predictor = TextToText(network, vocabulary, generation, longest - 1)
    writer = predictor.writer
    if isinstance(writer.options, SearchOptions):
        writer.options = replace(writer.options, length_penalty=Power(generation.length_penalty))
    return predictor


def _text_goes_on(
    network: LanguageModel, vocabulary: Vocabulary, generation: Generation, folder: Path
) -> TextGoesOn:
    """With all ends that the folder names: models that converse have several."""
    predictor = TextGoesOn(network, vocabulary, generation)
    file = folder / "generation_config.json"
    ends = load_object(file).get("eos_token_id") if file.exists() else None
    if isinstance(ends, list):
        special = vocabulary.text.special
        ends = tuple(dict.fromkeys([special.eos, *ends]))
        never = tuple(id for id in Stops.of(special).never if id not in ends)
        predictor.continuer.stops = Stops(ends, never)
    return predictor


def _image_labels(
    network: ImageEncoder, vocabulary: Vocabulary, folder: Path, keys: Mapping[str, Any]
) -> ImageLabels:
    if not vocabulary.labels:
        raise ValueError(f"{folder} has no head for labels, so it says nothing of an image")
    file = folder / "preprocessor_config.json"
    says = load_object(file) if file.exists() else {}
    for key, own in (("image_mean", MEAN), ("image_std", SPREAD)):
        if any(value != own for value in says.get(key) or []):
            raise ValueError(f"{file}: {key} {says[key]} is not supported, only {own}")
    size = keys.get("image_size", 224)
    return ImageLabels(network, vocabulary, (keys.get("num_channels", 3), size, size))


def _classifier(network: Classifier, vocabulary: Vocabulary, keys: Mapping[str, Any]) -> Predictor:
    makers: dict[str, Callable[[], Predictor]] = {
        "ForSequenceClassification": lambda: Labels(
            network, vocabulary, _targets(keys, len(vocabulary.labels))
        ),
        "ForTokenClassification": lambda: Tags(network, vocabulary),
        "ForQuestionAnswering": lambda: Answers(
            network, vocabulary, AnswerObjective(kind="answer")
        ),
    }
    name = architecture_of(keys, "")
    for end, make in makers.items():
        if name.endswith(end):
            return make()
    raise ValueError(f"nothing here uses an architecture '{name}'; known ends: {', '.join(makers)}")


def _targets(keys: Mapping[str, Any], n_labels: int) -> Targets:
    """As `problem_type` says; without it, one label by itself is a number, as in transformers."""
    problem = keys.get("problem_type")
    if problem is None:
        return "number" if n_labels == 1 else "one"
    if problem not in TARGETS:
        raise ValueError(f"problem_type {problem!r} in config.json is none of {', '.join(TARGETS)}")
    return TARGETS[problem]


def _vectors(network: Encoder, vocabulary: Vocabulary, folder: Path) -> Vectors:
    """As sentence-transformers says: which vector is a text's, and where texts are cut."""
    pooling: Pooling = "mean"
    longest, normalized = LONGEST, True
    if (folder / MODULES).exists():
        modules = _modules(folder)[1:]
        kinds = [module["type"].rpartition(".")[2] for module in modules]
        normalized = "Normalize" in kinds
        for module, kind in zip(modules, kinds, strict=True):
            if kind == "Pooling":
                pooling = _pooling(folder / module["path"] / "config.json")
            elif kind != "Normalize":
                raise ValueError(f"{folder / MODULES}: a module '{kind}' is not supported")
        file = folder / "sentence_bert_config.json"
        longest = (load_object(file).get("max_seq_length") if file.exists() else None) or LONGEST
    return Vectors(network, vocabulary, pooling, longest=longest, normalized=normalized)


def _pooling(file: Path) -> Pooling:
    keys = load_object(file)
    modes = [key for key, on in keys.items() if key.startswith("pooling_mode_") and on is True]
    modes = modes or [f"pooling_mode_{keys.get('pooling_mode', 'mean')}"]
    words: dict[str, Pooling] = {
        "mean_tokens": "mean",
        "mean": "mean",
        "cls_token": "first",
        "cls": "first",
    }
    mode = modes[0].removeprefix("pooling_mode_")
    if len(modes) > 1 or mode not in words:
        raise ValueError(f"{file}: only the mean or the first token's vector is supported: {modes}")
    return words[mode]
