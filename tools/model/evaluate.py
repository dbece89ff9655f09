"""Show what a trained folder says to a fixed list of prompts, how varied it is, and its validation perplexity.

    python tools/model/evaluate.py src/headway/engines/llm/shipped/headway-mini

The list is never trained on as such; most of its prompts are worded unlike the corpus, and a few are worded like it.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from corpus import documents
from packing import collate, pack
from train import ROW_TOKENS, VALIDATION_SEED_SHIFT, loss_of
from transformers import AutoModelForCausalLM, AutoTokenizer
from words import encode

User = list[str]
PROMPTS: list[User] = [
    ["hello"],
    ["Hi, nice day isn't it?"],
    ["Good morning! How are you doing?"],
    ["hey whats up"],
    ["who am i talking with"],
    ["so what kinds of things can you help people with?"],
    ["What is TTFT?"],
    ["pls explain ttft vs tpot"],
    ["could somebody tell me what continuous batching means"],
    ["what's chunked prefill good for?"],
    ["Is a bigger batch better?"],
    ["why would i want a scheduler at all"],
    ["What is Headway and who is it for?"],
    ["how can i serve my own model with headway"],
    ["tell me a story about a brave little submarine"],
    ["I'd love a bedtime story with a dragon"],
    ["write a story about two friends and a lost ball"],
    ["why is the sky blue?"],
    ["what do elephants like eating"],
    ["capital city of Japan?"],
    ["what's the opposite of cold"],
    ["name three fruits please"],
    ["i feel a bit down today"],
    ["my cat is so funny"],
    ["who won the 1998 world cup"],
    ["what is 17 times 23"],
    ["write a python function that reverses a list"],
    ["Who was Napoleon Bonaparte?"],
    ["what is photosynthesis"],
    ["what's the weather like in Paris right now"],
    ["asdf qwer zxcv"],
    ["can you recommend a good restaurant"],
    ["my name is Tobias", "what is a token?", "what is my name?"],
    ["what is the kv cache", "why does it matter?", "and an example?", "thanks!"],
    ["tell me a story about a fox", "what was the name of the fox?", "another one please"],
    ["hello", "i am bored", "yes please"],
]


def answer(
    model: Any, tokenizer: Any, messages: list[dict[str, str]], *, temperature: float, max_tokens: int = 256
) -> str:
    """Return the answer of the model to a talk; a temperature of 0 takes the likeliest token each time."""
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    chance = {"do_sample": True, "temperature": temperature, "top_p": 0.95} if temperature else {"do_sample": False}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, **chance)[
        0, ids.shape[1] :
    ]
    ended = out[-1].item() == tokenizer.eos_token_id
    return str(tokenizer.decode(out, skip_special_tokens=True)) + ("" if ended else " [did not end]")


def talk(model: Any, tokenizer: Any, turns: User, *, temperature: float) -> list[dict[str, str]]:
    """Return the whole conversation in which a user says the given turns."""
    messages: list[dict[str, str]] = []
    for turn in turns:
        messages.append({"role": "user", "content": turn})
        messages.append({"role": "assistant", "content": answer(model, tokenizer, messages, temperature=temperature)})
    return messages


def distinct_frac(texts: list[str], num_words: int) -> float:
    """Return the share of runs of `num_words` words that occur only once counted, of all such runs."""
    runs = [
        tuple(words[at : at + num_words])
        for words in (text.split() for text in texts)
        for at in range(len(words) - num_words + 1)
    ]
    return len(set(runs)) / max(1, len(runs))


def perplexity(model: Any, tokenizer: Any, seed: int) -> float:
    """Return the perplexity of the answers in unseen documents of the generator."""
    encoded = (encode(tokenizer, one) for one in documents(seed, 400))
    rows = list(pack((one for one in encoded if len(one.ids) <= ROW_TOKENS), ROW_TOKENS))
    batches = (collate(rows[at : at + 8], ROW_TOKENS) for at in range(0, len(rows), 8))
    with torch.no_grad():
        losses = [float(loss_of(model, batch, written_only=True)) for batch in batches]
    return math.exp(sum(losses) / len(losses))


def main() -> None:
    """Print the talks and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1, help="seed of the training run")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
    said = []
    for turns in PROMPTS:
        for message in talk(model, tokenizer, turns, temperature=args.temperature):
            print(f"{'>' if message['role'] == 'user' else ' '} {message['content']}")
            said += [message["content"]] if message["role"] == "assistant" else []
        print()
    figures = {f"distinct_{n}_frac": round(distinct_frac(said, n), 3) for n in (1, 2, 3)}
    figures["validation_perplexity"] = round(perplexity(model, tokenizer, args.seed + VALIDATION_SEED_SHIFT), 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
