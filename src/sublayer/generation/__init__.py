"""Model to tokens: written once, against `encode`, `decode` and `State`."""
