"""Texts of 1, 2, 3 and 4 sentences, and a score by their number: part of comparison 1, bottleneck.

    python recipes/compare/joined.py write joined \\
      --train DIR/train.en.gz DIR/train.de.gz --valid DIR/val.en.gz DIR/val.de.gz \\
      --test DIR/test_2016_flickr.en.gz DIR/test_2016_flickr.de.gz
    sublayer compare recipes/compare/bottleneck_multi30k.toml training.threads=1 --out bottleneck_de
    python recipes/compare/joined.py score joined bottleneck_de

A long sentence of a corpus says more than a short one and is harder for that alone. Here only the
length differs. `write` makes from aligned lines a new folder of joined ones, a space between them
on both sides. Its test data of k sentences, test.k, has for each sentence that one and the k - 1
after it (after the last the first): as many rows for every k, and every sentence equally often.
`test` is all of them. Training and validation data are random groups of 1 to `--most` sentences,
each size as often as another; training data has all of its sentences `--times` over, in another
order every time.

`score` translates the test data, and joins translations of each k to texts of as many sentences: of
12, the least that 1 to 4 divide. So every column has the very same references, and shows what it
costs to read k sentences at a time. A score of the rows as they are would rise with k, for in
longer texts more n-grams match by chance. What it found stands in the header of the recipe.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from pathlib import Path
from statistics import mean

import numpy as np

from sublayer.config.errors import sentence
from sublayer.config.files import atomic_folder, check_new
from sublayer.data.lines import read_lines
from sublayer.data.pair import Pair
from sublayer.metrics import make
from sublayer.training.comparison_files import PLAN, RESULT, read_plan
from sublayer.training.evaluate import evaluate
from sublayer.training.run import open_run


def joined(pairs: Sequence[Pair]) -> Pair:
    """One pair whose sides have those of all, in order."""
    targets = zip(*(pair.targets for pair in pairs), strict=True)
    return Pair(" ".join(pair.source for pair in pairs), tuple(map(" ".join, targets)))


def groups(pairs: Sequence[Pair], most: int, times: int, seed: int) -> Iterator[Pair]:
    """Every pair once in each of `times`, in random groups of 1 to `most`."""
    for turn in range(times):
        random = np.random.default_rng([seed, turn])
        order, begin = random.permutation(len(pairs)), 0
        while begin < len(pairs):
            end = begin + int(random.integers(1, most + 1))
            yield joined([pairs[i] for i in order[begin:end]])
            begin = end


def windows(pairs: Sequence[Pair], size: int) -> Iterator[Pair]:
    """For every pair that one and the `size - 1` after it; after the last comes the first."""
    for begin in range(len(pairs)):
        yield joined([pairs[(begin + i) % len(pairs)] for i in range(size)])


def save(folder: Path, name: str, pairs: Sequence[Pair]) -> None:
    """The two sides, a pair a line."""
    sides = [pair.source for pair in pairs], [pair.targets[0] for pair in pairs]
    for side, texts in zip(("source", "target"), sides, strict=True):
        content = "".join(f"{text}\n" for text in texts)
        (folder / f"{name}.{side}").write_bytes(content.encode())


def write(a: argparse.Namespace) -> None:
    """The folder of joined lines.

    Raises:
        ValueError: a file is wrong, or the folder is there already.
    """
    check_new(a.data)
    train, valid, test = (list(read_lines(files)) for files in (a.train, a.valid, a.test))
    of_size = [list(windows(test, size)) for size in range(1, a.most + 1)]
    with atomic_folder(a.data) as folder:
        save(folder, "train", list(groups(train, a.most, a.times, a.seed)))
        save(folder, "valid", list(groups(valid, a.most, 1, a.seed)))
        save(folder, "test", [pair for pairs in of_size for pair in pairs])
        for size, pairs in enumerate(of_size, 1):
            save(folder, f"test.{size}", pairs)


def texts(rows: Sequence[str], size: int, length: int) -> list[str]:
    """Texts of `length` sentences, one from each on, of `rows` that have `size` sentences each."""
    return [
        " ".join(rows[(begin + i) % len(rows)] for i in range(0, length, size))
        for begin in range(len(rows))
    ]


def scores(run: Path, files: dict[int, list[str]]) -> list[float]:
    """The first metric of a run's recipe on the test data of each size."""
    length, found = math.lcm(*files), []
    evaluation = open_run(run)[1].evaluation
    metric = make(evaluation.metrics, evaluation)[0]
    sentences = [pair.targets[0] for pair in read_lines(files[1])]
    references = [(text,) for text in texts(sentences, 1, length)]
    for size, sides in files.items():
        outputs = evaluate(run, "test", sides).outcome.outputs
        found.append(metric.score(texts(outputs, size, length), references).value)
    return found


def score(a: argparse.Namespace) -> None:
    """A table: of each cell that has finished, the mean of its seeds by number of sentences.

    Raises:
        ValueError: a folder is none of joined lines, or none of a comparison, or no run is done.
    """
    sides = ((n, [f"{a.data}/test.{n}.{side}" for side in ("source", "target")]) for n in count(1))
    files = dict(takewhile(lambda of: Path(of[1][0]).exists(), sides))
    if not files:
        raise ValueError(f"{a.data} has no test.1.source; give the folder that `write` made")
    if not (a.runs / PLAN).exists():
        raise ValueError(f"{a.runs} is no comparison; give the folder that its --out was")
    cells = {
        cell["name"]: [file.parent for file in sorted((a.runs / folder).glob(f"seed-*/{RESULT}"))]
        for folder, cell in read_plan(a.runs)["cells"].items()
    }
    if not any(cells.values()):
        raise ValueError(f"{a.runs} has no finished run yet; give the command to compare again")
    print(f"| sentences at a time | {' | '.join(map(str, files))} |")
    print("|---|" + "---:|" * len(files))
    for name, runs in cells.items():
        if runs:
            means = map(mean, zip(*(scores(run, files) for run in runs), strict=True))
            print(f"| {name} | {' | '.join(f'{m:.1f}' for m in means)} |", flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    writing = verbs.add_parser("write", help="join the lines of files")
    writing.set_defaults(verb=write)
    writing.add_argument("data", type=Path, help="a new folder")
    for split in ("train", "valid", "test"):
        writing.add_argument(f"--{split}", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    writing.add_argument("--most", type=int, default=4, help="sentences")
    writing.add_argument("--times", type=int, default=8, help="groupings of the training data")
    writing.add_argument("--seed", type=int, default=1)
    scoring = verbs.add_parser("score", help="measure the runs of a comparison by sentences")
    scoring.set_defaults(verb=score)
    scoring.add_argument("data", type=Path, help="the folder that `write` made")
    scoring.add_argument("runs", type=Path, help="the folder of the comparison")
    a = parser.parse_args()
    if a.verb is write and (a.most < 1 or a.times < 1 or a.seed < 0):
        writing.error("--most and --times are 1 or more, --seed is not negative")
    return a


def main() -> int:
    """Do what the command line says and return its exit status: 2 for what the user can mend."""
    a = parse()
    try:
        a.verb(a)
    except (ValueError, OSError) as error:
        print(f"joined.py: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
