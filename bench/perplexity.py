#!/usr/bin/env python3
"""Compares imp's perplexity of a GGUF file with that of float32 `transformers` on the same file and the same tokens.

    pip install numpy gguf torch transformers
    python bench/perplexity.py --imp build/bin/imp-cli SmolLM2-135M-Instruct.gguf gemma-3-270m-q4_k_m.gguf

The reference dequantizes every tensor with the `gguf` package and runs the family's class of `transformers` in float32.
Windows are those of `imp-cli --perplexity`: 512 tokens, the first replaced by BOS where the model adds one, the second half
scored. The text is English prose that comes with Python (the language reference in pydoc_data), or --text FILE.
Prints a line of JSON a model; exits with 1 when a difference is above --limit.
"""
import sys

sys.path.pop(0)  # this directory: tokenize.py in it would hide Python's own

import argparse
import json
import pathlib
import subprocess
import tempfile

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

# GGUF's names of tensors in Hugging Face's.
TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER_TENSORS = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
GEMMA_LAYER_TENSORS = {**LAYER_TENSORS, "ffn_norm": "pre_feedforward_layernorm",
                       "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text"}


class GgufModel:
    """A GGUF file as a configuration and float32 weights of `transformers`."""

    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.arch = self.key("general.architecture")
        if self.arch not in MODEL_TYPES:
            raise SystemExit(f"{path}: no reference for the architecture {self.arch}")

    def key(self, name, default=None):
        field = self.reader.get_field(name)
        return default if field is None else field.contents()

    def own(self, name, default=None):
        return self.key(f"{self.arch}.{name}", default)

    def bos(self):
        """The id that opens a text, None where the model adds none."""
        return self.key("tokenizer.ggml.bos_token_id") if self.key("tokenizer.ggml.add_bos_token", False) else None

    def config(self):
        heads = self.own("attention.head_count")
        embd = self.own("embedding_length")
        head_dim = self.own("attention.key_length", embd // heads)
        names = {tensor.name for tensor in self.reader.tensors}
        vocab = next(tensor.shape[1] for tensor in self.reader.tensors if tensor.name == "token_embd.weight")
        options = {
            "vocab_size": int(vocab), "hidden_size": embd, "intermediate_size": self.own("feed_forward_length"),
            "num_hidden_layers": self.own("block_count"), "num_attention_heads": heads,
            "num_key_value_heads": self.own("attention.head_count_kv"), "head_dim": head_dim,
            "rms_norm_eps": self.own("attention.layer_norm_rms_epsilon"),
            "max_position_embeddings": self.own("context_length"), "tie_word_embeddings": "output.weight" not in names,
        }
        rope = {"rope_type": "default", "rope_theta": self.own("rope.freq_base", 10000.0)}
        if self.arch == "gemma3":
            options["sliding_window"] = self.own("attention.sliding_window")
            options["query_pre_attn_scalar"] = head_dim
            local = {"rope_type": "default", "rope_theta": self.own("rope.freq_base_swa", 10000.0)}
            rope = {"full_attention": rope, "sliding_attention": local}
        config = AutoConfig.for_model(MODEL_TYPES[self.arch], **options)
        config.rope_parameters = rope
        return config

    def value(self, tensor):
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1].tolist())
        stem = tensor.name.removesuffix(".weight").split(".")[-1]
        if self.arch == "llama" and stem in ("attn_q", "attn_k"):  # adjacent pairs back to halves
            heads = self.own("attention.head_count" if stem == "attn_q" else "attention.head_count_kv")
            values = values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
        if self.arch == "gemma3" and stem.endswith("norm"):  # 1 + w back to w
            values = values - 1
        return torch.from_numpy(np.array(values, dtype=np.float32))

    def state(self):
        layer_names = GEMMA_LAYER_TENSORS if self.arch == "gemma3" else LAYER_TENSORS
        state = {}
        for tensor in self.reader.tensors:
            stem, _, suffix = tensor.name.rpartition(".")
            if stem.startswith("blk."):
                _, layer, part = stem.split(".", 2)
                name = f"model.layers.{layer}.{layer_names[part]}"
            elif stem == "rope_freqs":
                raise SystemExit("this reference does not scale rotary frequencies")
            else:
                name = TENSORS[stem]
            state[f"{name}.{suffix}"] = self.value(tensor)
        return state

    def load(self):
        model = AutoModelForCausalLM.from_config(self.config(), dtype=torch.float32)
        missing, unexpected = model.load_state_dict(self.state(), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise SystemExit(f"tensors do not fit: missing {missing}, unexpected {unexpected}")
        model.tie_weights()
        return model.eval()


def reference_perplexity(model, ids, bos, window):
    total, count = 0.0, 0
    for start in range(0, len(ids) - window + 1, window):
        tokens = torch.tensor([ids[start:start + window]])
        if bos is not None:
            tokens[0, 0] = bos
        with torch.no_grad():
            logits = model(tokens).logits[0, window // 2 - 1:-1].double()
        scored = tokens[0, window // 2:]
        total -= torch.log_softmax(logits, dim=-1).gather(1, scored[:, None]).sum().item()
        count += len(scored)
    return float(np.exp(total / count)), count


def default_text():
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in ("objects", "naming", "exceptions", "typesseq", "with", "class"))


def run_imp(imp, model, arguments, text=""):
    command = [imp, "--model", model, "--quiet", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def first_tokens(imp, model, text, count):
    """The start of the text that makes about `count` tokens."""
    ids = run_imp(imp, model, ["--tokenize"], text)
    return text[:int(len(text) * min(1.0, (count + 16) / len(ids)))]


def compare(options, path, text):
    text = first_tokens(options.imp, path, text, options.tokens)
    ids = run_imp(options.imp, path, ["--tokenize", "--add-special"], text)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        measured = run_imp(options.imp, path, ["--json", "--perplexity", file.name])["perplexity"]
    model = GgufModel(path)
    expected, scored = reference_perplexity(model.load(), ids, model.bos(), options.window)
    difference = measured / expected - 1
    print(json.dumps({"model": pathlib.Path(path).name, "tokens": len(ids), "scored": scored, "imp": measured,
                      "transformers": expected, "difference": difference}), flush=True)
    return abs(difference) <= options.limit


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="GGUF files: llama, qwen2, qwen3 or gemma3")
    parser.add_argument("--imp", default="build/bin/imp-cli")
    parser.add_argument("--text", help="a file; English from Python's documentation when absent")
    parser.add_argument("--tokens", type=int, default=4096, help="about how many are used")
    parser.add_argument("--window", type=int, default=512, help="imp's own is 512")
    parser.add_argument("--limit", type=float, default=0.003, help="largest relative difference")
    options = parser.parse_args()
    text = pathlib.Path(options.text).read_text() if options.text else default_text()
    results = [compare(options, path, text) for path in options.models]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
