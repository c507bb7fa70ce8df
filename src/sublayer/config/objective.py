"""What a model is trained for: the recipe's `[objective]`, one section for each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from sublayer.config.section import Fraction, Section

Length = Annotated[int, Field(ge=8)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Seq2SeqObjective(Section):
    """Teacher forcing: cross-entropy of each target token, given the source and those before."""

    kind: Literal["seq2seq"] = "seq2seq"
    label_smoothing: Fraction = 0.1
    r_drop: Annotated[float, Field(ge=0)] = 0.0
    """Weight of R-Drop's symmetric KL between two dropout masks (arXiv:2106.14448); 0 is off."""


class CausalObjective(Section):
    """Language model: each token from those before it in the text."""

    kind: Literal["causal"]
    length: Length = 256
    """Tokens of a window; texts are laid end to end and cut into windows, anew in every epoch."""
    label_smoothing: Fraction = 0.0


class MaskedObjective(Section):
    """Masked language model (Devlin et al. 2019), with or without a task on pairs of passages."""

    kind: Literal["masked"]
    length: Length = 128
    """Tokens of a passage, special ones included."""
    share: Share = 0.15
    """Of the tokens that are to be told; of these 80 % are masked, 10 % others, 10 % as they are.

    Drawn anew each time a passage is seen (Liu et al. 2019, section 4.1).
    """
    pairs: Literal["none", "next", "order"] = "none"
    """Also: whether one passage follows the other (BERT), or the two are in order (ALBERT)."""


class SpansObjective(Section):
    """Span corruption (Raffel et al. 2020): sentinels in the text, what they stand for after it."""

    kind: Literal["spans"]
    length: Length = 256
    """Tokens of a passage before spans are taken out."""
    share: Share = 0.15
    """Of the tokens that are taken out."""
    span: Annotated[float, Field(ge=1)] = 3.0
    """Mean length of what is taken out at one place."""


class BidirectionalObjective(Section):
    """Each word from those before it, and from those behind it (Peters et al. 2018, 3.1)."""

    kind: Literal["bidirectional"]
    length: Length = 64
    """Words of a passage."""


class ClassifyObjective(Section):
    """One label, several, or a number for a text or a pair of texts."""

    kind: Literal["classify"]
    targets: Literal["one", "several", "number"] = "one"
    """Softmax and cross-entropy; a sigmoid for each label; squared error."""
    label_smoothing: Fraction = 0.0


class ImagesObjective(Section):
    """One label for an image."""

    kind: Literal["images"]
    label_smoothing: Fraction = 0.0
    shift: Annotated[int, Field(ge=0)] = 0
    """Training images are moved by up to so many pixels each way."""


class TagObjective(Section):
    """One label for each word, told at its first piece (Devlin et al. 2019, section 5.3)."""

    kind: Literal["tag"]
    label_smoothing: Fraction = 0.0


class AnswerObjective(Section):
    """Where in a text the answer to a question begins and ends (Devlin et al. 2019, 4.2)."""

    kind: Literal["answer"]
    length: Length = 384
    """Tokens of question and passage; a longer text is gone through in overlapping passages."""
    longest: PositiveInt = 30
    """Tokens of an answer."""


class EmbedObjective(Section):
    """Vectors near for what belongs together: the other targets of a batch are the wrong answers.

    InfoNCE (van den Oord et al. 2018) both ways over cosines, as in Gao et al. 2021, section 3.
    """

    kind: Literal["embed"]
    pooling: Literal["mean", "first"] = "mean"
    """The vector of a text: the mean over its tokens, or that of the first."""
    temperature: PositiveFloat = 0.05


class WordsObjective(Section):
    """Vectors of words from the words around them (Mikolov et al. 2013a, 2013b: word2vec)."""

    kind: Literal["words"]
    method: Literal["skipgram", "cbow"] = "skipgram"
    """Each word around is told from the one in the middle, or the middle one from their mean."""
    output: Literal["negative", "hierarchical"] = "negative"
    """Negative sampling, or a softmax over the turns of a Huffman tree."""
    window: PositiveInt = 5
    """Words on either side at most: of each place, a number from 1 to this is drawn."""
    negatives: PositiveInt = 5
    """Words drawn to be told from a right one."""
    sample: Annotated[float, Field(ge=0)] = 1e-3
    """Share of a text from which on a word is left out at random; 0 is off."""


class GloveObjective(Section):
    """Vectors of words from how often they stand together (Pennington et al. 2014)."""

    kind: Literal["glove"]
    window: PositiveInt = 10
    """Words on either side that count, each by 1 over its distance."""
    symmetric: bool = True
    """Whether words after a word count as those before it do; else only these count."""
    x_max: PositiveFloat = 100.0
    """Count from which on all weigh the same."""
    alpha: PositiveFloat = 0.75
    """Power of the weight below that."""
    memory: PositiveInt = 256
    """MiB that counts may take while a text is gone through; the rest waits on the disk."""


Objective = Annotated[
    Seq2SeqObjective
    | CausalObjective
    | MaskedObjective
    | SpansObjective
    | BidirectionalObjective
    | ClassifyObjective
    | ImagesObjective
    | TagObjective
    | AnswerObjective
    | EmbedObjective
    | WordsObjective
    | GloveObjective,
    Field(discriminator="kind"),
]
