"""Memory and speed of tokenizing, holding and reading many pairs, made by repeating a few.

    python benchmarks/store_memory.py SOURCE TARGET [PAIRS]

SOURCE and TARGET are aligned text, plain or gzip. The work is done in a process of its own, and
what is given is its peak resident memory until then: interpreter, torch, and the pages of mapped
files that were touched. Prints a Markdown table.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path


def main(source: str, target: str, pairs: str = "5000000") -> None:
    """Make the long files, then measure in a child, as what this process needs does not count."""
    with tempfile.TemporaryDirectory() as folder:
        files = [repeated(file, int(pairs), Path(folder)) for file in (source, target)]
        subprocess.run([sys.executable, __file__, "--child", *files, folder], check=True)


def repeated(file: str, count: int, folder: Path) -> str:
    """A file of `count` lines, those of `file` again and again."""
    from sublayer.data.files import lines

    long = folder / Path(file).name.removesuffix(".gz")
    with long.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{line}\n" for line in islice(cycle(lines(file)), count))
    return str(long)


def child(source: str, target: str, folder: str) -> None:
    """Print a row for each stage."""
    print("| stage | seconds | peak resident MiB |\n|---|---:|---:|")
    start = time.perf_counter()
    for stage in stages(source, target, Path(folder)):
        # kibibytes on Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {stage} | {time.perf_counter() - start:.1f} | {peak:.0f} |", flush=True)
        start = time.perf_counter()


def stages(source: str, target: str, folder: Path) -> Iterator[str]:
    """Do one stage after another, and say what was done."""
    import numpy as np

    from sublayer.config.schema import (
        LinesData,
        Recipe,
        TokenizerSection,
        TokenizerSide,
        Training,
    )
    from sublayer.data.source import read
    from sublayer.training.prepare import make_task, tokenize

    yield "import"
    data = LinesData(train=(source, target))
    section = TokenizerSection(shared=TokenizerSide(kind="bpe", vocab_size=8000))
    recipe = Recipe(data=data, tokenizer=section, training=Training(steps=1))
    task = make_task(recipe, read(data, "train"))
    yield "learn a joint BPE vocabulary of 8,000"
    store = tokenize(task, read(data, "train"), folder / "store")
    tokens = store.meta["source_tokens"] + store.meta["target_tokens"]
    yield f"tokenize {len(store):,} pairs into {tokens:,} tokens"
    order = task.order(store)
    for batch in order.epoch(0):
        task.collate(order.rows(batch), np.random.default_rng(0))
    yield "read them all, in random batches of 4,096 tokens"


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
