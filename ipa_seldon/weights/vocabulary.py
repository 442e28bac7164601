"""Tokenizers without a download: of the size and the special tokens of published ones, but not their vocabularies."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pydoc_data.topics import topics
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

PIECES = 10_000
"""Byte pairs to learn at most: the text that is here for it has no more that come twice."""
CTC_LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
"""The published vocabulary of wav2vec 2.0 fine-tuned on LibriSpeech, in order."""


def byte_pair_tokenizer(size: int, special: Mapping[int, str], frame: tuple[str, str], seed: int) -> Tokenizer:
    """A byte-pair tokenizer of ``size`` tokens, the ``special`` ones at their places; ``frame`` are templates of one
    text ($A) and of two ($A, $B).

    The byte pairs are learnt from the language reference that comes with Python, so that English takes about 1.3 tokens
    a word, as with published vocabularies. Those fill the places up to ``size`` that this cannot: with words made of
    two learnt pieces, which no text is split into, but a network may give.
    """
    pieces, merges = _learnt(min(size - len(special), PIECES))
    words = chain(pieces, _words_of_two(pieces, seed))
    tokens = [special[place] if place in special else next(words) for place in range(size)]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.add_special_tokens(list(special.values()))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    places = [(token, place) for place, token in special.items()]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame[0], pair=frame[1], special_tokens=places)
    return tokenizer


def _learnt(size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The pieces in the order in which they were learnt, single bytes first, and what was merged to them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((topics[name] for name in sorted(topics)), trainer)
    learnt: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = learnt["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__), [(left, right) for left, right in learnt["merges"]]


def _words_of_two(pieces: Sequence[str], seed: int) -> Iterator[str]:
    """Words that are none of ``pieces``, each once."""
    numbers = random.Random(seed)  # noqa: S311  # no secret
    known = set(pieces)
    while True:
        word = numbers.choice(pieces) + numbers.choice(pieces)
        if word not in known:
            known.add(word)
            yield word
