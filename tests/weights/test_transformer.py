"""Networks of speech and text with random weights: the published architectures, counted without being allocated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.weights.catalogue import Weights, read_catalogue

transformers = pytest.importorskip("transformers")
from ipa_seldon.weights.transformer import build, parameters  # noqa: E402  # needs it

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = {
    "s2t-small": 29.5,
    "s2t-medium": 71.2,
    "wav2vec2-base": 94.4,
    "s2t-large": 267.8,
    "wav2vec2-large": 315.5,
    "xlm-roberta-base": 277.5,
    "roberta-base": 124.1,
    "xlm-roberta-large": 558.8,
    "distillbert-sentiment": 67.0,
    "bert-sentiment": 109.5,
    "roberta-sentiment": 124.6,
    "distilbert-sst2": 67.0,
    "distilbart-1-1": 83.0,
    "distilbart-12-1": 221.5,
    "distilbart-6-6": 229.9,
    "distilbart-12-3": 255.1,
    "distilbart-9-6": 267.7,
    "distilbart-12-6": 305.5,
    "xlm-roberta-langid": 278.1,
    "opus-mt-fr-en": 74.6,
    "opus-mt-tc-big-fr-en": 230.6,
}
"""Millions of trained parameters, as IPA's appendix and the models' cards have them."""


def catalogued() -> dict[str, Weights]:
    """Every variant that has this builder."""
    catalogues = [read_catalogue(path.parent) for path in sorted(ROOT.glob("model_repository/*/weights.yaml"))]
    variants = {name: one for found in catalogues for stage in found.stages.values() for name, one in stage.items()}
    return {name: one for name, one in variants.items() if one.builder == "transformers"}


VARIANTS = catalogued()
TINY = VARIANTS["distilbart-1-1"].options | VARIANTS["distilbart-1-1"].tiny


def digests(options: Mapping[str, Any], seed: int, target: Path) -> dict[str, str]:
    """What is built, file by file."""
    target.mkdir()
    build(options, seed, target)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in target.iterdir()}


def test_full_networks_have_the_published_sizes() -> None:
    """Each variant's options make a network of as many parameters as published, to the digit that was."""
    counted = {name: parameters(weights.options) / 1e6 for name, weights in VARIANTS.items()}
    assert counted == pytest.approx(PUBLISHED, abs=0.06)


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    """Bit for bit; another seed gives other weights. A server that is another user may read them."""
    first = digests(TINY, 1, tmp_path / "first")
    assert first == digests(TINY, 1, tmp_path / "again")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "first").iterdir()} == {0o644}
    assert first["model.safetensors"] != digests(TINY, 2, tmp_path / "other")["model.safetensors"]


def test_the_tokenizer_is_of_the_published_size(tmp_path: Path) -> None:
    """It has a token for all that a network can give, and English takes about as many as published ones need for it."""
    build(TINY | {"vocab_size": VARIANTS["distilbart-1-1"].options["vocab_size"]}, 0, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == 50_264
    assert len(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))) == len(set(tokenizer.get_vocab()))
    words = "the network is used once before it is said to be ready so that no request has to pay for that"
    assert 1 < len(tokenizer(words, add_special_tokens=False).input_ids) / len(words.split()) < 1.5
    assert tokenizer.decode(tokenizer(words).input_ids, skip_special_tokens=True).strip() == words


def test_what_is_written_with_random_weights_has_the_stated_length(tmp_path: Path) -> None:
    """No special token comes, and so no early end, nor anything that is no text."""
    build(TINY | {"tokens": 9}, 0, tmp_path)
    network = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    tokens = network.generate(**transformers.AutoTokenizer.from_pretrained(tmp_path)(["a text"], return_tensors="pt"))
    assert tokens.shape == (1, 10)
    assert tokens[0, 1:].min() > 3
    assert json.loads((tmp_path / "generation_config.json").read_text())["max_new_tokens"] == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 3}, "'BartForConditionalGeneration': 'layers' is unknown to its configuration"),
        ({"network": "BardForVerse"}, "network 'BardForVerse': accepted: a class of transformers"),
        ({"d_model": "wide"}, "'BartForConditionalGeneration': .*d_model"),
        ({"d_model": 33}, "'BartForConditionalGeneration': embed_dim must be divisible by num_heads"),
        ({"tokens": None}, "tokens: None; accepted: an integer"),
    ],
)
def test_options_that_make_no_network_are_named(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """One line says which; a slip in a name would make another network, in silence."""
    with pytest.raises(ConfigError, match=words) as refused:
        build(TINY | options, 0, tmp_path)
    assert "\n" not in str(refused.value)
