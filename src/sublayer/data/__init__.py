"""Files to batches: readers of pairs, a memory-mapped store of their ids, and the order of
training.
"""
