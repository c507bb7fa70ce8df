"""Parts: none knows a model or a recipe, and all of them need torch only.

Shapes: `b` batch, `n` positions (`q`, `k` of queries and keys), `h` heads, `g` key/value heads, `d`
head width, `m` model width, `v` vocabulary.
"""
