"""Labels of tokens, texts and images: the losses are the formulas', and those of transformers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.data.batch import Labelled
from sublayer.models.base import build
from sublayer.objectives.labels import (
    UNTOLD,
    Answer,
    HiddenTokens,
    Number,
    OneLabel,
    SeveralLabels,
    TagLabels,
)

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
THEIRS = -100  # what transformers calls untold


@pytest.fixture
def segments(valid):
    return (torch.arange(9) >= 3).long().expand(4, 9) * valid


@pytest.fixture
def batch(ids, valid, segments):
    """Two texts a row, without labels."""
    return Labelled(ids.masked_fill(~valid, 0), valid, segments, torch.empty(0), 4, 28)


def seen(batch: Labelled) -> dict[str, torch.Tensor]:
    """What a model of transformers is called with."""
    return {
        "input_ids": batch.inputs,
        "attention_mask": batch.valid.long(),
        "token_type_ids": batch.segments,
    }


def told(batch: Labelled, n_labels: int) -> Labelled:
    """Labels for about every third real token."""
    torch.manual_seed(1)
    asked = (torch.rand(batch.inputs.shape) < 0.35) & batch.valid
    labels = torch.randint(0, n_labels, batch.inputs.shape).masked_fill(~asked, UNTOLD)
    return replace(batch, labels=labels, tokens=int(asked.sum()))


def rows_of(batch: Labelled, rows: slice) -> Labelled:
    """Some rows, as a batch of their own."""
    labels, inputs = batch.labels[rows], batch.inputs[rows]
    per_token = labels.shape == inputs.shape
    pair = None if batch.pair is None else batch.pair[rows]
    n = int((labels != UNTOLD).sum()) if per_token else len(labels)
    return Labelled(inputs, batch.valid[rows], batch.segments[rows], labels, n, n, pair)


# ---- transformers --------------------------------------------------------------------------------


def test_hidden_tokens_equal_bert(both, batch):
    network, theirs = both("bert", "BertForMaskedLM", head="masked", pooler=False)
    asked = told(batch, 23)
    loss = HiddenTokens()(network, asked)
    expected = theirs(**seen(batch), labels=asked.labels.masked_fill(asked.labels < 0, THEIRS)).loss
    torch.testing.assert_close(loss.total / loss.tokens, expected, **CLOSE)
    torch.testing.assert_close(loss.parts["nll"] / loss.tokens, expected.detach(), **CLOSE)


@pytest.mark.parametrize(
    ("family", "label"), [("bert", "next_sentence_label"), ("albert", "sentence_order_label")]
)
def test_hidden_tokens_and_pairs_equal_theirs(both, batch, family, label):
    network, theirs = both(family, f"{family.capitalize()}ForPreTraining")
    pair = torch.tensor([0, 1, 1, 0])
    asked = replace(told(batch, 23), pair=pair)
    loss = HiddenTokens()(network, asked)
    labels = asked.labels.masked_fill(asked.labels < 0, THEIRS)
    said = theirs(**seen(batch), labels=labels, **{label: pair})
    torch.testing.assert_close(loss.total / loss.tokens, said.loss, **CLOSE)
    logits = said.seq_relationship_logits if family == "bert" else said.sop_logits
    assert loss.parts["pair_accuracy"] == (logits.argmax(-1) == pair).sum()
    assert loss.counts == {"pair_nll": 4, "pair_accuracy": 4}
    torch.testing.assert_close(
        loss.parts["pair_nll"], F.cross_entropy(logits, pair, reduction="sum").detach(), **CLOSE
    )


@pytest.mark.parametrize("kind", ["one", "several", "number"])
def test_texts_equal_bert(both, batch, kind):
    n_labels = 1 if kind == "number" else 3
    network, theirs = both(
        "bert", "BertForSequenceClassification", head="classify", n_labels=n_labels, pooler=False
    )
    objective, labels, problem = {
        "one": (OneLabel(), torch.tensor([0, 2, 1, 2]), "single_label_classification"),
        "several": (
            SeveralLabels(),
            torch.tensor([[0.0, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 1]]),
            "multi_label_classification",
        ),
        "number": (Number(), torch.tensor([0.5, -2.0, 3.0, 0.0]), "regression"),
    }[kind]
    theirs.config.problem_type = problem
    loss = objective(network, replace(batch, labels=labels))
    expected = theirs(**seen(batch), labels=labels).loss
    torch.testing.assert_close(loss.total / loss.tokens, expected, **CLOSE)


def test_tags_equal_bert(both, batch):
    network, theirs = both(
        "bert", "BertForTokenClassification", head="tag", n_labels=5, pooler=False
    )
    asked = told(batch, 5)
    loss = TagLabels()(network, asked)
    labels = asked.labels.masked_fill(asked.labels < 0, THEIRS)
    torch.testing.assert_close(
        loss.total / loss.tokens, theirs(**seen(batch), labels=labels).loss, **CLOSE
    )


def test_answers_equal_bert(both, batch):
    network, theirs = both("bert", "BertForQuestionAnswering", head="answer", pooler=False)
    places = torch.tensor([[0, 0], [2, 5], [1, 3], [8, 8]])
    loss = Answer()(network, replace(batch, labels=places))
    first, last = places.unbind(-1)
    # theirs has padding among the places; with its logits at minus infinity it is the same sum
    said = theirs(**seen(batch))
    starts, ends = (
        logits.masked_fill(~batch.valid, -1e30) for logits in (said.start_logits, said.end_logits)
    )
    expected = (F.cross_entropy(starts, first) + F.cross_entropy(ends, last)) / 2
    torch.testing.assert_close(loss.total / loss.tokens, expected, **CLOSE)
    whole = replace(batch, valid=None, labels=places)
    theirs_whole = theirs(
        batch.inputs, token_type_ids=batch.segments, start_positions=first, end_positions=last
    ).loss
    torch.testing.assert_close(Answer()(network, whole).total / 4, theirs_whole, **CLOSE)


# ---- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothing_is_that_of_pytorch(batch, smoothing):
    torch.manual_seed(0)
    tagger, labeller = (
        build("bert", "tiny", vocab_size=23, head=head, n_labels=4).eval()
        for head in ("tag", "classify")
    )
    asked = told(batch, 4)
    logits = tagger(batch.inputs, batch.valid, batch.segments)[asked.labels != UNTOLD]
    expected = F.cross_entropy(
        logits, asked.labels[asked.labels != UNTOLD], label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(TagLabels(smoothing)(tagger, asked).total, expected, **CLOSE)
    labels = torch.tensor([3, 0, 1, 1])
    logits = labeller(batch.inputs, batch.valid, batch.segments)
    loss = OneLabel(smoothing)(labeller, replace(batch, labels=labels))
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(loss.total, expected, **CLOSE)
    assert loss.parts["accuracy"] == (logits.argmax(-1) == labels).sum()
    torch.testing.assert_close(
        loss.parts["nll"], F.cross_entropy(logits, labels, reduction="sum").detach(), **CLOSE
    )


def test_images():
    network = build("vit", "tiny", n_channels=1, image_size=8, n_labels=3).eval()
    images, labels = torch.randn(5, 1, 8, 8), torch.tensor([0, 2, 1, 1, 0])
    loss = OneLabel()(network, Labelled(images, None, None, labels, 5, 5))
    torch.testing.assert_close(
        loss.total, F.cross_entropy(network(images), labels, reduction="sum"), **CLOSE
    )


class Says(nn.Module):
    """A model that says what it was given, whatever the inputs: its logits are its parameters."""

    n_segments = 0

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(*shape, dtype=torch.float64))

    def forward(self, ids, valid=None):
        return self.logits


@pytest.mark.parametrize(
    ("objective", "shape", "labels"),
    [
        (TagLabels(0.1), (2, 4, 3), torch.tensor([[0, -1, 2, -1], [-1, -1, 1, 0]])),
        (OneLabel(0.2), (2, 3), torch.tensor([1, 2])),
        (SeveralLabels(), (2, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0]])),
        (Number(), (2, 1), torch.tensor([0.5, -1.0])),
        (Answer(), (2, 4, 2), torch.tensor([[0, 0], [1, 3]])),
    ],
)
def test_gradients_are_those_of_the_values(objective, shape, labels):
    """Losses are in float32, so the differences are taken wide."""
    model = Says(*shape)
    batch = Labelled(torch.zeros(2, 4, dtype=torch.long), None, None, labels, 2, 2)

    def value(logits: torch.Tensor) -> torch.Tensor:
        model.logits = nn.Parameter(logits)
        return objective(model, batch).total.double()

    loss = objective(model, batch).total
    (gradient,) = torch.autograd.grad(loss, model.logits)
    at, step = model.logits.detach().clone(), 1e-2
    for place in range(at.numel()):
        there = torch.zeros(at.numel(), dtype=at.dtype)
        there[place] = step
        there = there.view_as(at)
        slope = (value(at + there) - value(at - there)) / (2 * step)
        assert slope.item() == pytest.approx(gradient.flatten()[place].item(), abs=2e-3)


def test_padding_is_no_place_for_an_answer(batch):
    network = build("bert", "tiny", vocab_size=23, head="answer").eval()
    places = torch.tensor([[0, 0], [2, 5], [1, 3], [8, 8]])
    loss = Answer()(network, replace(batch, labels=places))
    alone = 0.0
    for row, length in enumerate(batch.valid.sum(1).tolist()):
        logits = network(
            batch.inputs[row : row + 1, :length], None, batch.segments[row : row + 1, :length]
        )
        alone += F.cross_entropy(logits, places[row : row + 1], reduction="sum").item() / 2
    assert loss.total.item() == pytest.approx(alone, rel=1e-5)


def test_what_is_untold_has_no_influence(batch):
    network = build("bert", "tiny", vocab_size=23, head="tag", n_labels=4).eval()
    asked = told(batch, 4)
    logits = network(batch.inputs, batch.valid, batch.segments)
    logits.retain_grad()
    network.forward = lambda *inputs: logits  # so that its gradient can be seen
    TagLabels()(network, asked).total.backward()
    assert torch.equal(logits.grad.abs().sum(-1) > 0, asked.labels != UNTOLD)


CASES = {
    "tag": (TagLabels(), lambda batch: told(batch, 4)),
    "classify": (OneLabel(), lambda batch: replace(batch, labels=torch.tensor([3, 0, 1, 1]))),
    "answer": (
        Answer(),
        lambda batch: replace(batch, labels=torch.tensor([[0, 0], [2, 5], [1, 3], [8, 8]])),
    ),
    "masked": (HiddenTokens(), lambda batch: told(batch, 23)),
    "masked_and_pairs": (
        HiddenTokens(),
        lambda batch: replace(told(batch, 23), pair=torch.tensor([0, 1, 1, 0])),
    ),
}


@pytest.mark.parametrize("head", CASES)
def test_parts_of_a_batch_add_up(batch, head):
    objective, label = CASES[head]
    asked = label(batch)
    network = build("bert", "tiny", vocab_size=23, head=head, n_labels=4).eval()
    whole = objective(network, asked)
    parts = [objective(network, rows_of(asked, rows)) for rows in (slice(0, 1), slice(1, 4))]
    assert whole.tokens == sum(part.tokens for part in parts)
    for name, value in whole.parts.items():
        assert not value.requires_grad
        assert value.item() == pytest.approx(sum(p.parts[name].item() for p in parts), rel=1e-4)
    if asked.pair is None:  # the pair's mean weighs by the tokens of its batch
        torch.testing.assert_close(whole.total, sum(p.total for p in parts), atol=1e-4, rtol=1e-4)
