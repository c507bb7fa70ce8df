"""Text to ids and back: tokenizers trained on the run's own data, and the four special ids."""
