"""Words told from noise, in place of a softmax."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.precision import widened


@final
class NegativeSampling(nn.Module):
    """-log sigmoid(u . x) of a word that is there, -log sigmoid(-u . x) of words that are drawn.

    Mikolov et al. 2013b, eq. 4. The words drawn are shared by a group of inputs, so that scores
    are matrix products (Ji et al. 2016).
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, d_model)

    def loss(self, x: Tensor, ids: Tensor, near: Tensor, noise: Tensor, negatives: int) -> Tensor:
        """The sum over pairs of x_t and ids_s that are `near`: `g t m`, `g s`, `g t s`.

        Each is told from all `noise` of its group, `g k`, which together weigh as much as
        `negatives` draws; the word itself is no noise for it, as in word2vec's own code.
        """
        # one look into the table, so that its gradient is made once
        rows = self.words(torch.cat([ids, noise], 1))
        scores = widened(x @ rows.transpose(1, 2))
        there, drawn = scores.split([ids.shape[1], noise.shape[1]], 2)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            real = near.float()
            others = (ids.unsqueeze(2) != noise.unsqueeze(1)).float()  # g s k
            weight = real @ others * (negatives / noise.shape[1])  # g t k
        return (F.softplus(-there) * real).sum() + (F.softplus(drawn) * weight).sum()
