"""Families that the Transformer replaced, in the same parts, tasks and loop."""

from sublayer.models.classic import (  # files each
    bilstm,
    elmo,
    glove,
    rnn_seq2seq,
    textcnn,
    wavenet,
    word2vec,
)

__all__ = ["bilstm", "elmo", "glove", "rnn_seq2seq", "textcnn", "wavenet", "word2vec"]
