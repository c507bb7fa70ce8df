"""Small folders as transformers writes them, tokenizers included."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer as Pipeline
from tokenizers import decoders, models, pre_tokenizers, trainers

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "home"]
TEXTS = [" ".join(WORDS), *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"bcdefghij", "##s", "##ing"]
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4}
LABELS = {0: "no", 1: "maybe", 2: "yes"}
NAMED = {"id2label": LABELS, "label2id": {name: i for i, name in LABELS.items()}}


def wordpieces(folder):
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES))
    hf.BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    return {"vocab_size": len(PIECES), "pad_token_id": 0}


def bytes_of(tokens):
    def make(folder):
        pipeline = Pipeline(models.BPE())
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        pipeline.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False
        )
        pipeline.train_from_iterator(TEXTS * 3, trainer)
        pipeline.model.save(str(folder))
        kind = hf.GPT2Tokenizer if len(tokens) == 1 else hf.RobertaTokenizer
        kind.from_pretrained(folder).save_pretrained(folder)
        ids = {f"{name}_token_id": tokens.index(t) for name, t in NAMES.items() if t in tokens}
        ids = ids or {"bos_token_id": 0, "eos_token_id": 0}
        return {"vocab_size": pipeline.get_vocab_size()} | ids

    return make


NAMES = {"bos": "<s>", "pad": "<pad>", "eos": "</s>"}
GPT2 = bytes_of(["<|endoftext|>"])
ROBERTA = bytes_of(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


def unigram(folder):
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS] + [(c, -6.0) for c in "abcdefghijklmnopqrst"]
    pieces += [(f"<extra_id_{i}>", 0.0) for i in range(4, -1, -1)]
    hf.T5Tokenizer(vocab=pieces, extra_ids=5).save_pretrained(folder)
    return {"vocab_size": len(pieces) + 3, "decoder_start_token_id": 0}  # rows to fill up, as T5's


def sentencepieces(folder):
    spm = pytest.importorskip("sentencepiece")
    file = folder / "texts"
    file.write_text("".join(f"{text}\n" for text in TEXTS * 2))
    table = dict.fromkeys(["</s>", "<unk>"])
    for side in ("source", "target"):
        spm.SentencePieceTrainer.train(
            input=str(file), model_prefix=str(folder / side), vocab_size=60, minloglevel=2,
            hard_vocab_limit=False,
        )  # fmt: skip
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
        model = spm.SentencePieceProcessor(model_file=str(folder / f"{side}.spm"))
        table |= dict.fromkeys(model.id_to_piece(i) for i in range(3, model.get_piece_size()))
    table |= {"<pad>": None}
    for left in (file, *folder.glob("*.vocab")):
        left.unlink()
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(table)}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "MarianTokenizer"})
    )
    last = len(table) - 1
    return {"vocab_size": len(table), "pad_token_id": last, "decoder_start_token_id": last}


MARIAN = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 64,
    "eos_token_id": 0,
    "scale_embedding": True,
}
VIT = BERT | {"image_size": 12, "patch_size": 4}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 40}
ALBERT = BERT | {"embedding_size": 16}
CASES = {  # their class, configuration, keys, and what makes the tokenizer
    "bert bare": (hf.BertModel, hf.BertConfig, BERT, wordpieces),
    "bert masked": (hf.BertForMaskedLM, hf.BertConfig, BERT, wordpieces),
    "bert pairs": (hf.BertForPreTraining, hf.BertConfig, BERT, wordpieces),
    "bert labels": (hf.BertForSequenceClassification, hf.BertConfig, BERT | NAMED, wordpieces),
    "bert tags": (hf.BertForTokenClassification, hf.BertConfig, BERT | NAMED, wordpieces),
    "bert answers": (hf.BertForQuestionAnswering, hf.BertConfig, BERT, wordpieces),
    "albert": (hf.AlbertForMaskedLM, hf.AlbertConfig, ALBERT, wordpieces),
    "distilbert": (hf.DistilBertForMaskedLM, hf.DistilBertConfig, DISTIL, wordpieces),
    "roberta": (
        hf.RobertaForMaskedLM,
        hf.RobertaConfig,
        BERT | {"type_vocab_size": 1},
        ROBERTA,
    ),
    "roberta answers": (
        hf.RobertaForQuestionAnswering,
        hf.RobertaConfig,
        BERT | {"type_vocab_size": 1},
        ROBERTA,
    ),
    "roberta tags": (
        hf.RobertaForTokenClassification,
        hf.RobertaConfig,
        BERT | {"type_vocab_size": 1} | NAMED,
        ROBERTA,
    ),
    "gpt2": (hf.GPT2LMHeadModel, hf.GPT2Config, GPT, GPT2),
    "gpt2 tags": (hf.GPT2ForTokenClassification, hf.GPT2Config, GPT | NAMED, GPT2),
    "gpt2 labels": (
        hf.GPT2ForSequenceClassification,
        hf.GPT2Config,
        GPT | NAMED | {"pad_token_id": 0},
        GPT2,
    ),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, LLAMA, GPT2),
    "mistral": (
        hf.MistralForCausalLM,
        hf.MistralConfig,
        LLAMA | {"sliding_window": 4},
        GPT2,
    ),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, LLAMA, GPT2),
    "t5": (hf.T5ForConditionalGeneration, hf.T5Config, T5, unigram),
    "marian": (hf.MarianMTModel, hf.MarianConfig, MARIAN, sentencepieces),
    "vit": (hf.ViTForImageClassification, hf.ViTConfig, VIT | NAMED, lambda folder: {}),
    "vit bare": (hf.ViTModel, hf.ViTConfig, VIT, lambda folder: {}),
}


def make(name, folder, **more):
    """Their model, with weights that show a mistake, in its folder."""
    torch.manual_seed(0)
    model, config, keys, tokenizer = CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    theirs = model(config(**keys | tokenizer(folder) | more)).eval()
    for weight in theirs.parameters():
        if weight.requires_grad and weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    theirs.save_pretrained(folder)
    return theirs


@pytest.fixture(scope="session")
def make_folder():
    return make


@pytest.fixture(params=CASES)
def foreign(request, tmp_path):
    """Their model and its folder."""
    return request.param, make(request.param, tmp_path / "theirs"), tmp_path / "theirs"
