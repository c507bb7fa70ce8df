"""Relative positions against loops and against Hugging Face's buckets and slopes."""

from __future__ import annotations

import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from sublayer.layers.attend import Dense
from sublayer.layers.frame import Frame
from sublayer.layers.mask import Causal
from sublayer.layers.relative import Alibi, Buckets, Shaw, bucket, slopes


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize(("n_buckets", "farthest"), [(32, 128), (8, 20)])
def test_buckets_are_those_of_t5(both_ways, n_buckets, farthest):
    distance = torch.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket(distance, both_ways, n_buckets, farthest)
    ours = bucket(distance, n_buckets, farthest, both_ways=both_ways)
    assert torch.equal(ours, theirs)


def test_bucket_bias_is_the_tables_number_for_the_distance():
    scheme = Buckets(3, 8, 20, both_ways=True)
    q_pos, k_pos = torch.tensor([4, 5]), torch.arange(6)
    bias = scheme.bias(q_pos, k_pos)
    assert bias.shape == (3, 2, 6)
    for i in range(2):
        for j in range(6):
            place = bucket(k_pos[j] - q_pos[i], 8, 20, both_ways=True)
            torch.testing.assert_close(bias[:, i, j], scheme.table.weight[place])
    by_row = scheme.bias(torch.stack([q_pos, q_pos + 1]), k_pos.expand(2, -1))
    assert by_row.shape == (2, 3, 2, 6)
    torch.testing.assert_close(by_row[0], bias)


@pytest.mark.parametrize(("both_ways", "exact"), [(True, 8), (False, 16)])
def test_buckets_that_are_all_of_one_distance_are_refused(both_ways, exact):
    with pytest.raises(ValueError, match=f"farthest {exact} leaves nothing .* over {exact}"):
        Buckets(2, 32, exact, both_ways=both_ways)
    Buckets(2, 32, exact + 1, both_ways=both_ways)


@pytest.mark.parametrize("n_heads", [1, 2, 4, 6, 8, 12, 16])
def test_alibi_is_that_of_bloom_up_to_a_constant_of_the_row(n_heads):
    n = 7
    theirs = build_alibi_tensor(torch.ones(1, n), n_heads, torch.float32).view(n_heads, 1, n)
    ours = Alibi(n_heads).bias(torch.arange(n), torch.arange(n))
    seen = Causal()(torch.arange(n), torch.arange(n))
    difference = (ours - theirs).masked_fill(~seen, float("nan"))
    first = difference[..., :1]
    torch.testing.assert_close(
        difference.nan_to_num(), first.expand_as(difference).masked_fill(~seen, 0.0)
    )


def test_alibis_slopes_are_the_papers():
    torch.testing.assert_close(slopes(8), torch.tensor([2.0**-i for i in range(1, 9)]))


def test_shaw_is_its_formula():
    score, q, k = Shaw(4, 2), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 6, 4)
    q_pos, k_pos = torch.tensor([1, 2, 3, 4, 5]), torch.arange(6)
    out = score(q, k, Frame(q_pos, k_pos))
    for i in range(5):
        for j in range(6):
            distance = max(-2, min(2, int(k_pos[j] - q_pos[i])))
            vector = k[:, :, j] + score.table.weight[distance + 2]
            expected = (q[:, :, i] * vector).sum(-1) / 2.0
            torch.testing.assert_close(out[:, :, i, j], expected)


def test_shaw_takes_positions_by_row_and_has_gradients():
    score = Shaw(4, 2).double()
    q, k = (torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    places = torch.tensor([[0, 1, 2], [3, 5, 9]])
    frame = Frame(places, places)
    for row in range(2):
        alone = score(q[row : row + 1], k[row : row + 1], Frame(places[row], places[row]))
        torch.testing.assert_close(score(q, k, frame)[row], alone[0])
    assert torch.autograd.gradcheck(lambda a, b: score(a, b, frame), (q, k))


@pytest.mark.parametrize("scheme", [Buckets(2, 8, 20, both_ways=True), Alibi(2)])
def test_the_kernel_adds_the_bias_as_the_plain_path_does(scheme):
    q, k, v = torch.randn(3, 2, 2, 9, 4).unbind()
    places = torch.arange(9)
    outs = [
        Dense(fused=fused)(q, k, v, Frame(places, places, Causal(), scheme))
        for fused in (True, False)
    ]
    torch.testing.assert_close(outs[0], outs[1])
