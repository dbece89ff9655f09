"""Small models of the shape of BERT and ViT, with which SlimFit is measured live."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
WORDS = 1000


def shaped(
    shape: str,
    *,
    num_layers: int,
    width: int,
    num_heads: int,
    num_classes: int,
    words: int = WORDS,
    pixels: int = 16,
    patch: int = 4,
    attention: str = "eager",
    dropped_frac: float = 0.0,
) -> nn.Module:
    """Make a model with random weights, from torch's dice.

    Parameters
    ----------
    shape : str
        ``"bert"`` or ``"vit"``.
    num_layers, width, num_heads, num_classes, words, pixels, patch : int
        Its sizes; images are square and have one colour.
    attention : str
        Which attention of transformers it runs with.
    dropped_frac : float
        Of all dropout, in [0, 1).
    """
    import transformers

    sizes: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "intermediate_size": 4 * width,
        "num_labels": num_classes,
        "attn_implementation": attention,
        "hidden_dropout_prob": dropped_frac,
        "attention_probs_dropout_prob": dropped_frac,
    }
    if shape == "bert":
        bert = transformers.BertConfig(vocab_size=words, max_position_embeddings=512, **sizes)
        return transformers.BertForSequenceClassification(bert)  # type: ignore[no-any-return]
    vit = transformers.ViTConfig(image_size=pixels, patch_size=patch, num_channels=1, **sizes)
    return transformers.ViTForImageClassification(vit)  # type: ignore[no-any-return]


def noise(shape: str, batch: int, length: int, num: int, seed: int, patch: int = 4) -> list[Batch]:
    """Draw inputs that mean nothing, where only memory and time count.

    Parameters
    ----------
    shape : str
        ``"bert"`` or ``"vit"``.
    batch, length : int
        Inputs per batch; words of each, or patches along a side.
    num : int
        How many batches.
    seed : int
        Of the dice.
    patch : int
        Pixels along the side of a patch.
    """
    dice = torch.Generator().manual_seed(seed)
    labels = [torch.randint(0, 2, (batch,), generator=dice) for _ in range(num)]
    if shape == "bert":
        words = [torch.randint(0, WORDS, (batch, length), generator=dice) for _ in range(num)]
        return [{"input_ids": one, "labels": label} for one, label in zip(words, labels, strict=True)]
    side = patch * length
    images = [torch.randn((batch, 1, side, side), generator=dice) for _ in range(num)]
    return [{"pixel_values": one, "labels": label} for one, label in zip(images, labels, strict=True)]
