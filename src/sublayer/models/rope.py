"""How rotary positions reach beyond their trained length, written down: our keys and theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from sublayer.layers import rotary
from sublayer.layers.rotary import Rates


@final
class Scaling(BaseModel):
    """How rotary positions reach beyond their trained length; see `layers/rotary.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: Literal["linear", "dynamic", "yarn", "llama3", "longrope"]
    factor: PositiveFloat = 1.0
    trained: PositiveInt
    """Length of the sequences before the stretch."""
    low: PositiveFloat = 1.0
    """Turns below which a pair is interpolated (yarn, llama3)."""
    high: PositiveFloat | None = None
    """Turns above which a pair is left alone; None: 32 for yarn, 4 for llama3."""
    truncate: bool = True
    """Whether yarn's ramp begins and ends at whole pairs."""
    short: tuple[PositiveFloat, ...] = ()
    long: tuple[PositiveFloat, ...] = ()
    """longrope's divisors, d_head / 2 of each."""
    strength: PositiveFloat | None = None
    """By what queries and keys are lengthened (yarn, longrope); None: as their papers have it."""

    @property
    def lengthening(self) -> float:
        """By what queries and keys are lengthened."""
        if self.strength is not None:
            return self.strength
        if self.kind == "yarn":
            return rotary.yarn_strength(self.factor)
        is_long = self.kind == "longrope"
        return rotary.longrope_strength(self.factor, self.trained) if is_long else 1.0

    def rates(self, d_head: int, theta: float) -> Rates:
        """The part that this names."""
        f, n = self.factor, self.trained
        return {
            "linear": lambda: rotary.linear(d_head, theta, f),
            "dynamic": lambda: rotary.dynamic(d_head, theta, f, n),
            "yarn": lambda: rotary.yarn(
                d_head, theta, f, n, fast=self.high or 32.0, slow=self.low, truncate=self.truncate
            ),
            "llama3": lambda: rotary.llama3(
                d_head, theta, f, n, low=self.low, high=self.high or 4.0
            ),
            "longrope": lambda: rotary.longrope(d_head, theta, self.short, self.long, n),
        }[self.kind]()


HF_SCALING: dict[str, str] = {
    "rope_type": "kind",
    "factor": "factor",
    "original_max_position_embeddings": "trained",
    "low_freq_factor": "low",
    "high_freq_factor": "high",
    "beta_slow": "low",
    "beta_fast": "high",
    "truncate": "truncate",
    "short_factor": "short",
    "long_factor": "long",
    "attention_factor": "strength",
}


def read_scaling(rope: Mapping[str, Any], longest: int) -> dict[str, Any] | None:
    """Hugging Face's `rope_parameters` as the keys of a `Scaling`; None where nothing is scaled.

    `longest` is what the model was made for.
    """
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    ours = {own: rope[key] for key, own in HF_SCALING.items() if rope.get(key) is not None}
    # transformers' dynamic scaling counts from `longest`, whatever else is written there
    trained = longest if kind == "dynamic" else ours.get("trained", longest)
    ours |= {"kind": kind, "trained": trained}
    ours |= {key: tuple(map(float, ours[key])) for key in ("short", "long") if key in ours}
    ours |= {key: float(ours[key]) for key in ("factor", "low", "high", "strength") if key in ours}
    factor = ours.setdefault("factor", longest / ours["trained"])
    if kind == "yarn" and "strength" not in ours:
        weights = (rope.get("mscale"), rope.get("mscale_all_dim"))
        ours["strength"] = (
            rotary.yarn_strength(factor, weights[0]) / rotary.yarn_strength(factor, weights[1])
            if weights[0] and weights[1]
            else rotary.yarn_strength(factor)
        )
    if kind == "longrope" and "strength" not in ours:
        ours["strength"] = rotary.longrope_strength(factor, ours["trained"])
    return ours


def write_scaling(scaling: Scaling | None) -> dict[str, Any]:
    """As Hugging Face's `rope_parameters`."""
    if scaling is None:
        return {"rope_type": "default"}
    ours = scaling.model_dump(exclude_none=True)
    trained = "original_max_position_embeddings"
    takes = {
        "linear": ["factor"],
        "dynamic": ["factor"],
        "yarn": ["factor", trained, "beta_slow", "beta_fast", "truncate", "attention_factor"],
        "llama3": ["factor", trained, "low_freq_factor", "high_freq_factor"],
        "longrope": ["factor", trained, "attention_factor", "short_factor", "long_factor"],
    }[scaling.kind]
    ours["strength"] = scaling.lengthening
    ours.setdefault("high", 32.0 if scaling.kind == "yarn" else 4.0)
    return {"rope_type": scaling.kind} | {key: ours[HF_SCALING[key]] for key in takes}
