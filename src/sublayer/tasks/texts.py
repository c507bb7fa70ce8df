"""Texts, or two texts, as rows of a model that sees both sides."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sublayer.config.schema import Recipe
from sublayer.data.batch import Labelled, pad, spell
from sublayer.layers.place import device_of
from sublayer.models.base import Classifier
from sublayer.objectives.labels import output_of
from sublayer.tasks.passages import wrap
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.tokenizer import SourceAndTargets, Tokenizer, Tokenizers


@dataclass(frozen=True)
class Learned:
    """What a vocabulary is learned from: a text, and others that go with it."""

    source: str
    targets: tuple[str, ...] = ()


def learn_tokenizer(
    recipe: Recipe,
    texts: Iterable[SourceAndTargets],
    given: Tokenizers | None = None,
    extra: Sequence[str] = (),
) -> Tokenizers:
    """The one vocabulary of a task that has one: that which is given, or one made of the texts.

    The texts are gone through in either case.

    Raises:
        ValueError: the recipe asks for two.
    """
    if given is not None:
        deque(texts, maxlen=0)
        return given.with_extra(extra)
    assert recipe.tokenizer is not None
    if recipe.tokenizer.shared is None:
        raise ValueError(
            f"the objective '{recipe.objective.kind}' has one vocabulary; use [tokenizer.shared]"
        )
    return Tokenizers.train(recipe.tokenizer, texts, extra)


@final
@dataclass(frozen=True)
class Framed:
    """Ids of a text, or two, with begin and ends."""

    ids: list[int]
    turn: int
    """Place from which on they are of a second text; behind all ids if there is none.

    The ids do not tell: a text may hold the sign of an end itself.
    """
    was_cut: bool


def rows_of(
    pairs: Sequence[tuple[str, str | None]], tokenizer: Tokenizer, longest: int
) -> Iterator[Framed]:
    """Each text, or two, cut to `longest` ids.

    Of two texts the longer is cut first, token by token (Devlin et al. 2019, as released).
    """
    firsts = tokenizer.encode_batch(first for first, _ in pairs)
    seconds = tokenizer.encode_batch(second or "" for _, second in pairs)
    for (_, text), first, second in zip(pairs, firsts, seconds, strict=True):
        room = longest - len(wrap([], None if text is None else [], tokenizer))
        over = len(first) + len(second) - room
        if over > 0:
            first, second = _cut(first, second, room)
        ids = wrap(first, None if text is None else second, tokenizer)
        turn = len(ids) if text is None else tokenizer.framing.turn(len(first))
        yield Framed(ids, turn, over > 0)


def _cut(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    kept = min(len(first), max(room - len(second), room - room // 2))
    return first[:kept], second[: room - kept]


def inputs_of(
    rows: Sequence[Sequence[int] | NDArray[np.integer]], tokenizer: Tokenizer
) -> tuple[Tensor, Tensor | None]:
    """Padded ids `b n`, or words in letters `b n c`; and `b n`, False at padding, None without."""
    if tokenizer.spelling is None:
        return pad([np.asarray(row) for row in rows], tokenizer.special.pad)
    return spell(rows, tokenizer.spelling, tokenizer.special.pad)


def batch_of(
    rows: Sequence[Sequence[int] | NDArray[np.integer]],
    labels: Tensor,
    tokenizer: Tokenizer,
    turns: Sequence[int] | None = None,
) -> Labelled:
    """Padded rows and their labels, one or several numbers a row.

    `turns` are the places where the second texts begin (`Framed`), None if there are none. Words in
    letters have no segments.
    """
    ids, valid = inputs_of(rows, tokenizer)
    if tokenizer.spelling is not None:
        return Labelled(ids, valid, None, labels, len(rows), sum(map(len, rows)))
    segments = torch.zeros_like(ids)
    if turns is not None:
        is_second = torch.arange(ids.shape[1]) >= torch.tensor(turns).unsqueeze(1)
        segments = is_second.long() * tokenizer.framing.second
    if valid is not None:
        segments = segments * valid
    return Labelled(ids, valid, segments, labels, len(rows), sum(map(len, rows)))


def done_with(left: Counter[int], numbers: Iterable[int]) -> int:
    """How many inputs are done with these parts of them; what is left of each is counted down."""
    done = 0
    for number in numbers:
        left[number] -= 1
        done += not left[number]
    return done


def as_classifier(network: nn.Module, doing: str) -> Classifier:
    """The network, if it has a head for labels.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(network, Classifier):
        raise ValueError(
            f"{type(network).__name__} has no head for labels, so it cannot {doing}; "
            "use a family such as bert"
        )
    return network


@torch.inference_mode()
def logits_of(network: Classifier, batch: Labelled) -> Tensor:
    """What the network says of a batch, in float32 on the CPU."""
    return output_of(network, batch.to(device_of(network))).float().cpu()


def split_input(text: str) -> tuple[str, str | None]:
    """A line of input: a text, or two with a tab between."""
    first, tab, second = text.partition("\t")
    return first, second if tab else None


def labelled(vocabulary: Vocabulary, share: Sequence[float], n: int) -> list[tuple[str, float]]:
    """The `n` labels with the largest share, largest first."""
    ranked = sorted(zip(vocabulary.labels, share, strict=True), key=lambda pair: -pair[1])
    return ranked[:n]
