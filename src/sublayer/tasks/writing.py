"""A recipe's `[generation]` as options of a search or a sampling."""

from __future__ import annotations

from sublayer.config.schema import Generation
from sublayer.generation.generate import Options
from sublayer.generation.hypothesis import Groups, SearchOptions
from sublayer.generation.logits import (
    Forbidden,
    FrequencyPenalty,
    NoRepeat,
    RepetitionPenalty,
    Rule,
    Rules,
)
from sublayer.generation.sample import SampleOptions
from sublayer.text.tokenizer import Tokenizer


def write_options(
    generation: Generation, tokenizer: Tokenizer, longest: int | None = None
) -> Options:
    """A search, or a sampling where there is a temperature.

    Outputs are made of the tokenizer's ids; they have `longest` tokens where the recipe says
    nothing.

    Raises:
        ValueError: the vocabulary does not know a character of the prefix.
    """
    g, rules, stop = generation, rules_of(generation, tokenizer), tuple(generation.stop)
    length = g.max_length or longest
    if g.temperature == 0:
        groups = Groups(g.groups, g.diversity)
        return SearchOptions(
            g.beam,
            g.length_penalty,
            length,
            patience=g.patience,
            groups=groups,
            rules=rules,
            stop=stop,
        )
    return SampleOptions(
        temperature=g.temperature,
        top_k=g.top_k,
        top_p=g.top_p,
        min_p=g.min_p,
        seed=g.seed,
        max_new=length,
        rules=rules,
        stop=stop,
    )


def rules_of(generation: Generation, tokenizer: Tokenizer) -> Rules:
    """What outputs begin with, and what changes logits, in transformers' order.

    Raises:
        ValueError: the vocabulary does not know a character of the prefix.
    """
    parts: list[Rule] = []
    if generation.repetition_penalty != 1:
        parts.append(RepetitionPenalty(generation.repetition_penalty))
    if generation.frequency_penalty:
        parts.append(FrequencyPenalty(generation.frequency_penalty))
    if generation.no_repeat_ngram:
        parts.append(NoRepeat(generation.no_repeat_ngram))
    if sequences := spellings(generation.forbidden, tokenizer):
        parts.append(Forbidden(sequences))
    prefix = tokenizer.encode(generation.prefix)
    if tokenizer.special.unk in prefix:
        raise ValueError(f"prefix '{generation.prefix}': the vocabulary lacks a character of it")
    return Rules(tuple(parts), tuple(prefix))


def spellings(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of each text, alone and after a space; none for what the vocabulary cannot write."""
    both = [ids for text in texts for ids in map(tokenizer.encode, (text, f" {text}"))]
    return [ids for ids in both if ids and tokenizer.special.unk not in ids]
