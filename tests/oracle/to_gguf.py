"""Writes a SafeTensors directory of transformers 5 as one GGUF file, by the conventions that GGUF files follow.

    python to_gguf.py DIRECTORY FILE.gguf [F32 | F16 | BF16]

It is independent of imp: the goldens check imp's reading of the conventions written down here.
  - Llama, Mistral and Mixtral (GGUF architecture "llama") turn adjacent pairs, so rows of Q and K are interleaved.
  - Gemma's norms are stored as 1 + w. Llama-3 scaling becomes the tensor rope_freqs.weight of divisors.
  - Experts are stacked: [n_experts][rows][cols].
"""

import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "gemma3_text": "gemma3",
    "lfm2": "lfm2",
    "lfm2_moe": "lfm2moe",
}

TENSORS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "model.embedding_norm.weight": "token_embd_norm.weight",
    "lm_head.weight": "output.weight",
}

# After "model.layers.N."; without ".weight" or ".bias".
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "operator_norm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "ffn_norm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
    "conv.conv": "shortconv.conv",
    "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.gate": "ffn_gate_inp",
    "feed_forward.gate": "ffn_gate_inp",
    "feed_forward.expert_bias": "exp_probs_b.bias",
}
GEMMA_LAYER_TENSORS = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
EXPERT_PARTS = {"w1": "gate", "w3": "up", "w2": "down", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


def read_directory(directory):
    """config.json (the text model's part of it) and every tensor, with a multimodal wrapper's prefix taken off."""
    directory = Path(directory)
    config = json.loads((directory / "config.json").read_text())
    tensors = {}
    for shard in sorted(directory.glob("*.safetensors")):
        tensors.update({name: value.float().numpy() for name, value in load_file(shard).items()})
    if "text_config" in config:
        # transformers' class for pictures does not cap its logits.
        config = dict(config["text_config"], final_logit_softcapping=None)
        tensors = {name.replace("language_model.", "", 1): value for name, value in tensors.items()
                   if "language_model" in name or name.startswith("lm_head")}
        tensors = {name.replace("model.model.", "model.", 1): value for name, value in tensors.items()}
    return config, tensors


def head_dim_of(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rope_of(config):
    """The rotary parameters of the (global) attention layers."""
    rope = config["rope_parameters"]
    return rope.get("full_attention", rope)


def rotary_dims(config):
    """transformers 5 reads partial_rotary_factor where a scaling is, and nowhere else in these families."""
    rope = rope_of(config)
    return int(head_dim_of(config) * (1.0 if rope["rope_type"] == "default" else rope.get("partial_rotary_factor", 1.0)))


def yarn_magnitude(rope):
    """What multiplies cosine and sine when it is not what the factor alone gives, else None."""
    if rope.get("attention_factor") is not None:
        return rope["attention_factor"]
    if not (rope.get("mscale") and rope.get("mscale_all_dim")) or rope["factor"] <= 1:
        return None
    slope = 0.1 * math.log(rope["factor"])
    return (rope["mscale"] * slope + 1) / (rope["mscale_all_dim"] * slope + 1)


def interleave(rows, n_heads, n_rotary):
    """Puts row i + n_rotary/2 of a head beside row i: half-split rotary becomes rotary on adjacent pairs."""
    heads = rows.reshape(n_heads, -1, *rows.shape[1:])
    turned = heads[:, :n_rotary].reshape(n_heads, 2, n_rotary // 2, *rows.shape[1:]).swapaxes(1, 2)
    turned = turned.reshape(n_heads, n_rotary, *rows.shape[1:])
    return np.concatenate([turned, heads[:, n_rotary:]], axis=1).reshape(rows.shape)


def llama3_divisors(rope, n_rotary):
    """What Llama-3's scaling divides each pair's frequency by, [n_rotary / 2]."""
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    divisors = []
    for i in range(n_rotary // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * i / n_rotary)
        if wavelength < high:
            divisors.append(1.0)
        elif wavelength > low:
            divisors.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


def lfm2_feed_forward(config):
    """LFM2 states a width of which it uses two thirds, rounded up to a multiple."""
    width = config["intermediate_size"]
    if config.get("block_auto_adjust_ff_dim"):
        width = int(2 * width / 3)
        if config.get("block_ffn_dim_multiplier") is not None:
            width = int(config["block_ffn_dim_multiplier"] * width)
        multiple = config["block_multiple_of"]
        width = multiple * ((width + multiple - 1) // multiple)
    return width


def write_metadata(writer, arch, config):
    def u32(key, value):
        writer.add_uint32(f"{arch}.{key}", int(value))

    def f32(key, value):
        writer.add_float32(f"{arch}.{key}", float(value))

    n_layers, head_dim, rope = config["num_hidden_layers"], head_dim_of(config), rope_of(config)
    layer_types = config.get("layer_types")
    u32("block_count", n_layers)
    u32("context_length", config["max_position_embeddings"])
    u32("embedding_length", config["hidden_size"])
    u32("vocab_size", config["vocab_size"])
    u32("feed_forward_length", lfm2_feed_forward(config) if arch == "lfm2" else config["intermediate_size"])
    u32("attention.head_count", config["num_attention_heads"])
    if arch.startswith("lfm2"):
        writer.add_array(f"{arch}.attention.head_count_kv",
                         [config["num_key_value_heads"] if kind == "full_attention" else 0 for kind in layer_types])
        u32("shortconv.l_cache", config["conv_L_cache"])
    else:
        u32("attention.head_count_kv", config["num_key_value_heads"])
    if not arch.startswith("lfm2") or "head_dim" in config or rotary_dims(config) != head_dim:
        u32("attention.key_length", head_dim)
        u32("attention.value_length", head_dim)
        u32("rope.dimension_count", rotary_dims(config))
    f32("attention.layer_norm_rms_epsilon", config.get("norm_eps", config.get("rms_norm_eps")))
    f32("rope.freq_base", rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_string(f"{arch}.rope.scaling.type", rope["rope_type"])
        f32("rope.scaling.factor", rope["factor"])
    if rope["rope_type"] == "yarn":
        u32("rope.scaling.original_context_length", rope["original_max_position_embeddings"])
        for key, name in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            if key in rope:
                f32(f"rope.scaling.{name}", rope[key])
        if yarn_magnitude(rope) is not None:
            f32("rope.scaling.yarn_attn_factor", yarn_magnitude(rope))

    sliding = [kind == "sliding_attention" for kind in layer_types] if layer_types else []
    if config.get("sliding_window") and (any(sliding) or not layer_types) and config.get("use_sliding_window", True):
        u32("attention.sliding_window", config["sliding_window"])
        if arch != "gemma3" and any(sliding) and not all(sliding):
            writer.add_array(f"{arch}.attention.sliding_window_pattern", sliding)
    if arch == "gemma3":
        period = 6
        if sliding != [(i + 1) % period != 0 for i in range(n_layers)]:
            writer.add_array(f"{arch}.attention.sliding_window_pattern", sliding)
        local_base = config["rope_parameters"]["sliding_attention"]["rope_theta"]
        if local_base != 10000.0:
            f32("rope.freq_base_swa", local_base)
        if config["query_pre_attn_scalar"] != head_dim:
            f32("attention.scale", config["query_pre_attn_scalar"] ** -0.5)
        if config.get("attn_logit_softcapping"):
            f32("attn_logit_softcapping", config["attn_logit_softcapping"])
        if config.get("final_logit_softcapping"):
            f32("final_logit_softcapping", config["final_logit_softcapping"])

    n_experts = config.get("num_local_experts", config.get("num_experts"))
    if n_experts:
        u32("expert_count", n_experts)
        u32("expert_used_count", config["num_experts_per_tok"])
        u32("expert_feed_forward_length", config.get("moe_intermediate_size", config["intermediate_size"]))
    if arch in ("qwen3moe", "lfm2moe") and not config["norm_topk_prob"]:
        writer.add_bool(f"{arch}.expert_weights_norm", False)
    if arch == "lfm2moe":
        u32("leading_dense_block_count", config["num_dense_layers"])
        u32("expert_gating_func", 2)
        if config["routed_scaling_factor"] != 1.0:
            f32("expert_weights_scale", config["routed_scaling_factor"])


def layer_tensor(arch, config, rest, value, experts):
    """(name after "blk.N.", value) of one tensor of a layer; None while it is one of several experts."""
    if ".experts." in rest:
        parts = rest.split(".experts.")[1].split(".")
        if parts[0].isdigit():
            experts.setdefault(EXPERT_PARTS[parts[1]], {})[int(parts[0])] = value
            return None
        raise ValueError(f"experts in a form of their own: {rest}")
    stem, _, suffix = rest.rpartition(".")
    if rest in LAYER_TENSORS:
        return LAYER_TENSORS[rest], value
    if arch == "llama" and stem in ("self_attn.q_proj", "self_attn.k_proj"):
        n_heads = config["num_attention_heads" if ".q_" in stem else "num_key_value_heads"]
        value = interleave(value, n_heads, rotary_dims(config))
    if stem == "conv.conv" and suffix == "weight":
        value = value.squeeze(1)
    if arch == "gemma3" and "norm" in stem:
        value = value + 1
    names = {**LAYER_TENSORS, **GEMMA_LAYER_TENSORS} if arch == "gemma3" else LAYER_TENSORS
    return f"{names[stem]}.{suffix}", value


def convert(directory, path, matrix_type="F32"):
    config, tensors = read_directory(directory)
    arch = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_string("general.name", Path(path).stem)
    writer.add_uint32("general.file_type", 0)
    write_metadata(writer, arch, config)

    def add(name, value):
        kind = gguf.GGMLQuantizationType["F32" if value.ndim == 1 or "shortconv.conv" in name else matrix_type]
        writer.add_tensor(name, gguf.quantize(np.ascontiguousarray(value), kind), raw_dtype=kind)

    if rope_of(config)["rope_type"] == "llama3":
        add("rope_freqs.weight", llama3_divisors(rope_of(config), rotary_dims(config)))
    experts = {}
    for name, value in tensors.items():
        if name.startswith("model.layers."):
            _, _, number, rest = name.split(".", 3)
            named = layer_tensor(arch, config, rest, value, experts.setdefault(int(number), {}))
            if named:
                add(f"blk.{number}.{named[0]}", named[1])
        else:
            value = value + 1 if arch == "gemma3" and name == "model.norm.weight" else value
            add(TENSORS[name], value)
    for number, parts in experts.items():
        for part, matrices in parts.items():
            add(f"blk.{number}.ffn_{part}_exps.weight", np.stack([matrices[i] for i in range(len(matrices))]))

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    convert(*sys.argv[1:])
