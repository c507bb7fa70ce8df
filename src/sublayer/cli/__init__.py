"""The command `sublayer`: one file a verb."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Read by OpenMP when PyTorch loads it. A thread that waits for the others spins this many turns and
# then sleeps; by default it spins so long that beside other work the threads keep one another from
# running: steps were seen to take thirty times as long. On a machine of one's own it costs nothing.
