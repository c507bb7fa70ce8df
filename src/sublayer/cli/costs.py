"""What a run will cost, on stdout."""

from __future__ import annotations

from rich.console import Console

from sublayer.cli.tables import plain_table
from sublayer.training.estimate import Estimate


def print_estimate(e: Estimate) -> None:
    """Parameters by part, operations, memory and time."""
    console = Console()
    table = plain_table("part", "parameters", "MFLOPs an example")
    for part in e.count.parts:
        shared = f" (+ {part.shared:,} of the {part.shared_with})" if part.shared else ""
        table.add_row(part.name, f"{part.parameters:,}{shared}", f"{part.flops / 1e6:,.2f}")
    table.add_row(
        "all", f"{e.count.parameters:,}", f"{sum(p.flops for p in e.count.parts) / 1e6:,.2f}"
    )
    console.print(table)
    target = f" + {e.target_tokens:.1f}" if e.target_tokens else ""
    of = f" of {e.source_tokens:.1f}{target} tokens on average" if e.source_tokens else ""
    console.print(f"\n{e.examples:,} training examples{of}")
    console.print(f"{e.read:,.0f} {e.unit}s an epoch")
    if e.count.forward:
        console.print(
            f"per {e.unit}: {e.count.forward / 1e6:,.1f} MFLOPs forward, "
            f"{e.count.training / 1e6:,.1f} in training"
        )
    console.print()
    table = plain_table("memory of a training step", "MiB")
    for name in ("weights", "gradients", "moments", "activations", "loss", "total"):
        table.add_row(name, f"{getattr(e.training, name) / 2**20:,.1f}")
    console.print(table)
    if e.decoding is not None:
        held = [
            (e.decoding.carried, ", however long it is"),
            (e.decoding.per_target_token, f" a {e.unit}"),
            (e.decoding.per_source_token, " a source token"),
        ]
        told = [f"{size:,} bytes{of}" for size, of in held if size]
        console.print(f"state while decoding, each hypothesis: {' + '.join(told)}\n")
    if e.receptive_field is not None:
        console.print(f"receptive field: {e.receptive_field:,} tokens\n")
    console.print(
        f"here: {e.tokens_per_second:,.0f} {e.unit}s/s, "
        f"{e.minutes:,.1f} min for {e.epochs:,.1f} epochs"
    )
