"""A run with a plan at work without PyTorch, whose import takes longer than many files do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from sublayer import loops
from sublayer.config.files import changed, load_recipe
from sublayer.config.plan import read_plan
from sublayer.config.schema import Generation
from sublayer.data.result import Result
from sublayer.generation.stopping import Stops
from sublayer.text.tokenizer import Tokenizers

ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd")
"""What is there where PyTorch may have another device than the CPU."""
PLAIN = Generation()


@final
class PlannedPredictor:
    """A trained encoder-decoder that searches as its plan says."""

    def __init__(
        self, network: Any, tokenizers: Tokenizers, generation: Generation, max_source: int
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
        recipe, plan = load_recipe(folder / "recipe.toml"), read_plan(folder)
        generation = changed(recipe.generation, changes)
        if plan is None or recipe.objective.kind != "seq2seq" or not is_plain(generation, n):
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        from sublayer.generation.planned import Planned
        from sublayer.generation.weights import PlannedWeights
        from sublayer.loops.kept import kept_search, made_search, multiplies_bytes

        if not multiplies_bytes():
            return None
        search = kept_search()
        if search is None and inputs < loops.MANY:
            return None
        try:
            tensors = load_file(folder / "model.safetensors")
        except SafetensorError:
            return None
        weights, tokenizers = PlannedWeights(plan, tensors), Tokenizers.load(folder)
    except (ValueError, OSError, ImportError):
        return None
    network = Planned(weights, search or made_search())
    return PlannedPredictor(network, tokenizers, generation, recipe.data.max_source)


def is_plain(generation: Generation, n: int = 1) -> bool:
    """Whether loops know all that is asked of a search."""
    how = generation.model_dump()
    plain = PLAIN.model_dump()
    knows = {"beam", "length_penalty", "patience", "max_length", "batch_tokens", "workers", "seed"}
    unused = {"diversity", "top_k", "top_p", "min_p"}
    others = plain.keys() - knows - unused
    fits = n <= generation.beam and (generation.patience or 1) * generation.beam >= n
    return fits and all(how[key] == plain[key] for key in others)


def _may_be(folder: Path, device: str) -> bool:
    """Whether it is worth looking closer."""
    if device not in {"auto", "cpu"} or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return False
    if device == "auto" and any(Path(name).exists() for name in ACCELERATORS):
        return False
    is_planned = (folder / "plan.json").exists() and (folder / "recipe.toml").exists()
    return is_planned and find_spec("numba") is not None
