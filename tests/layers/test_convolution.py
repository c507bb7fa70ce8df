"""Causal convolutions against PyTorch's, and what they keep between steps against no memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.layers.convolution import CausalConvolution, DilatedStack, GatedConvolution
from sublayer.layers.state import State

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
KERNELS = [(2, 1), (2, 4), (3, 1), (3, 5), (4, 2)]
I, O = 6, 5  # noqa: E741


def conv1d(layer, x):
    """By PyTorch's kernel, zeros before the text: `b n i` -> `b n o`."""
    weight = layer.product.weight.unflatten(1, (layer.kernel, -1)).transpose(1, 2)  # o i kernel
    x = F.pad(x.transpose(1, 2), ((layer.kernel - 1) * layer.dilation, 0))
    return F.conv1d(x, weight, layer.product.bias, dilation=layer.dilation).transpose(1, 2)


def gated(block, x):
    filtered, gate = conv1d(block.convolution, x).chunk(2, -1)
    z = torch.tanh(filtered) * torch.sigmoid(gate)
    skipped = F.linear(z, block.skip.weight, block.skip.bias)
    if block.residual is None:
        return None, skipped
    return x + F.linear(z, block.residual.weight, block.residual.bias), skipped


@pytest.fixture(params=KERNELS, ids=str)
def layer(request):
    torch.manual_seed(0)
    return CausalConvolution(I, O, *request.param)


@pytest.fixture
def stack():
    torch.manual_seed(0)
    dilations = [1, 2, 4, 1, 2, 4]
    blocks = [GatedConvolution(I, O, 2, d, is_last=i == 5) for i, d in enumerate(dilations)]
    return DilatedStack(CausalConvolution(I, I, 2), blocks, O)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_it_is_pytorchs_with_zeros_before_the_text(layer, n):
    x = torch.randn(2, n, I, requires_grad=True)
    out, expected = layer(x), conv1d(layer, x)
    torch.testing.assert_close(out, expected, **CLOSE)
    weights = (x, layer.product.weight, layer.product.bias)
    aside = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad((out * aside).sum(), weights),
        torch.autograd.grad((expected * aside).sum(), weights),
        **CLOSE,
    )


def test_an_output_follows_from_its_taps_alone(layer):
    place, taps = 17, {17 - j * layer.dilation for j in range(layer.kernel)}
    x = torch.randn(1, 25, I, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x)[0, place].sum(), x)
    assert set(slope[0].abs().sum(-1).nonzero().flatten().tolist()) == taps


def test_a_kernel_of_one_is_refused():
    with pytest.raises(ValueError, match="kernel of 2 or more, got 1"):
        CausalConvolution(I, O, 1)


def test_a_stack_is_the_papers_figure(stack):
    x = torch.randn(2, 30, I)
    y, total = conv1d(stack.entry, x), torch.zeros(2, 30, O)
    for block in stack.blocks:
        y, skipped = gated(block, y)
        total = total + skipped
    expected = F.relu(F.linear(F.relu(total), stack.out.weight, stack.out.bias))
    torch.testing.assert_close(stack(x), expected, **CLOSE)


def test_the_receptive_field_is_what_gradients_reach(stack):
    assert stack.receptive_field == 1 + 1 + 2 * (1 + 2 + 4)
    for bias in (stack.out.bias, stack.blocks[0].skip.bias):
        nn.init.constant_(bias, 20.0)  # so that both rectifiers let everything pass
    x = torch.randn(1, 40, I, dtype=torch.float64, requires_grad=True)
    for place in (5, 30, 39):
        (slope,) = torch.autograd.grad(stack.double()(x)[0, place].abs().sum(), x)
        reached = slope[0].abs().sum(-1).nonzero().flatten().tolist()
        assert reached == list(range(max(0, place - stack.receptive_field + 1), place + 1))


@pytest.mark.parametrize("parts", [[23], [1] * 23, [4, 1, 1, 7, 1, 9], [2, 2, 1, 18]], ids=str)
@torch.no_grad()
def test_in_parts_equals_at_once(stack, parts):
    x, state = torch.randn(3, 23, I), State()
    found = [stack(part, state=state) for part in x.split(parts, 1)]
    torch.testing.assert_close(torch.cat(found, 1), stack(x), **CLOSE)


@torch.no_grad()
def test_rows_of_unlike_length_go_on_side_by_side(stack):
    lengths, n = [9, 1, 4], 9
    x, more = torch.randn(3, n, I), torch.randn(3, 24, I)
    valid = torch.arange(n) < torch.tensor(lengths).unsqueeze(1)
    state = State()
    first = stack(x, state=state, valid=valid)
    # a part that is padded again, then token by token
    again = torch.arange(4) < torch.tensor([2, 4, 3]).unsqueeze(1)
    second = stack(more[:, :4], state=state, valid=again)
    steps = [stack(more[:, i : i + 1], state=state) for i in range(4, 24)]
    for row, length in enumerate(lengths):
        taken = int(again[row].sum())
        text = torch.cat([x[row, :length], more[row, :taken], more[row, 4:]]).unsqueeze(0)
        found = torch.cat([first[row, :length], second[row, :taken], torch.cat(steps, 1)[row]])
        torch.testing.assert_close(found, stack(text)[0], **CLOSE)


@torch.no_grad()
def test_every_lane_is_what_it_goes_on_from(stack):
    random = torch.Generator().manual_seed(1)
    texts, state = torch.randn(2, 3, I), State()
    stack(texts, state=state)
    before = [[text] for text in texts]
    for width in [3] * 20:
        lanes = torch.randint(len(before[0]), (2, width), generator=random)
        new = torch.randn(2, width, I)
        state.branch(lanes)
        found = stack(new, state=state)
        before = [
            [torch.cat([before[row][lane], new[row, [j]]]) for j, lane in enumerate(lanes[row])]
            for row in range(2)
        ]
        for row in range(2):
            for lane in range(width):
                expected = stack(before[row][lane].unsqueeze(0))[0, -1]
                torch.testing.assert_close(found[row, lane], expected, **CLOSE)


@torch.no_grad()
def test_a_step_copies_nothing_that_was_kept(layer):
    state = State()
    layer(torch.randn(1, 70, I), state)
    ring, _ = state.carried(layer)
    assert ring.shape == (1, 1, layer.span, I)
    assert ring.untyped_storage().nbytes() == 4 * ring.numel()  # no view of the whole text
    for _ in range(50):
        layer(torch.randn(1, 1, I), state)
        assert state.carried(layer)[0] is ring


@torch.no_grad()
def test_rows_move_with_their_past(stack):
    x, more = torch.randn(4, 9, I), torch.randn(3, 6, I)
    state, index = State(), torch.tensor([2, 0, 2])
    stack(x, state=state)
    state.reorder(index)
    steps = [stack(more[:, i : i + 1], state=state) for i in range(6)]
    expected = stack(torch.cat([x[index], more], 1))[:, 9:]
    torch.testing.assert_close(torch.cat(steps, 1), expected, **CLOSE)


def test_dropout_is_of_the_gates_alone(stack):
    block = GatedConvolution(I, O, 2, 1, dropout=0.9).train()
    nn.init.zeros_(block.residual.bias)
    torch.manual_seed(0)
    x = torch.randn(1, 400, I)
    out, _ = block(x)
    dropped = (out == x).all(-1).float().mean()  # where all of z was
    assert 0.3 < dropped < 0.7  # 0.9^6 is 0.53
    torch.testing.assert_close(block.eval()(x), gated(block, x), **CLOSE)
