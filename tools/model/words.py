"""Train the byte-level tokenizer, and turn documents into token ids with a weight for each token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{- raise_exception('roles must be system, user or assistant, got ' ~ message['role']) -}}"
    "{%- endif -%}"
    "{{- '<|' ~ message['role'] ~ '|>' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] | trim -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] | trim -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
WRITTEN_WEIGHT = 1.0
READ_WEIGHT = 0.1


@dataclass(frozen=True)
class Encoded:
    """Token ids of one document and how much each of them counts in the loss."""

    ids: list[int]
    weights: list[float]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with chat roles.

    Parameters
    ----------
    texts
        The texts to learn from.
    vocab_size
        Number of tokens with the special ones, > 260.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def _spans(document: dict[str, Any]) -> list[tuple[str, str, float]]:
    if "text" in document:
        return [("", document["text"], WRITTEN_WEIGHT)]
    weights = {"system": READ_WEIGHT, "user": READ_WEIGHT, "assistant": WRITTEN_WEIGHT}
    return [(f"<|{one['role']}|>", one["content"], weights[one["role"]]) for one in document["messages"]]


def encode(tokenizer: PreTrainedTokenizerFast, document: dict[str, Any]) -> Encoded:
    """Return the ids that the chat template gives for a document, with weights."""
    ids: list[int] = []
    weights: list[float] = []
    for role, text, weight in _spans(document):
        head = [tokenizer.convert_tokens_to_ids(role)] if role else []
        body = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        ids += head + body
        weights += [0.0] * len(head) + [weight] * len(body)
    return Encoded(ids, weights)
