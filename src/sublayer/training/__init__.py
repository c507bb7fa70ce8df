"""The loop, and what happens every so often beside it."""
