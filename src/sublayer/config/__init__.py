"""How a run is written down: the recipe's schema, its files, and the registry of parts a recipe can
name.
"""
