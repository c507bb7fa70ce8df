"""What is done to logits before a token is drawn. Each takes and gives `r v`.

`Sampler` applies them in the order of this file, which is transformers'.
"""

from __future__ import annotations

from torch import Tensor

NEVER = float("-inf")


def repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Tokens `seen` (bool, `r v`) in prompt or output become less likely for a `penalty` over 1.

    Positive logits are divided by it, negative ones multiplied (Keskar et al. 2019, "CTRL", section
    4.1, whose formula is for positive ones alone).
    """
    return logits.where(~seen, (logits / penalty).where(logits > 0, logits * penalty))


def temperature(logits: Tensor, t: float) -> Tensor:
    """Logits over `t`: below 1 the likely become likelier (Ackley et al. 1985)."""
    return logits / t


def top_k(logits: Tensor, k: int) -> Tensor:
    """Only the `k` likeliest are left, and what ties with the last of them (Fan et al. 2018)."""
    worst = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < worst, NEVER)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Only the likeliest are left, as few as have probability `p` together.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1.
    """
    best_first, order = logits.sort(stable=True, dim=-1, descending=True)
    probabilities = best_first.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    beyond = before >= p
    beyond[:, 0] = False
    return logits.masked_fill(beyond.scatter(-1, order, beyond), NEVER)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Only those are left that have at least `p` times the likeliest's probability.

    Nguyen et al. 2024, "Turning up the heat: min-p sampling".
    """
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), NEVER)
