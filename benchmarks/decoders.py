"""The decoders of `train.py`: GPT-2 here, in plain PyTorch, and in transformers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sublayer
from sublayer.data.batch import Labelled


class PlainBlock(nn.Module):
    """A GPT-2 block as nanoGPT has it: one product for q, k and v, PyTorch's fused attention."""

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.p = n_heads, dropout
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feedforward = nn.Sequential(
            nn.Linear(d_model, d_ff), nn.GELU(), nn.Linear(d_ff, d_model)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        parts = self.qkv(self.norms[0](x)).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for t in parts)
        p = self.p if self.training else 0.0
        heads = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        x = x + self.dropout(self.out(heads.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feedforward(self.norms[1](x)))


class PlainGPT(nn.Module):
    """GPT-2 in plain PyTorch; `places` as nanoGPT's block size."""

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        d_ff: int,
        *,
        places: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed, self.positions = (
            nn.Embedding(vocab_size, d_model),
            nn.Embedding(places, d_model),
        )
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            PlainBlock(d_model, n_heads, d_ff, dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        self.apply(self._begin)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "feedforward.2.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * n_layers) ** 0.5)
        self.head.weight = self.embed.weight

    @staticmethod
    def _begin(part: nn.Module) -> None:
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids to logits."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.dropout(self.embed(ids) + self.positions(places))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class HuggingFaceGPT(nn.Module):
    """transformers' GPT-2."""

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        d_ff: int,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        self.model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocab_size,
                n_embd=d_model,
                n_layer=n_layers,
                n_head=n_heads,
                n_inner=d_ff,
                resid_pdrop=dropout,
                embd_pdrop=dropout,
                attn_pdrop=dropout,
            )
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Ids to logits."""
        return self.model(input_ids=ids, use_cache=False).logits


def our_gpt(
    vocab_size: int, d_model: int, n_layers: int, n_heads: int, d_ff: int, *, dropout: float = 0.0
) -> nn.Module:
    """The same of ours."""
    return sublayer.build(
        "gpt",
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        d_ff=d_ff,
        dropout=dropout,
        attention_dropout=dropout,
    )


def windows(vocab_size: int, rows: int, tokens: int) -> Labelled:
    """Random ids, and the same one on."""
    ids = torch.randint(4, vocab_size, (rows, tokens + 1))
    return Labelled(ids[:, :-1], None, None, ids[:, 1:], rows * tokens, rows * tokens)


def loss_of(model: nn.Module, batch: Labelled) -> Callable[[], Tensor]:
    """The mean loss of a peer's logits."""
    return lambda: F.cross_entropy(model(batch.inputs).flatten(0, 1), batch.labels.flatten())
