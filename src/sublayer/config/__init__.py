"""How a run is written down: the recipe's schema, its files, the registry of parts by name."""
