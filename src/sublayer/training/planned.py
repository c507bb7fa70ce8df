"""A run with a plan at work without PyTorch, whose import takes longer than many files do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sublayer import loops
from sublayer.config.files import changed, load_recipe
from sublayer.config.plan import PLAN, read_plan
from sublayer.config.schema import Generation, Recipe
from sublayer.data.result import Result
from sublayer.generation.lengths import limit_of
from sublayer.generation.stopping import Stops
from sublayer.text.tokenizer import Tokenizers

if TYPE_CHECKING:
    from sublayer.generation.planned import Planned

ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What is there where PyTorch may have another device than the CPU."""
PLAIN = Generation()
KIND = "seq2seq"
"""What plans are for: other objectives of the same networks answer otherwise."""
LONGEST = 4096
"""Tokens of an output for which there is room beforehand."""
KNOWN = {"beam", "length_penalty", "patience", "max_length", "batch_tokens", "workers"}
"""Keys of [generation] that loops know."""
UNUSED = {"seed", "diversity", "top_k", "top_p", "min_p"}
"""Keys that say nothing of a search without groups."""


@final
class PlannedPredictor:
    """A trained encoder-decoder that searches as its plan says."""

    def __init__(
        self, network: Planned, tokenizers: Tokenizers, generation: Generation, max_source: int
    ) -> None:
        self.network, self.tokenizers, self.generation = network, tokenizers, generation
        self.max_source = max_source
        self.first = self.shortened = 0

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Callable[[int], None] | None = None
    ) -> list[list[Result]]:
        """The `n` best outputs, each with its score and log-probability."""
        from sublayer.generation.planned import Asked

        both, g = self.tokenizers, self.generation
        sources = both.source.encode_batch(inputs)
        self.shortened += sum(len(ids) > self.max_source for ids in sources)
        end = both.source.special.eos
        found = self.network.answers(
            [[*ids[: self.max_source], end] for ids in sources],
            Asked(
                g.beam,
                n,
                g.length_penalty,
                g.patience,
                g.max_length,
                g.batch_tokens,
                g.workers or cores(),
            ),
            both.target.special.bos,
            Stops.of(both.target.special),
            progress or (lambda done: None),
        )
        return [[self._result(*answer) for answer in row] for row in found]

    def _result(self, ids: list[int], logprob: float, score: float) -> Result:
        text = self.tokenizers.target.decode(ids)
        fields = {"text": text, "score": score, "logprob": logprob}
        return Result(" ".join(text.splitlines()), fields)

    def stream(self, text: str) -> Iterator[str]:
        """The best output."""
        yield self.results([text])[0][0].text


def cores() -> int:
    """Threads that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else len(os.sched_getaffinity(0))


def load_planned(
    folder: Path, changes: Mapping[str, Any], *, device: str = "auto", inputs: int = 1, n: int = 1
) -> PlannedPredictor | None:
    """The model of a run folder, if it can answer without PyTorch what it is asked; else None.

    `inputs` is how many it is to answer, if that is known, and `n` with how many answers each. What
    is wrong with the folder or the `changes` is for who reads it with PyTorch to say.
    """
    if not _may_be(folder, device):
        return None
    try:
        recipe = load_recipe(folder / "recipe.toml")
        generation = changed(recipe.generation, changes)
        network = _network(folder, inputs) if is_plain(recipe, generation, n) else None
        if network is None:
            return None
        tokenizers = Tokenizers.load(folder)
    except (ValueError, OSError, ImportError):
        return None
    return PlannedPredictor(network, tokenizers, generation, recipe.data.max_source)


def _network(folder: Path, inputs: int) -> Planned | None:
    """That of a folder, if it has a plan and the search is compiled, or worth to be.

    Raises:
        ValueError: the weights are damaged, or of widths that loops do not multiply.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from sublayer.generation.planned import Planned
    from sublayer.generation.weights import PlannedWeights
    from sublayer.loops.kept import is_possible, kept_search, made_search

    plan = read_plan(folder)
    if plan is None or not is_possible():
        return None
    search = kept_search()
    if search is None and inputs < loops.MANY:
        return None
    try:
        tensors = load_file(folder / "model.safetensors")
    except (SafetensorError, TypeError) as error:  # NumPy has no bfloat16
        raise ValueError(str(error)) from error
    weights = PlannedWeights(plan, tensors)
    return Planned(weights, search or made_search())


def prepare(folder: Path) -> None:
    """Compile the search, if it is not, for a run that can answer by it."""
    if loops.are_here():
        with suppress(ValueError, OSError, ImportError):
            _network(folder, loops.MANY)


def is_plain(recipe: Recipe, generation: Generation, n: int = 1) -> bool:
    """Whether loops know all that is asked of a search for `n` answers."""
    longest = limit_of(generation.max_length, recipe.data.max_source + 1)
    if recipe.objective.kind != KIND or longest > LONGEST:
        return False
    asked, plain = generation.model_dump(), PLAIN.model_dump()
    fits = n <= generation.beam and (generation.patience or 1) * generation.beam >= n
    return fits and all(asked[key] == plain[key] for key in plain.keys() - KNOWN - UNUSED)


def _may_be(folder: Path, device: str) -> bool:
    """Whether it is worth to look closer."""
    if device not in {"auto", "cpu"} or os.environ.get("WORLD_SIZE", "1") != "1":
        return False
    if device == "auto" and any(Path(name).exists() for name in ACCELERATORS):
        return False
    return (folder / PLAN).exists() and (folder / "recipe.toml").exists() and loops.are_here()
