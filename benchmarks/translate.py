"""A file translated by whole commands: ours in int8, and CTranslate2 in int8 with the same weights.

    python benchmarks/translate.py RUN TEXT [--beam 5] [--rounds 5] [--out FILE.md]

RUN is a finished run from text to text with one vocabulary, TEXT a file of one source a line. Both
start as a new process, load, tokenize, search and write; seconds and peak memory are those of the
process and of what it starts, medians of the rounds, in which the peers take turns. Memory that
several share counts once. CTranslate2 has one thread of one worker, or one of each of two workers;
ours one thread or two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter

from ctranslate2 import Translator
from tokenizers import Tokenizer

LONGEST = 80
"""Tokens of an output of the peer, which has no limit by the source's length."""
WAYS = (
    "workers=2",
    "workers=2 patience=1",
    "workers=2 patience=1 batch_tokens=4096",
    "workers=1 patience=1",
)
"""How ours is asked: by default it searches until nothing can be better; the peer stops when one
hypothesis has ended before all others, which a patience of 1 is nearest to."""


def translate(folder: Path, text: Path, output: Path, workers: int, beam: int) -> None:
    """What the peer's process does."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = json.loads((folder / "shared_vocabulary.json").read_text())
    end = json.loads((folder / "config.json").read_text())["eos_token"]
    model = Translator(str(folder), compute_type="int8", inter_threads=workers, intra_threads=1)
    lines = text.read_text(encoding="utf-8").splitlines()
    encoded = tokenizer.encode_batch(lines, add_special_tokens=False)
    found = model.translate_batch(
        [[*(tokens[id] for id in row.ids), end] for row in encoded],
        beam_size=beam,
        max_decoding_length=LONGEST,
        max_batch_size=1024,
        batch_type="tokens",
    )
    ids = {token: id for id, token in enumerate(tokens)}
    written = (tokenizer.decode([ids[token] for token in row.hypotheses[0]]) for row in found)
    output.write_text("".join(f"{line}\n" for line in written), encoding="utf-8")


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a process and its children, looked at ten times a second."""
    start, done, most = perf_counter(), Event(), [0.0]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def watch() -> None:
        while not done.wait(0.1):
            most[0] = max(most[0], memory(process.pid))

    watcher = Thread(target=watch)
    watcher.start()
    process.wait()
    seconds = perf_counter() - start
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}")
    return seconds, most[0]


def memory(pid: int) -> float:
    """MiB of a process and of those it started, what they share divided among them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0.0
    own = int(rollup.split("Pss:")[1].split()[0]) / 1024
    return own + sum(memory(int(child)) for child in children)


def compare(run: Path, text: Path, beam: int, rounds: int) -> str:
    """The table."""
    with TemporaryDirectory() as home:
        ours, theirs, output = Path(home, "int8"), Path(home, "peer"), Path(home, "output.txt")
        sublayer = str(Path(sys.executable).with_name("sublayer"))
        for command in (
            [sublayer, "quantize", str(run), str(ours), "--weights", "int8"],
            [sublayer, "convert", str(run), str(theirs), "--to", "ctranslate2"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        common = [f"beam={beam}", "--input", str(text), "--output", str(output)]
        again = [sys.executable, __file__, str(theirs), str(text), "--beam", str(beam)]
        peers = {
            **{
                f"sublayer int8, {keys}": [sublayer, "predict", str(ours), *keys.split(), *common]
                for keys in WAYS
            },
            "CTranslate2 int8": [*again, "--peer", str(output), "--workers", "1"],
            "CTranslate2 int8, two workers": [*again, "--peer", str(output), "--workers", "2"],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, command in peers.items():
                output.unlink(missing_ok=True)
                taken[name].append(measured(command))
    lines = len(text.read_text(encoding="utf-8").splitlines())
    rows = [
        f"| {name} | {statistics.median(s for s, _ in of):.2f} | "
        f"{statistics.median(m for _, m in of):.0f} |"
        for name, of in taken.items()
    ]
    title = f"{date.today()}: {lines} lines at beam {beam}, whole commands, median of {rounds}\n"
    return "\n".join([title, "| command | seconds | peak MiB |", "|---|---|---|", *rows])


def main() -> None:
    """Measure, or be the peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer:
        translate(given.run, given.text, given.peer, given.workers, given.beam)
        return
    table = compare(given.run, given.text, given.beam, given.rounds)
    print(table)
    if given.out:
        given.out.write_text(f"{table}\n")


if __name__ == "__main__":
    main()
