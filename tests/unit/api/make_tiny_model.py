#!/usr/bin/env python3
"""Writes tiny.gguf: a random llama of two layers with a vocabulary and a chat template, for tests of the public API.

The vocabulary is byte-level BPE: 256 bytes, three special tokens, a few merges. Small enough to commit, and odd enough to
say broken UTF-8, end its turn and repeat itself. Needs the gguf package.

usage: make_tiny_model.py [OUTPUT]
"""
import os
import sys

import gguf
import numpy as np

EMBD, HEADS, KV_HEADS, FF, LAYERS, CONTEXT = 32, 4, 2, 48, 2, 4096
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MERGES = [("t", "h"), ("th", "e"), ("a", "n"), ("an", "d"), ("i", "n"), ("Ġ", "the"), ("o", "n"), ("e", "r")]


def byte_characters():
    """GPT-2's printable stand-ins for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in plain:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "tiny.gguf")
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = special + [byte_characters()[b] for b in range(256)] + [a + b for a, b in MERGES]
    types = [gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.NORMAL] * (len(tokens) - len(special))

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny Random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBD)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBD // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{a} {b}" for a, b in MERGES])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)

    random = np.random.default_rng(7)
    kv = EMBD // HEADS * KV_HEADS

    def add(name, *shape):
        writer.add_tensor(name, (random.standard_normal(shape) * 0.25).astype(np.float32))

    add("token_embd.weight", len(tokens), EMBD)
    for layer in range(LAYERS):
        add(f"blk.{layer}.attn_q.weight", EMBD, EMBD)
        add(f"blk.{layer}.attn_k.weight", kv, EMBD)
        add(f"blk.{layer}.attn_v.weight", kv, EMBD)
        add(f"blk.{layer}.attn_output.weight", EMBD, EMBD)
        add(f"blk.{layer}.ffn_gate.weight", FF, EMBD)
        add(f"blk.{layer}.ffn_up.weight", FF, EMBD)
        add(f"blk.{layer}.ffn_down.weight", EMBD, FF)
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(EMBD, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(EMBD, np.float32))
    add("output.weight", len(tokens), EMBD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
