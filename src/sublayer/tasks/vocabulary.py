"""All that ids stand for in one model: pieces of text, and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sublayer.config.files import dump_json, load_json
from sublayer.text.tokenizer import Tokenizer, Tokenizers

LABELS = "labels.json"
COUNTS = "counts.json"


@final
@dataclass(frozen=True)
class Vocabulary:
    """The tokenizers of the two sides, if the model reads text, and the labels, if it gives any.

    `counts` says how often each id stands in the training data, where a model goes by that.
    """

    tokenizers: Tokenizers | None = None
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def text(self) -> Tokenizer:
        """The tokenizer of a model that reads text."""
        assert self.tokenizers is not None, "this model reads no text"
        return self.tokenizers.source

    def number(self, label: str) -> int:
        """The label's id.

        Raises:
            ValueError: there is no such label.
        """
        try:
            return self.labels.index(label)
        except ValueError:
            raise ValueError(
                f"the training data has no label '{label}'; it has {', '.join(self.labels[:20])}"
            ) from None

    def save(self, folder: Path) -> None:
        """Write the tokenizers' files, `labels.json`, `counts.json`; the tokenizers come last."""
        if self.labels:
            dump_json(list(self.labels), folder / LABELS)
        if self.counts:
            dump_json(list(self.counts), folder / COUNTS)
        if self.tokenizers is not None:
            self.tokenizers.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: a file is missing or damaged.
        """
        labels = tuple(load_json(folder / LABELS)) if (folder / LABELS).exists() else ()
        counts = tuple(load_json(folder / COUNTS)) if (folder / COUNTS).exists() else ()
        has_text = any(folder.glob("tokenizer*.json"))
        return cls(Tokenizers.load(folder) if has_text or not labels else None, labels, counts)

    @classmethod
    def exists(cls, folder: Path, *, text: bool) -> bool:
        """Whether `save` has finished in `folder`; of two tokenizers the target's is the last."""
        if not text:
            return (folder / LABELS).exists()
        return (folder / "tokenizer.json").exists() or (folder / "tokenizer_target.json").exists()


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Every label once, in an order that does not depend on that of the data.

    Raises:
        ValueError: there are none, or only one, so that nothing can be learned.
    """
    found = Counter(labels)
    if len(found) < 2:
        raise ValueError(
            f"the training data has {len(found)} labels; a classifier needs two or more"
        )
    return tuple(sorted(found))
