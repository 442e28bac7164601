"""What networks do with text: classify it, answer questions about it, write another text from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

LONGEST_TEXT = 20_000
"""Characters of a text at most: a batch takes the memory of its longest text, which its neighbours share."""
LONGEST_QUESTION = 64
"""Tokens; with WINDOW, OVERLAP and LONGEST_ANSWER those by which such networks are trained on SQuAD (Devlin et al.,
NAACL 2019).
"""
WINDOW = 384
OVERLAP = 128
LONGEST_ANSWER = 30
EXAMPLE = "The network is used once before it is said to be ready, so that no request has to pay for that."

Row = Mapping[str, bytes]
"""Tensor name -> the one value of a row."""


def text_in(row: Row, name: str = "text") -> str:
    """The text of that tensor; ValueError where it is none, or too long."""
    try:
        text = row[name].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not UTF-8: {error}") from error
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{name}: {len(text)} characters; accepted: {LONGEST_TEXT} at most")
    return text


def load(kind: Any, folder: Path) -> Any:
    """What is saved in ``folder``, as that kind of transformers' automatic classes; nothing is downloaded."""
    return kind.from_pretrained(folder, local_files_only=True)


def network_in(kind: Any, folder: Path, device: str) -> Any:
    """The network that is saved in ``folder``, on that device of torch, for use alone."""
    return load(kind, folder).eval().to(device)


def longest_input(tokenizer: Any, configuration: Any) -> int:
    """Tokens that the network takes: published tokenizers do not always say."""
    positions = configuration.max_position_embeddings
    if "roberta" in configuration.model_type:
        positions -= configuration.pad_token_id + 1  # where its positions begin
    return int(min(positions, tokenizer.model_max_length))


def greedy(network: Any, parameters: Mapping[str, str]) -> Any:
    """How the network writes: the likeliest token each time, ``max_new_tokens`` at most, or as many as were saved with
    it, if that is less. Beams and chance would make the time of a request a matter of luck.
    """
    limit = int(parameters["max_new_tokens"])
    saved = network.generation_config
    saved.update(
        **{"do_sample": False, "num_beams": 1, "early_stopping": False, "length_penalty": 1.0, "max_length": None},
        max_new_tokens=min(limit, saved.max_new_tokens or limit),
    )
    return saved


class _OfText:
    """What a task is that takes a text."""

    def example(self) -> str:
        """Something to run."""
        return EXAMPLE

    def parse(self, row: Row) -> str:
        """The text of a row; ValueError where it has none."""
        return text_in(row)


class Classification(_OfText):
    """Names the likeliest class of a text (``label``) and its probability (``score``); gives the ``text`` on."""

    def __init__(self, folder: Path, parameters: Mapping[str, str], device: str) -> None:
        del parameters
        self._tokenizer = load(transformers.AutoTokenizer, folder)
        self._network = network_in(transformers.AutoModelForSequenceClassification, folder, device)
        self._longest = longest_input(self._tokenizer, self._network.config)

    def run(self, texts: list[str]) -> list[dict[str, Any]]:
        """Label, score and text of each, from one forward pass; of a text that is too long, by its beginning."""
        encoded = self._tokenizer(texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
        best = self._network(**encoded.to(self._network.device)).logits.softmax(-1).max(-1)
        labels = [self._network.config.id2label[place] for place in best.indices.tolist()]
        return [
            {"label": label.encode(), "score": score, "text": text.encode()}
            for label, score, text in zip(labels, best.values.tolist(), texts, strict=True)
        ]


class Generation(_OfText):
    """Writes a text from a text: a summary, a translation."""

    def __init__(self, folder: Path, parameters: Mapping[str, str], device: str) -> None:
        self._tokenizer = load(transformers.AutoTokenizer, folder)
        self._network = network_in(transformers.AutoModelForSeq2SeqLM, folder, device)
        self._longest = longest_input(self._tokenizer, self._network.config)
        self._decoding = greedy(self._network, parameters)

    def run(self, texts: list[str]) -> list[dict[str, bytes]]:
        """What is written from each, all side by side; from a text that is too long, from its beginning."""
        encoded = self._tokenizer(texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
        tokens = self._network.generate(**encoded.to(self._network.device), generation_config=self._decoding)
        written = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [{"text": text.strip().encode()} for text in written]


class Question(NamedTuple):
    """Of the ``context``, a text."""

    question: str
    context: str


class Span(NamedTuple):
    """Where an answer is in its context, from character to character, and its probability."""

    score: float
    begin: int
    end: int


class Answering:
    """Finds the ``answer`` to a question in a text, and its probability (``score``); an empty one where there is none,
    as in SQuAD 2. The question is that of the parameters, unless a request brings its own.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], device: str) -> None:
        self._tokenizer = load(transformers.AutoTokenizer, folder)
        self._network = network_in(transformers.AutoModelForQuestionAnswering, folder, device)
        self._window = min(WINDOW, longest_input(self._tokenizer, self._network.config))
        self._question = parameters["question"].encode()

    def example(self) -> Question:
        """Something to run."""
        return Question(self._question.decode(), EXAMPLE)

    def parse(self, row: Row) -> Question:
        """The question of a row; ValueError where it is none, or longer than LONGEST_QUESTION."""
        asked = Question(text_in({"question": self._question} | dict(row), "question"), text_in(row))
        length = len(self._tokenizer(asked.question, add_special_tokens=False).input_ids)
        if length > LONGEST_QUESTION:
            raise ValueError(f"question: {length} tokens; accepted: {LONGEST_QUESTION} at most")
        return asked

    def run(self, items: list[Question]) -> list[dict[str, Any]]:
        """The answer to each, from one forward pass over the windows of all contexts."""
        encoded = self._tokenizer(
            [item.question for item in items],
            [item.context for item in items],
            **{"truncation": "only_second", "max_length": self._window, "stride": OVERLAP, "padding": True},
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        owners = encoded.pop("overflow_to_sample_mapping").tolist()
        places = encoded.pop("offset_mapping").tolist()
        found = self._network(**encoded.to(self._network.device))
        inside = [[one == 1 for one in encoded.sequence_ids(window)] for window in range(len(owners))]
        spans = list(best_spans(found.start_logits.cpu(), found.end_logits.cpu(), torch.tensor(inside), places))
        return [
            answer(item.context, (span for owner, span in zip(owners, spans, strict=True) if owner == place))
            for place, item in enumerate(items)
        ]


def best_spans(
    starts: torch.Tensor, ends: torch.Tensor, inside: torch.Tensor, places: list[list[list[int]]]
) -> Iterator[tuple[Span, float]]:
    """Of each window its likeliest span, and the probability that it has none, which is that of the first token.

    ``starts`` and ``ends`` are logits, ``inside`` says which tokens are of the context, all of shape (windows, tokens);
    ``places`` are the characters of each token.
    """
    allowed = inside.clone()
    allowed[:, 0] = True
    starts, ends = (logits.masked_fill(~allowed, -torch.inf).softmax(-1) for logits in (starts, ends))
    nothing = starts[:, 0] * ends[:, 0]
    starts, ends = starts * inside, ends * inside
    scores = (starts[:, :, None] * ends[:, None, :]).triu().tril(LONGEST_ANSWER - 1).flatten(1).max(-1)
    length = inside.shape[1]
    for window, (score, cell) in enumerate(zip(scores.values.tolist(), scores.indices.tolist(), strict=True)):
        begin, end = divmod(cell, length)
        yield Span(score, places[window][begin][0], places[window][end][1]), nothing[window].item()


def answer(context: str, windows: Iterable[tuple[Span, float]]) -> dict[str, Any]:
    """The likeliest span of all windows, or none where each of them says so with more certainty."""
    spans, nothings = zip(*windows, strict=True)
    best, nothing = max(spans), min(nothings)
    if nothing > best.score:
        return {"answer": b"", "score": nothing}
    return {"answer": context[best.begin : best.end].encode(), "score": best.score}
