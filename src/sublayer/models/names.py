"""Other people's names for the same weights, as two-way tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """One line of a table: their name and ours.

    `{i}` stands for a number, `{p}` for weight or bias. Several names of ours mean that theirs
    holds them one after the other on the first axis; `transposed`, that it holds the matrix lying
    on its side; `row`, that it holds a vector as a matrix of one row.
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool
    row: bool

    def __init__(
        self, theirs: str, *ours: str, transposed: bool = False, row: bool = False
    ) -> None:
        object.__setattr__(self, "theirs", theirs)
        object.__setattr__(self, "ours", ours)
        object.__setattr__(self, "transposed", transposed)
        object.__setattr__(self, "row", row)


def to_ours(state: Mapping[str, Tensor], table: Sequence[Rule]) -> dict[str, Tensor]:
    """Their tensors under our names.

    Raises:
        ValueError: a name no rule knows, or two that are one and differ.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        rule, found = _find(name, [(rule, rule.theirs) for rule in table])
        tensor = tensor.T if rule.transposed else tensor
        tensor = tensor.squeeze(0) if rule.row else tensor
        parts = tensor.chunk(len(rule.ours)) if len(rule.ours) > 1 else (tensor,)
        for template, part in zip(rule.ours, parts, strict=True):
            own = _fill(template, found)
            if own in out and not torch.equal(out[own], part):
                raise ValueError(f"tensor '{name}' differs from the one that it is tied to")
            out[own] = part
    return out


def is_known(name: str, table: Sequence[Rule]) -> bool:
    """Whether a name of theirs is in the table."""
    return any(_match(name, rule.theirs) for rule in table)


def their_name(own: str, table: Sequence[Rule]) -> str:
    """Their name for a tensor of ours, or for the one that holds it.

    Raises:
        ValueError: a name no rule knows.
    """
    rule, found = _find(own, [(rule, ours) for rule in table for ours in rule.ours])
    return _fill(rule.theirs, found)


def to_theirs(state: Mapping[str, Tensor], table: Sequence[Rule]) -> dict[str, Tensor]:
    """Our tensors under their names.

    Raises:
        ValueError: a name no rule knows.
    """
    out: dict[str, Tensor] = {}
    for name in state:
        rule, found = _find(name, [(rule, ours) for rule in table for ours in rule.ours])
        theirs = _fill(rule.theirs, found)
        if theirs not in out:
            parts = [state[_fill(ours, found)] for ours in rule.ours]
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
            whole = whole.T.contiguous() if rule.transposed else whole
            out[theirs] = whole.unsqueeze(0) if rule.row else whole
    return out


def _find(
    name: str, candidates: Iterator[tuple[Rule, str]] | Sequence[tuple[Rule, str]]
) -> tuple[Rule, dict[str, str]]:
    for rule, template in candidates:
        if match := _match(name, template):
            return rule, match.groupdict()
    raise ValueError(f"tensor '{name}' has no name here; the weights are of another family")


def _match(name: str, template: str) -> re.Match[str] | None:
    pattern = (
        re.escape(template).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{p\}", "(?P<p>weight|bias)")
    )
    return re.fullmatch(pattern, name)


def _fill(template: str, found: Mapping[str, str]) -> str:
    for key, value in found.items():
        template = template.replace(f"{{{key}}}", value)
    return template
