"""The best continuations, beside a look at every one."""

import pytest
import torch

from sublayer.generation.continuations import best_continuations


@pytest.mark.parametrize("wanted", [1, 4, 10])
@pytest.mark.parametrize("v", [7, 16, 100, 2_000, 6_001, 8_015])
@pytest.mark.parametrize(("r", "c"), [(1, 1), (3, 5)])
def test_equals_a_look_at_all(r: int, c: int, v: int, wanted: int) -> None:
    torch.manual_seed(v)
    totals, logp = torch.randn(r, c), torch.randn(r, c, v).log_softmax(-1)
    values, beams, tokens = best_continuations(totals, logp, wanted)
    sums = (totals.unsqueeze(2) + logp).flatten(1)
    expected, flat = sums.topk(min(wanted, c * v))
    assert torch.equal(values, expected)
    assert torch.equal(beams * v + tokens, flat)


def test_beams_and_tokens_that_may_not_come_are_never_taken() -> None:
    totals = torch.tensor([[0.0, -torch.inf]])
    logp = torch.full((1, 2, 5_000), -torch.inf)
    logp[0, 0, 4_999], logp[0, 0, 17], logp[0, 1, 3] = -1.0, -2.0, -0.5
    values, beams, tokens = best_continuations(totals, logp, 4)
    assert values.tolist() == [[-1.0, -2.0, -torch.inf, -torch.inf]]
    assert beams[0, :2].tolist() == [0, 0]
    assert tokens[0, :2].tolist() == [4_999, 17]
    assert (tokens < 5_000).all()


def test_a_vocabulary_smaller_than_the_beam_gives_what_there_is() -> None:
    values, _, tokens = best_continuations(torch.zeros(2, 1), torch.randn(2, 1, 3), 8)
    assert values.shape == (2, 3)
    assert tokens.sort().values.tolist() == [[0, 1, 2]] * 2
