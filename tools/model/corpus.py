"""Write the synthetic corpus: one JSON line for each conversation or passage.

python tools/model/corpus.py --seed 1 --documents 20 --show
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chats import ChatMaker

LONG_FRAC = 0.02
PASSAGE_FRAC = 0.04
# Without drills, a model of this size had not learned in 3 million tokens to repeat a name from the talk.
DRILL_FRAC = 0.08


def documents(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield documents, each `{"messages": [...]}` or `{"text": "..."}`.

    Parameters
    ----------
    seed
        The same seed gives the same documents.
    count
        How many to make, >= 0.
    """
    rng = random.Random(seed)
    maker = ChatMaker(rng)
    for _ in range(count):
        dice = rng.random()
        if dice < PASSAGE_FRAC:
            yield {"text": maker.passage()}
        elif dice < PASSAGE_FRAC + LONG_FRAC:
            yield {"messages": maker.conversation(rng.randint(8, 30))}
        elif dice < PASSAGE_FRAC + LONG_FRAC + DRILL_FRAC:
            yield {"messages": maker.drill()}
        else:
            yield {"messages": maker.conversation()}


def plain(document: dict[str, Any]) -> str:
    """Return all text of a document, without roles."""
    if "text" in document:
        return str(document["text"])
    return "\n".join(message["content"] for message in document["messages"])


def main() -> None:
    """Write or show documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="file of JSON lines to write")
    parser.add_argument("--show", action="store_true", help="print the documents as a person would read them")
    args = parser.parse_args()
    made = documents(args.seed, args.documents)
    if args.out:
        args.out.write_text("".join(json.dumps(document) + "\n" for document in made), encoding="utf-8")
        made = iter(())
    for document in made:
        print(plain(document) if args.show else json.dumps(document), end="\n\n" if args.show else "\n")


if __name__ == "__main__":
    main()
