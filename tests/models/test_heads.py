"""Heads for labels: shapes, which tokens they are read from, what cannot be built."""

from __future__ import annotations

import pytest
import torch

import sublayer
from sublayer.layers.head import EveryToken, FirstToken, LastToken, Pooler
from sublayer.models.base import Classifier, configure
from sublayer.models.huggingface import convention_for, write_network

ENCODERS, DECODERS = ("bert", "albert"), ("gpt", "llama")
EITHER = (*ENCODERS, *DECODERS)


def build(family: str, head: str, **keys) -> Classifier:
    network = sublayer.build(family, "tiny", vocab_size=20, head=head, n_labels=5, **keys).eval()
    assert isinstance(network, Classifier)
    return network


@pytest.fixture
def ids():
    return torch.randint(0, 20, (3, 6))


@pytest.mark.parametrize("family", EITHER)
def test_logits_have_their_shape(family, ids):
    assert build(family, "classify")(ids).shape == (3, 5)
    assert build(family, "tag")(ids).shape == (3, 6, 5)
    assert build(family, "tag").hidden(ids).shape == (3, 6, 128)


@pytest.mark.parametrize("family", EITHER)
def test_an_answer_has_a_start_and_an_end_whatever_the_labels(family, ids):
    assert build(family, "answer")(ids).shape == (3, 6, 2)


@pytest.mark.parametrize("family", EITHER)
@pytest.mark.parametrize("head", ["classify", "tag"])
def test_padding_changes_nothing(family, head, ids):
    network = build(family, head)
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, 4:] = False
    changed = torch.where(valid, ids, (ids + 1) % 20)
    got, expected = network(changed, valid), network(ids, valid)
    if head == "tag":
        got, expected = got[valid], expected[valid]
    torch.testing.assert_close(got, expected)
    alone = network(ids[1:2, :4])
    torch.testing.assert_close(
        network(ids, valid)[1:2] if head == "classify" else got[6:10][None], alone
    )


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_labels_its_last_token_and_tags_see_no_future(family, ids):
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % 20
    classes, tags = build(family, "classify"), build(family, "tag")
    assert not torch.allclose(classes(ids), classes(changed))
    torch.testing.assert_close(tags(ids)[:, :-1], tags(changed)[:, :-1])
    torch.testing.assert_close(classes(ids), classes.head(classes.hidden(ids)[:, -1]))


@pytest.mark.parametrize("classifier", ["tanh", "dropout_tanh", "relu"])
def test_the_three_published_classifiers_are_their_formulas(classifier, ids):
    network = build("bert", "classify", classifier=classifier)
    act = torch.relu if classifier == "relu" else torch.tanh
    first = network.hidden(ids)[:, 0]
    torch.testing.assert_close(network(ids), network.head(act(network.pooler.dense(first))))


def test_last_token_is_the_last_that_is_valid():
    x = torch.randn(4, 5, 2)
    valid = torch.tensor(
        [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 1, 0, 0]], dtype=torch.bool
    )
    torch.testing.assert_close(LastToken()(x, valid), x[torch.arange(4), [4, 1, 3, 2]])
    torch.testing.assert_close(LastToken()(x), x[:, -1])


def test_first_and_every_token_are_as_they_are():
    x = torch.randn(2, 5, 3)
    assert torch.equal(FirstToken()(x), x[:, 0])
    assert torch.equal(EveryToken()(x), x)


def test_a_pooler_drops_before_its_layer():
    pooler = Pooler(64, dropout=0.5).train()
    x = torch.randn(2, 3, 64)
    assert not torch.equal(pooler(x), pooler(x))
    assert torch.equal(pooler.eval()(x), pooler(x))


@pytest.mark.parametrize(
    ("family", "head", "keys", "share"),
    [
        ("bert", "classify", {"dropout": 0.25}, 0.25),
        ("bert", "tag", {"dropout": 0.25}, 0.25),
        ("bert", "answer", {"dropout": 0.25}, 0.0),
        ("bert", "answer", {"head_dropout": 0.5}, 0.5),
        ("albert", "classify", {}, 0.1),
        ("albert", "answer", {}, 0.0),
        ("gpt", "classify", {}, 0.0),
        ("gpt", "tag", {}, 0.1),
        ("llama", "classify", {"head_dropout": 0.2}, 0.2),
        ("llama", "tag", {}, 0.1),
    ],
)
def test_dropout_is_that_of_the_originals_unless_given(family, head, keys, share):
    assert build(family, head, **keys).dropout.p == share


@pytest.mark.parametrize("family", EITHER)
def test_the_body_has_the_names_of_the_pretrained_one(family):
    """So that its weights can be taken over by name."""
    body = {"head": "none"} if family in ENCODERS else {}
    pretrained = sublayer.build(family, "tiny", vocab_size=20, **body).state_dict()
    classifier = build(family, "classify").state_dict()
    own = {name for name in pretrained if not name.startswith("head.")}
    assert own == {name for name in classifier if not name.startswith("head.")}


@pytest.mark.parametrize("family", EITHER)
def test_gradients_reach_every_parameter(family, ids):
    network = build(family, "classify").train()
    segments = {"segments": torch.ones_like(ids)} if family in ENCODERS else {}
    network(ids, **segments).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("keys", "model_type"),
    [
        ({"classifier": "tanh"}, "bert"),
        ({"classifier": "dropout_tanh", "skipped_positions": 2}, "roberta"),
        ({"classifier": "relu", "n_segments": 0}, "distilbert"),
    ],
)
def test_each_classifier_goes_with_the_body_it_was_published_with(keys, model_type):
    config = configure("bert", "tiny", vocab_size=20, head="classify", **keys)
    assert convention_for("bert", config).model_type == model_type


def test_a_classifier_of_another_body_is_not_written_for_transformers(tmp_path):
    config = configure("bert", "tiny", vocab_size=20, head="classify", classifier="relu")
    with pytest.raises(ValueError, match="no architecture for a 'bert' with classifier = 'relu'; "):
        write_network(config.build(), "bert", config, tmp_path)


@pytest.mark.parametrize("family", EITHER)
def test_an_unknown_head_is_refused_with_the_known_ones(family):
    with pytest.raises(ValueError, match=r"head.*'classify'"):
        configure(family, "tiny", vocab_size=20, head="clasify")
