"""Families that the Transformer replaced, in the same parts, tasks and loop."""

from sublayer.models.classic import glove, rnn_seq2seq, textcnn, wavenet, word2vec  # files each

__all__ = ["glove", "rnn_seq2seq", "textcnn", "wavenet", "word2vec"]
