"""The recipe: every key a run can be given, its type, its default and its meaning.

A recipe is a TOML file with the sections below. Unknown keys are errors. What a family of models
can be given is written beside the family (`models/<family>.py`), not here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from sublayer.config.data import CatalogData as CatalogData
from sublayer.config.data import CmudictData as CmudictData
from sublayer.config.data import Data as Data
from sublayer.config.data import DataSection as DataSection
from sublayer.config.data import HubData as HubData
from sublayer.config.data import LinesData as LinesData
from sublayer.config.data import Splits as Splits
from sublayer.config.data import TableData as TableData
from sublayer.config.objective import Objective, Seq2SeqObjective
from sublayer.config.section import Fraction, OneOrMore
from sublayer.config.section import Section as Section

# ---- tokenizer -----------------------------------------------------------------------------------

TokenizerKind = Literal["characters", "words", "bpe", "wordpiece", "unigram", "letters"]


class TokenizerSide(Section):
    """One vocabulary: what its pieces are and how many."""

    kind: TokenizerKind
    vocab_size: Annotated[int, Field(ge=8)] = 8000
    """An upper bound; characters and words take fewer if the text has fewer."""
    lowercase: bool = False


class TokenizerSection(Section):
    """One vocabulary for both sides (`shared`), or one each (`source` and `target`)."""

    shared: TokenizerSide | None = None
    source: TokenizerSide | None = None
    target: TokenizerSide | None = None

    @model_validator(mode="after")
    def _one_or_two(self) -> TokenizerSection:
        given = (self.shared is not None, self.source is not None, self.target is not None)
        if given not in {(True, False, False), (False, True, True)}:
            raise ValueError("give either 'shared', or both 'source' and 'target'")
        return self


# ---- model ---------------------------------------------------------------------------------------


class ModelSection(BaseModel):
    """The family, a size from its table, and any of the family's own keys to change that size."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), populate_by_name=True
    )

    family: str = "transformer"
    size: str | None = None
    start: str | None = Field(default=None, alias="from")
    """A run folder, a Hugging Face folder or a hub id: its family, numbers, vocabulary and weights.

    Other keys change its numbers, such as dropout.
    """
    vectors: str | None = None
    """A file of word vectors (`.vec`), or a run, whose vectors the table of tokens begins with."""


# ---- training ------------------------------------------------------------------------------------


class Optimizer(Section):
    """Adam, AdamW, Muon or Adagrad; the paper's betas and epsilon are the defaults.

    Adagrad has no betas.
    """

    kind: Literal["adam", "adamw", "muon", "adagrad"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.98)
    eps: PositiveFloat = 1e-9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Not applied to biases, norms and other vectors."""


class Schedule(Section):
    """The learning rate: `lr` is its peak; for `paper`, a factor on the 2017 paper's formula.

    The formula: d_model^-0.5 min(step^-0.5, step warmup^-1.5).
    """

    kind: Literal["paper", "cosine", "linear", "wsd", "constant"] = "paper"
    lr: PositiveFloat = 1.0
    warmup: Annotated[int, Field(ge=0)] = 4000
    """Steps of linear warm-up."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak left at the end (cosine, linear, wsd)."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the run spent decaying (wsd)."""


class Training(Section):
    """How long, how fast, and what is kept."""

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    minutes: PositiveFloat | None = None
    """The run's length: the first bound reached ends it, and the schedule runs to that end."""
    batch_tokens: PositiveInt = 4096
    """Padded tokens of a batch on its longer side, rows follow from it; of images their number."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are added before one step of the optimizer."""
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient; 0 is off."""
    average: Annotated[int, Field(ge=0)] = 5
    """The finished model: the mean of this many last checkpoints, or the best if that is better.

    0 or 1: no mean, so the best.
    """
    log: str = "50 steps"
    evaluate: str = "10 %"
    """How often validation data is measured: "500 steps", "2 epochs", "10 min" or "5 %"."""
    checkpoint: str = "5 %"
    best: str = "loss"
    """The validation metric the best checkpoint is chosen by, and early stopping watches."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many validations without a better `best`; 0 is never."""
    samples: Annotated[int, Field(ge=0)] = 3
    """Outputs shown at each validation."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    device: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 leaves PyTorch's choice."""

    @model_validator(mode="after")
    def _bounded(self) -> Training:
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise ValueError("give the run a length: 'steps', 'epochs' or 'minutes'")
        return self


Text = Annotated[str, Field(min_length=1)]


class Generation(Section):
    """How outputs are searched for."""

    beam: PositiveInt = 4
    """1 is greedy."""
    length_penalty: Annotated[float, Field(ge=0)] = 0.6
    """alpha of Wu et al. 2016, eq. 14, which the 2017 paper uses; 0 is none."""
    patience: PositiveFloat | None = None
    """A text is done when so many times the beam have ended (Kasai et al. 2022); by default when
    nothing that still grows can be better, which takes longer."""
    max_length: PositiveInt | None = None
    """Tokens; by default the source's length + 50, as in the paper; of a language model 200."""
    batch_tokens: PositiveInt = 2048
    """Tokens that are read at a time, over the beam."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that answer the lines of a file, each with one thread; 0 is as many as there are
    threads, where the model is on a CPU. Few lines are answered by one, with all threads. Without
    PyTorch they are threads of one process."""
    fast: bool = True
    """Whether a large model writes by a CPU's faster kernels, in bfloat16 where it multiplies in
    that; else in float32 throughout."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 searches, any other draws from probabilities of this sharpness."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Draw from this many likeliest tokens; 0 is all (Fan et al. 2018)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the fewest tokens that have this much together (Holtzman et al. 2020)."""
    min_p: Fraction = 0.0
    """Draw from tokens at least this likely, as a share of the likeliest (Nguyen et al. 2024)."""
    repetition_penalty: PositiveFloat = 1.0
    """What has been said counts this much less (Keskar et al. 2019)."""
    frequency_penalty: Annotated[float, Field(ge=0)] = 0.0
    """And less by this in its logarithm for each time that it stands in the output."""
    no_repeat_ngram: Annotated[int, Field(ge=0)] = 0
    """No so many tokens in a row are said twice (Paulus et al. 2018); 0 is off."""
    forbidden: list[Text] = Field(default=[])
    """Texts that are not written."""
    prefix: str = ""
    """Text that the output begins with."""
    groups: PositiveInt = 1
    """Parts of the beam that avoid one another (Vijayakumar et al. 2018)."""
    diversity: PositiveFloat = 0.5
    """How much a group of the beam avoids those before it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    stop: list[Text] = Field(default=[])
    """Texts that end an output and are no part of it."""

    @model_validator(mode="after")
    def _one_way(self) -> Generation:
        if self.beam % self.groups:
            raise ValueError(f"groups: a beam of {self.beam} has no {self.groups} equal parts")
        if self.groups > 1 and self.temperature:
            raise ValueError("groups are parts of a beam, so they need temperature = 0")
        return self


class Evaluation(Section):
    """What is measured."""

    metrics: list[str] = Field(default=[])
    """Names from `metrics/`, such as bleu, wer, accuracy; perplexity is always given."""
    lowercase: bool = False
    """Score lower-cased text (sacrebleu's `lc`); labels and tags keep their case."""
    tokenize: str = "13a"
    """sacrebleu's tokenizer for BLEU."""
    length_buckets: PositiveInt = 5
    """Parts of about equally many rows, at least 50, that scores by source length are told for."""
    similarity: OneOrMore | None = None
    """Files of two words and how alike they are, for word vectors."""
    analogies: OneOrMore | None = None
    """Files of analogies, in the form of `questions-words.txt`, for word vectors."""


class Recipe(Section):
    """One run, written down."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    data: Data
    tokenizer: TokenizerSection | None = None
    """Not for images, nor where `model.from` names a model, which has one."""
    model: ModelSection = ModelSection()
    objective: Objective = Seq2SeqObjective()
    training: Training
    generation: Generation = Generation()
    evaluation: Evaluation = Evaluation()
