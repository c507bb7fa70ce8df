"""Attention slot by slot, beside PyTorch's products, in float32 and in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sublayer.loops.attend import attend_share, listed, put_share

CASES = {
    "one token": (1, 1, 4, 4, 32, 11),
    "the first": (3, 1, 2, 2, 16, 0),
    "lanes": (4, 5, 4, 4, 32, 40),
    "grouped": (3, 2, 6, 2, 16, 9),
    "one group": (2, 3, 4, 1, 64, 300),
    "an odd width": (2, 2, 3, 3, 7, 5),
}


def attended(heads, keys, values, past, seen, n_heads, parts=1):
    out = np.full((*heads.shape[:2], n_heads, heads.shape[3]), np.nan, np.float32)
    for part in range(parts):
        put_share(part, parts, heads, n_heads, keys, values, past)
        attend_share(part, parts, heads, keys, values, past, seen, out)
    return torch.from_numpy(out)


def expected_of(heads, keys, values, n_heads, allowed):
    """Softmax of scaled products; zeros where nothing is seen."""
    q = torch.from_numpy(heads)[:, :, :n_heads].transpose(1, 2)
    k, v = (x.float().repeat_interleave(n_heads // x.shape[1], 1) for x in (keys, values))
    scores = (q @ k.mT) * q.shape[-1] ** -0.5
    if allowed is not None:
        scores = scores.masked_fill(~torch.from_numpy(allowed).unsqueeze(1), -torch.inf)
    return (scores.softmax(-1).nan_to_num(0) @ v).transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_new_keys_are_put_behind_the_past_and_all_are_seen(case, masked, dtype):
    b, n, h, g, d, past = CASES[case]
    rng = np.random.default_rng(0)
    heads = rng.standard_normal((b, n, h + 2 * g, d)).astype(np.float32)
    room, k = past + n + 3, past + n
    keys, values = (torch.randn(b, g, room, d).to(dtype) for _ in range(2))
    new = torch.from_numpy(heads)[:, :, h:].transpose(1, 2).to(dtype)
    wanted = [
        torch.cat([old[:, :, :past], part, old[:, :, k:]], 2)
        for old, part in ((keys, new[:, :g]), (values, new[:, g:]))
    ]
    allowed = None
    if masked:
        allowed = rng.random((b, n, k)) < 0.4
        allowed[0, 0] = False
    numbers = [
        x.view(torch.uint16).numpy() if x.itemsize == 2 else x.numpy() for x in (keys, values)
    ]
    found = attended(heads, *numbers, past, listed(allowed, k), h, parts=3)
    assert torch.equal(keys, wanted[0])
    assert torch.equal(values, wanted[1])
    expected = expected_of(heads, keys[:, :, :k], values[:, :, :k], h, allowed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_memory_is_only_read_and_rows_may_share_a_mask():
    b, n, h, d, k = 3, 2, 4, 16, 9
    heads = np.random.default_rng(0).standard_normal((b, n, h, d)).astype(np.float32)
    keys, values = torch.randn(b, h, k, d), torch.randn(b, h, k, d)
    allowed = np.arange(k)[None, None] < np.array([9, 4, 1])[:, None, None]  # b 1 k
    before = keys.clone(), values.clone()
    found = attended(heads, keys.numpy(), values.numpy(), k, listed(allowed, k), h)
    expected = expected_of(heads, keys, values, h, np.repeat(allowed, n, 1))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(keys, before[0])
    assert torch.equal(values, before[1])


def test_what_was_never_written_is_never_read():
    heads = np.ones((1, 1, 1, 8), np.float32)
    keys = torch.full((1, 1, 6, 8), torch.nan)
    keys[:, :, 4] = 1.0
    allowed = np.array([[[False, False, False, False, True, False]]])
    found = attended(heads, keys.numpy(), keys.clone().numpy(), 6, listed(allowed, 6), 1)
    assert torch.equal(found, torch.ones(1, 1, 1, 8))


def test_a_score_that_is_no_number_is_told():
    heads = np.full((1, 1, 1, 8), np.nan, np.float32)
    keys = torch.randn(1, 1, 6, 8)
    found = attended(heads, keys.numpy(), keys.numpy(), 6, listed(None, 6), 1)
    assert found.isnan().all()
