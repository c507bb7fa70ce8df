"""Word vectors beside gensim's word2vec: words a second, and how well similarities are told.

    python benchmarks/word_vectors.py                              # docstrings of Python
    python benchmarks/word_vectors.py --dictionary gcide.dict.dz   # Debian's package dict-gcide
    python benchmarks/word_vectors.py --text words.txt --rounds 3  # one text a line

gensim has two threads; ours is run with one and with two. All read one file: a text a line,
lower-cased words with spaces between, words seen fewer than five times left out. Runs take turns,
each in a process of its own. Time is that of training alone, after the vocabulary: on the wall, and
of the processor. All tables of vectors are written as `.vec`, and gensim's own functions measure
them, on WordSim-353, SimLex-999 and Google's analogies, which the package gensim brings. Needs:
pip install gensim.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from sublayer.config.data import PythonData
from sublayer.config.schema import Recipe
from sublayer.data.source import read

WIDTH, WINDOW, NEGATIVES, SAMPLE, LEAST = 100, 5, 5, 1e-3, 5
THREADS = {"gensim, 2 threads": 2, "ours, 1 thread": 1, "ours, 2 threads": 2}
FILES = {"wordsim": "wordsim353.tsv", "simlex": "simlex999.txt"}


def prose() -> Iterator[str]:
    """Docstrings and comments of the running Python's standard library."""
    data = PythonData(kind="python", view="prose")
    for split in ("train", "valid", "test"):
        for document in read(data, split):
            yield from document.text.split("\n\n")


def dictionary(file: str) -> Iterator[str]:
    """The entries of the GNU Collaborative International Dictionary of English."""
    with gzip.open(file) as packed:
        text = packed.read().decode("utf-8", "replace")
    for entry in re.split(r"\n(?=\S)", text):
        head, _, body = entry.partition("\n")
        body = re.sub(r"\[(1913 Webster|PJC|WordNet 1\.5)\]", "", body)
        yield head.split("\\")[0] + " " + body


def write_text(texts: Iterable[str], file: Path) -> int:
    """Lower-cased words that are frequent enough, a text a line; how many words there are."""
    rows = [re.findall(r"[a-z]+", text.lower()) for text in texts]
    counts = Counter(word for row in rows for word in row)
    rows = [[word for word in row if counts[word] >= LEAST] for row in rows]
    file.write_text("".join(" ".join(row) + "\n" for row in rows if len(row) > 1))
    return sum(len(row) for row in rows if len(row) > 1)


def train_gensim(file: Path, args: argparse.Namespace, out: Path) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=WIDTH,
        window=WINDOW,
        negative=NEGATIVES if args.output == "negative" else 0,
        hs=int(args.output == "hierarchical"),
        sg=int(args.method == "skipgram"),
        sample=SAMPLE,
        min_count=1,
        workers=THREADS[args.only],
        seed=args.seed,
    )
    model.build_vocab(corpus_file=str(file))
    wall, cpu = time.perf_counter(), time.process_time()
    model.train(
        corpus_file=str(file),
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=args.epochs,
    )
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    model.wv.save_word2vec_format(str(out))
    return seconds


def train_ours(file: Path, args: argparse.Namespace, out: Path) -> tuple[float, float]:
    """The same."""
    from sublayer.data.vectors import write_vectors
    from sublayer.training import start
    from sublayer.training.run import load_predictor

    keys: dict[str, Any] = {
        "seed": args.seed,
        "data": {"kind": "text", "unit": "line", "train": str(file)},
        "tokenizer": {"shared": {"kind": "words", "vocab_size": 2**31}},
        "model": {"family": "word2vec", "d_model": WIDTH},
        "objective": {
            "kind": "words",
            "method": args.method,
            "output": args.output,
            "window": WINDOW,
            "negatives": NEGATIVES,
            "sample": SAMPLE,
        },
        "training": {
            "epochs": args.epochs,
            "batch_tokens": args.batch,
            "optimizer": {"kind": "adam"},
            "schedule": {"kind": "linear", "lr": args.lr, "warmup": 0},
            "clip": 0.0,
            "checkpoint": "100 %",
            "average": 1,
            "precision": "float32",
            "threads": THREADS[args.only],
        },
    }
    spent: list[float] = []

    class Timed(start.Trainer):  # type: ignore[misc]
        def fit(self, clock: Any) -> None:
            wall, cpu = time.perf_counter(), time.process_time()
            super().fit(clock)
            spent.extend([time.perf_counter() - wall, time.process_time() - cpu])

    start.Trainer = Timed  # type: ignore[misc]
    run = file.parent / f"{args.only}, seed {args.seed}"
    start.train(Recipe.model_validate(keys), run)
    predictor = load_predictor(run)
    write_vectors(out, predictor.words, predictor.network.table.detach().numpy()[4:])
    return spent[0], spent[1]


def measured(file: Path) -> dict[str, float]:
    """By gensim's functions: rank correlations, and the share of analogies solved."""
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    vectors = KeyedVectors.load_word2vec_format(str(file))
    found = {}
    for name, pairs in FILES.items():
        _, spearman, unknown = vectors.evaluate_word_pairs(datapath(pairs))
        found |= {name: float(spearman[0]), f"{name}_unknown": unknown / 100}
    solved, _ = vectors.evaluate_word_analogies(
        datapath("questions-words.txt"), restrict_vocab=len(vectors.index_to_key)
    )
    return found | {"analogies": solved}


def one(args: argparse.Namespace) -> None:
    """One run of one of the two, in a process of its own; its numbers as JSON."""
    file = Path(args.text)
    out = file.parent / "words.vec"
    is_gensim = args.only.startswith("gensim")
    wall, cpu = (train_gensim if is_gensim else train_ours)(file, args, out)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "memory": memory, **measured(out)}))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", help="one text a line")
    parser.add_argument("--dictionary", help="gcide.dict.dz of Debian's package dict-gcide")
    parser.add_argument("--method", default="skipgram", choices=["skipgram", "cbow"])
    parser.add_argument("--output", default="negative", choices=["negative", "hierarchical"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16384)
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*THREADS], help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """All runs, then a table."""
    args = parsed()
    if args.only:
        one(args)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder, "text")
        if args.text:
            texts: Iterable[str] = Path(args.text).read_text().splitlines()
        else:
            texts = prose() if args.dictionary is None else dictionary(args.dictionary)
        words = write_text(texts, file)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in THREADS}
        for seed in range(1, args.rounds + 1):
            for name, runs in found.items():
                options = ["--text", str(file), "--seed", str(seed), "--only", name]
                done = subprocess.run(
                    [sys.executable, __file__, *sys.argv[1:], *options],
                    check=True,
                    stdout=subprocess.PIPE,
                )
                runs.append(json.loads(done.stdout.splitlines()[-1]))
                print(name, runs[-1], flush=True)
    show(words, args.epochs, found)


def show(words: int, epochs: int, found: dict[str, list[dict[str, float]]]) -> None:
    """Medians, as Markdown; the ratio is the median over rounds."""
    first, rounds = next(iter(found.values())), len(next(iter(found.values())))
    print(f"\n{words:,} words, {epochs} epochs; medians of {rounds} rounds\n")
    print(
        "| | words/s | over gensim's | words/s of a processor | WordSim-353 | SimLex-999 "
        "| analogies | MiB |\n|---|---|---|---|---|---|---|---|"
    )
    for name, runs in found.items():
        m = {key: median(run[key] for run in runs) for key in runs[0]}
        ratio = median(a["wall"] / b["wall"] for a, b in zip(first, runs, strict=True))
        print(
            f"| {name} | {words * epochs / m['wall']:,.0f} | {ratio:.2f} "
            f"| {words * epochs / m['cpu']:,.0f} "
            f"| {m['wordsim']:.3f} | {m['simlex']:.3f} | {m['analogies']:.1%} | {m['memory']:.0f} |"
        )


if __name__ == "__main__":
    main()
