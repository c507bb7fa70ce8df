"""The gradient's norm by block, for cells of a comparison or a recipe: part of comparison 6, norms.

    sublayer compare recipes/compare/norms.toml training.threads=1 --out norms
    python recipes/compare/gradients.py recipes/compare/norms.toml --runs norms --out gradients.png
    python recipes/compare/gradients.py recipes/pronounce.toml model.norm=pre,post

Xiong et al. 2020 (arXiv:2002.04745), figure 3: with the norm after the residual the last blocks of
a deep stack have large gradients, which is what a warm-up is for; with the norm before it they have
not. For every block that is the norm over all of its parameters, the mean of `--batches` batches;
nothing is updated in between. It is told for weights as they are initialized and, with `--runs`,
for those that the comparison's runs ended with. What it found stands in the header of norms.toml.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from sublayer.config.comparison import Budget, Cell, read_comparison
from sublayer.models.hub import load_network
from sublayer.training.prepare import Job, prepare
from sublayer.training.run import Run


def norms(cell: Cell, batches: int, trained: Path | None) -> dict[str, list[float]]:
    """By stack of blocks: the norm of each block's gradient, first to last."""
    torch.manual_seed(cell.recipe.seed)
    with TemporaryDirectory() as folder:
        job = prepare(Run(Path(folder)), cell.recipe)
        if trained is not None:
            job.network.load_state_dict(load_network(trained).state_dict())
        return _norms(job, batches)


def _norms(job: Job, batches: int) -> dict[str, list[float]]:
    objective, order = job.task.objective(), job.task.order(job.train)
    squares: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0] * batches)
    job.network.train()
    for i, rows in enumerate(islice(order.epoch(0), batches)):
        job.network.zero_grad()
        batch = job.task.training_batch(order.rows(rows), np.random.default_rng([i]))
        (objective(job.network, batch).total / batch.tokens).backward()
        for path, parameter in job.network.named_parameters():
            if (found := re.match(r"(\w+)\.blocks\.(\d+)\.", path)) and parameter.grad is not None:
                squares[found[1], int(found[2])][i] += float(parameter.grad.square().sum())
    stacks: dict[str, list[float]] = defaultdict(list)
    for (stack, _), values in sorted(squares.items()):
        stacks[stack].append(float(np.sqrt(values).mean()))
    return stacks


def draw(found: dict[str, dict[str, list[float]]], out: Path) -> None:
    """A picture for each stack, a line for each cell."""
    from matplotlib.figure import Figure

    names = list(next(iter(found.values())))
    figure = Figure(figsize=(5 * len(names) + 3, 4.5), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axis, stack in zip(axes, names, strict=True):
        for cell, stacks in found.items():
            axis.plot(range(1, len(stacks[stack]) + 1), stacks[stack], marker=".", label=cell)
        axis.set(xlabel=f"{stack} block", yscale="log")
    axes[0].set_ylabel("gradient norm")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(out, dpi=150)


def main() -> None:
    """Measure every cell, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--runs", type=Path, help="the folder of the finished comparison")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    comparison = read_comparison(a.recipe, a.changes, budget=Budget(1.0, "steps"))
    found: dict[str, dict[str, list[float]]] = {}
    print("| cell | stack | first | middle | last | last over first |")
    print("|---|---|---:|---:|---:|---:|")
    for cell in comparison.cells:
        when: dict[str, Path | None] = {"at first": None}
        if a.runs is not None:
            when["at last"] = a.runs / cell.folder / f"seed-{cell.recipe.seed}"
        for moment, trained in when.items():
            name = f"{cell.name}, {moment}"
            found[name] = norms(cell, a.batches, trained)
            for stack, values in found[name].items():
                first, middle, last = values[0], values[len(values) // 2], values[-1]
                told = f"{first:.3g} | {middle:.3g} | {last:.3g} | {last / first:.2g}"
                print(f"| {name} | {stack} | {told} |", flush=True)
    if a.out is not None:
        draw(found, a.out)


if __name__ == "__main__":
    main()
