"""A network beside what was exported of it to CTranslate2: probabilities, and greedy texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sublayer.config.files import load_json
from sublayer.config.optional import needs
from sublayer.models.base import EncoderDecoder, LanguageModel
from sublayer.models.verify import Difference

with needs("CTranslate2's form", "ctranslate2", "export"):
    import ctranslate2

LARGEST = 1e-3
"""Difference of log-probabilities that float32 explains, by kernels that add in another order and
tables of other rounding; more is a mistake."""
LENGTHS, TARGETS, GREEDY = (11, 2, 7, 3, 14), (9, 5, 1, 13, 20), 24
"""Of sources or texts, of targets, and of what is written token by token."""


@dataclass(frozen=True)
class _Sides:
    """How ids are written on both sides, and the ids that begin and end a target."""

    source: list[str]
    target: list[str]
    begin: int
    end: int

    @classmethod
    def of(cls, folder: Path) -> _Sides:
        names = {side: folder / f"{side}vocabulary.json" for side in ("", "shared_", "target_")}
        target = next(load_json(file) for file in names.values() if file.exists())
        separate = folder / "source_vocabulary.json"
        keys = load_json(folder / "config.json")
        begin = target.index(keys.get("decoder_start_token", keys["bos_token"]))
        source = load_json(separate) if separate.exists() else target
        return cls(source, target, begin, target.index(keys["eos_token"]))


@torch.no_grad()
def compare(network: nn.Module, folder: Path, seed: int = 0) -> list[Difference]:
    """Log-probabilities of random texts, and how far greedy texts fall short, on the CPU.

    Each token that CTranslate2 writes greedily is the likeliest of the network's after those before
    it, or it falls short of the likeliest by the difference that is given.

    Raises:
        ValueError: CTranslate2 is not installed.
    """
    network = network.float().cpu().eval()
    random = torch.Generator().manual_seed(seed)
    sides, threads = _Sides.of(folder), torch.get_num_threads()
    if isinstance(network, EncoderDecoder):
        translator = ctranslate2.Translator(str(folder), intra_threads=threads)
        return _compare_pair(network, translator, sides, random)
    assert isinstance(network, LanguageModel)
    generator = ctranslate2.Generator(str(folder), intra_threads=threads)
    return _compare_language_model(network, generator, sides, random)


def _compare_pair(
    network: EncoderDecoder, translator: Any, sides: _Sides, random: torch.Generator
) -> list[Difference]:
    most = _most(network)
    sources = _rows(LENGTHS, len(sides.source), most, random)
    targets = _rows(TARGETS, len(sides.target), most, random)
    read = [_written(row, sides.source) for row in sources]

    def logits(source: list[int], target: list[int]) -> Tensor:
        return network(torch.tensor([source]), torch.tensor([[sides.begin, *target]]))[0]

    scored = translator.score_batch(read, [_written(row, sides.target) for row in targets])
    found = []
    for source, target, theirs in zip(sources, targets, scored, strict=True):
        ours = logits(source, target).log_softmax(-1)
        chosen = ours.gather(1, torch.tensor([*target, sides.end]).unsqueeze(1)).squeeze(1)
        found.append(_largest(chosen, torch.tensor(theirs.log_probs)))
    numbers = {token: id for id, token in enumerate(sides.target)}
    texts = translator.translate_batch(
        read,
        beam_size=1,
        min_decoding_length=0,
        max_decoding_length=min(GREEDY, most),
        return_end_token=True,
    )
    short = []
    for source, text in zip(sources, texts, strict=True):
        ids = [numbers[token] for token in text.hypotheses[0]]
        short.append(_shortfall(logits(source, ids[:-1]), ids))
    return _differences(found, short)


def _compare_language_model(
    network: LanguageModel, generator: Any, sides: _Sides, random: torch.Generator
) -> list[Difference]:
    most = _most(network)
    texts = _rows(LENGTHS, len(sides.target), most, random)

    def logits(ids: list[int]) -> Tensor:
        return network(torch.tensor([ids]))[0]

    theirs = torch.from_numpy(np.array(generator.forward_batch(texts, return_log_probs=True)))
    found = [
        _largest(logits(text).log_softmax(-1), row[: len(text)])
        for text, row in zip(texts, theirs, strict=True)
    ]
    results = generator.generate_batch(
        [_written(text, sides.target) for text in texts],
        beam_size=1,
        max_length=min(GREEDY, most - max(map(len, texts))),
        include_prompt_in_result=False,
        return_end_token=True,
    )
    short = []
    for text, result in zip(texts, results, strict=True):
        ids = result.sequences_ids[0]
        short.append(_shortfall(logits([*text, *ids[:-1]])[len(text) - 1 :], ids))
    return _differences(found, short)


def _differences(probabilities: list[float], greedy: list[float]) -> list[Difference]:
    """The largest of each."""
    return [
        Difference("log-probabilities", max(probabilities), LARGEST),
        Difference("greedy tokens", max(greedy), LARGEST),
    ]


def _most(network: EncoderDecoder | LanguageModel) -> int:
    """Tokens that there are places for, one at an end left out."""
    longest = max(*LENGTHS, *TARGETS) + GREEDY
    return longest if network.max_length is None else min(network.max_length - 1, longest)


def _rows(lengths: Sequence[int], size: int, most: int, random: torch.Generator) -> list[list[int]]:
    """Random ids; of half as many as there are places for, where that is less."""
    short = [max(1, min(length, most // 2)) for length in lengths]
    return [torch.randint(size, (length,), generator=random).tolist() for length in short]


def _written(ids: list[int], names: list[str]) -> list[str]:
    return [names[id] for id in ids]


def _shortfall(logits: Tensor, ids: list[int]) -> float:
    """By how much the `ids` that were chosen are less likely than the likeliest, `n v`."""
    logp = logits.log_softmax(-1)
    chosen = logp.gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
    return _largest(logp.amax(1), chosen)


def _largest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().nan_to_num(nan=float("inf")).max())
