"""Builds the networks of speech and text with random weights, in the files that transformers reads.

Options are the published configuration, key by key, and beside it ``network`` (a class of transformers), ``labels``
(of a classifier) and ``tokens``, how many a network that generates gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError

from ipa_seldon.errors import ConfigError
from ipa_seldon.weights.vocabulary import CTC_LETTERS, byte_pair_tokenizer

OWN = ("network", "labels", "tokens")


@dataclass(frozen=True)
class Specials:
    """The special tokens of a family of networks by place, the roles they have, and how they frame a text, or two."""

    places: Mapping[int, str]
    roles: Mapping[str, str]
    frame: tuple[str, str]


BERT = Specials(
    {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"},
    {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
)
ROBERTA = Specials(
    {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>"},
    {
        **{"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
        **{"cls_token": "<s>", "sep_token": "</s>"},
    },
    ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
)


def build(options: Mapping[str, Any], seed: int, target: Path) -> None:
    """Write the network of ``options`` with random weights, and what turns its input and output into text, into the
    directory ``target``: the same files for the same seed and versions of Python, torch and transformers.
    """
    transformers.utils.logging.disable_progress_bar()
    # The caller's own random numbers are left as they are.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = make_network(options)
    if network.can_generate():
        network.generation_config = _generation(network.config, options["tokens"])
    network.save_pretrained(target)
    _write_tokenizer(network.config, seed, target)
    if extractor := _feature_extractor(network.config):
        extractor.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)  # safetensors leaves its own to be read by nobody else, and a server is another user


def make_network(options: Mapping[str, Any]) -> Any:
    """The network with fresh weights, on torch's default device. ConfigError for options that make none."""
    name = options.get("network", "")
    kind = getattr(transformers, name, None)
    if kind is None:
        raise ConfigError(f"options: network {name!r}: accepted: a class of transformers")
    settings = {key: value for key, value in options.items() if key not in OWN}
    known = kind.config_class()
    for key in settings:
        if not hasattr(known, key):
            raise ConfigError(f"options of network {name!r}: {key!r} is unknown to its configuration")
    if labels := options.get("labels"):
        settings["id2label"] = dict(enumerate(labels))
        settings["label2id"] = {label: place for place, label in enumerate(labels)}
    try:
        network = kind(kind.config_class(**settings)).eval()
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise ConfigError(f"options of network {name!r}: {' '.join(str(error).split())}") from error
    if network.can_generate() and not isinstance(options.get("tokens"), int):
        raise ConfigError(f"options of network {name!r}: tokens: {options.get('tokens')!r}; accepted: an integer")
    return network


def parameters(options: Mapping[str, Any]) -> int:
    """How many trained parameters the network has; none is allocated."""
    with torch.device("meta"):
        return sum(weights.numel() for weights in make_network(options).parameters() if weights.requires_grad)


def _generation(config: Any, tokens: int) -> Any:
    """Decoding by which random weights give ``tokens`` tokens: none of the special ones, and so no early end."""
    specials = _specials(config)
    found = transformers.GenerationConfig.from_model_config(config)
    found.update(max_new_tokens=tokens, suppress_tokens=sorted(specials.places), forced_eos_token_id=None)
    return found


def _specials(config: Any) -> Specials:
    """The special tokens that the network counts on."""
    if config.model_type in ("bert", "distilbert"):
        return BERT
    if config.model_type != "marian":
        return ROBERTA
    names = {config.eos_token_id: "</s>", config.pad_token_id: "<pad>", 1: "<unk>"}
    roles = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return Specials(names, roles, ("$A </s>", "$A $B </s>"))


def _write_tokenizer(config: Any, seed: int, target: Path) -> None:
    if config.model_type == "wav2vec2":
        _write_letters(target)
        return
    specials = _specials(config)
    tokenizer = byte_pair_tokenizer(config.vocab_size, specials.places, specials.frame, seed)
    longest = getattr(config, "max_position_embeddings", None) or config.max_target_positions
    if "roberta" in config.model_type:
        longest -= config.pad_token_id + 1  # where its positions begin
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if config.model_type == "bert" else [])]
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=longest, model_input_names=inputs, **specials.roles
    ).save_pretrained(target)


def _write_letters(target: Path) -> None:
    vocabulary = target / "vocab.json"
    vocabulary.write_text(json.dumps({letter: place for place, letter in enumerate(CTC_LETTERS)}), encoding="utf-8")
    transformers.Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(target)


def _feature_extractor(config: Any) -> Any:
    """What turns samples into the input of a network that hears; None for others."""
    if config.model_type == "wav2vec2":
        return transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    if config.model_type == "speech_to_text":
        return transformers.Speech2TextFeatureExtractor(num_mel_bins=config.input_feat_per_channel)
    return None
