"""Files to batches: readers of pairs, a memory-mapped store of ids, the order of training."""
