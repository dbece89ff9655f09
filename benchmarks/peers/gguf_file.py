"""Converts a Qwen2-shaped bf16 checkpoint to llama.cpp's file format, without a vocabulary (prompts are ids)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint16]

IN_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
OUTSIDE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}  # fmt: skip


def convert(folder: Path, file: Path, kind: str) -> None:
    """Write `file` with matrices in bf16 or (``"int8"``) q8_0; vectors stay fp32, as llama.cpp's own converter does."""
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] != "qwen2":
        raise SystemExit(f"gguf: can only convert model_type qwen2, got {config['model_type']}")
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    writer = gguf.GGUFWriter(unfinished, "qwen2")
    _write_facts(writer, config, kind)
    for name, words in _tensors(folder):
        values, raw_dtype = _encoded(words, kind)
        writer.add_tensor(_renamed(name), values, raw_dtype=raw_dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(file)


def _write_facts(writer: Any, config: dict[str, Any], kind: str) -> None:
    writer.add_name("benchmark")
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == "int8" else gguf.LlamaFileType.MOSTLY_BF16)


def _tensors(folder: Path) -> Iterator[tuple[str, Words]]:
    """Read the tensors of a safetensors file as the 16-bit words they are; numpy has no bf16."""
    for path in sorted(folder.glob("*.safetensors")):
        data = np.memmap(path, np.uint8, "r")
        begin = 8 + int(data[:8].view(np.uint64)[0])
        for name, about in json.loads(bytes(data[8:begin])).items():
            if name != "__metadata__":
                first, last = about["data_offsets"]
                yield name, data[begin + first : begin + last].view(np.uint16).reshape(about["shape"])


def _encoded(words: Words, kind: str) -> tuple[Any, Any]:
    if words.ndim == 2 and kind != "int8":
        return words.view(np.uint8), gguf.GGMLQuantizationType.BF16
    values = (words.astype(np.uint32) << 16).view(np.float32)
    if words.ndim == 1:
        return values, None
    return gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0


def _renamed(name: str) -> str:
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, _, layer, rest = name.split(".", 3)
    part, what = rest.rsplit(".", 1)
    return f"blk.{layer}.{IN_LAYER[part]}.{what}"
