"""Files to batches: readers of pairs, the memory-mapped store of token ids, and the order they are trained in."""
