"""What Hugging Face calls the keys and tensors of BERT, RoBERTa and DistilBERT."""

from __future__ import annotations

from collections.abc import Mapping

from sublayer.models.names import Rule

HF_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "silu": "silu"}
HF_BERT: dict[str, str] = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_length",
    "type_vocab_size": "n_segments",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "norm_eps",
    "hidden_act": "activation",
    "tie_word_embeddings": "tied",
}
HF_DISTILBERT: dict[str, str] = {
    "vocab_size": "vocab_size",
    "dim": "d_model",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "hidden_dim": "d_ff",
    "max_position_embeddings": "max_length",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation": "activation",
    "tie_word_embeddings": "tied",
}
HF_HEADS = {
    "Model": "none",
    "ForPreTraining": "masked_and_pairs",
    "ForMaskedLM": "masked",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
}
ONLY = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}
"""Keys of theirs that have one value here."""
HF_CLASSIFIERS = {"bert": "tanh", "roberta": "dropout_tanh", "distilbert": "relu"}
DISTIL_DROPOUTS = {"classify": ("seq_classif_dropout", 0.2), "answer": ("qa_dropout", 0.1)}
"""DistilBERT's keys for `head_dropout`, and what holds without them."""


def _block_names(theirs: str, names: Mapping[str, str]) -> list[Rule]:
    return [Rule(f"{theirs}.{t}.{{p}}", f"stack.blocks.{{i}}.{o}.{{p}}") for t, o in names.items()]


BODY: list[Rule] = [
    Rule("embeddings.word_embeddings.weight", "embed.table.weight"),
    Rule("embeddings.position_embeddings.weight", "stack.position.table.weight"),
    Rule("embeddings.token_type_embeddings.weight", "embed.segments.weight"),
    Rule("embeddings.LayerNorm.{p}", "stack.entry.{p}"),
    Rule("pooler.dense.{p}", "pooler.dense.{p}"),
    *_block_names(
        "encoder.layer.{i}",
        {
            "attention.self.query": "attention.layer.q",
            "attention.self.key": "attention.layer.k",
            "attention.self.value": "attention.layer.v",
            "attention.output.dense": "attention.layer.out",
            "attention.output.LayerNorm": "attention.norm",
            "intermediate.dense": "feedforward.layer.up",
            "output.dense": "feedforward.layer.down",
            "output.LayerNorm": "feedforward.norm",
        },
    ),
]
BERT: list[Rule] = [
    *BODY,
    Rule("cls.predictions.transform.dense.{p}", "head.dense.{p}"),
    Rule("cls.predictions.transform.LayerNorm.{p}", "head.norm.{p}"),
    Rule("cls.predictions.bias", "head.out.bias"),
    Rule("cls.predictions.decoder.{p}", "head.out.{p}"),
    Rule("cls.seq_relationship.{p}", "pair_head.{p}"),
]
ROBERTA: list[Rule] = [
    *BODY,
    Rule("lm_head.dense.{p}", "head.dense.{p}"),
    Rule("lm_head.layer_norm.{p}", "head.norm.{p}"),
    Rule("lm_head.bias", "head.out.bias"),
    Rule("lm_head.decoder.{p}", "head.out.{p}"),
]
DISTILBERT: list[Rule] = [
    *BODY[:4],
    *_block_names(
        "transformer.layer.{i}",
        {f"attention.{x}_lin": f"attention.layer.{x}" for x in ("q", "k", "v", "out")}
        | {
            "sa_layer_norm": "attention.norm",
            "ffn.lin1": "feedforward.layer.up",
            "ffn.lin2": "feedforward.layer.down",
            "output_layer_norm": "feedforward.norm",
        },
    ),
    Rule("vocab_transform.{p}", "head.dense.{p}"),
    Rule("vocab_layer_norm.{p}", "head.norm.{p}"),
    Rule("vocab_projector.{p}", "head.out.{p}"),
]
TAGS: list[Rule] = [Rule("classifier.{p}", "head.{p}")]
ANSWERS: list[Rule] = [Rule("qa_outputs.{p}", "head.{p}")]
CLASSES: dict[str, list[Rule]] = {
    "tanh": TAGS,
    "dropout_tanh": [
        Rule("classifier.dense.{p}", "pooler.dense.{p}"),
        Rule("classifier.out_proj.{p}", "head.{p}"),
    ],
    "relu": [Rule("pre_classifier.{p}", "pooler.dense.{p}"), *TAGS],
}
