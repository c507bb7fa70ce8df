"""Seconds from `import sublayer` to a usable model, beside PyTorch: `python benchmarks/start.py`.

Each round starts two fresh interpreters in turn; one imports torch alone.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 7
CLOCK = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
TASKS = {
    "import torch": "import torch",
    "import sublayer, build a tiny model": (
        "import sublayer; sublayer.build('transformer', size='tiny', vocab_size=100)"
    ),
}


def main() -> None:
    """Print the median seconds of each task."""
    seconds: dict[str, list[float]] = {name: [] for name in TASKS}
    for _ in range(ROUNDS):
        for name, task in TASKS.items():
            done = subprocess.run(
                [sys.executable, "-c", CLOCK.format(task)],
                capture_output=True,
                text=True,
                check=True,
            )
            seconds[name].append(float(done.stdout))
    for name, taken in seconds.items():
        print(f"{name:40s} {statistics.median(taken):.2f} s")


if __name__ == "__main__":
    main()
