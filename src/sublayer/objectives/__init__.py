"""Batch and model in, loss out."""
