"""Makes the golden models: tiny random models of every architecture with their logits as transformers computes them.

    python make_models.py                     write golden/ anew
    python make_models.py llama qwen3-yarn    only these

A golden is a directory:
    config.json, *.safetensors    the model as transformers writes it, float32
    model.gguf                    the same model, converted by to_gguf.py
    tokens.bin                    60 int32 ids, the input
    logits.bin                    float32 [60][n_vocab], what `imp-cli --ids tokens.bin --dump-logits` is to give

Needs torch, transformers 5, gguf and safetensors; the tests that read the goldens need none of them.
"""

import argparse
import contextlib
import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers

import to_gguf

HERE = Path(__file__).resolve().parent
N_TOKENS = 60

# Widths are chosen to be no multiple of a vector's, and head sizes not to be n_embd / n_heads.
SMALL = dict(vocab_size=76, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
             bos_token_id=1, eos_token_id=2, pad_token_id=None)
LFM2 = {key: value for key, value in SMALL.items() if key != "rms_norm_eps"}

LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)


def plain(theta):
    return dict(rope_type="default", rope_theta=theta)


def linear(theta, factor):
    return dict(rope_type="linear", rope_theta=theta, factor=factor)


# name: (class, configuration, options). Options: "old", config.json as written before transformers 5; "sparse", without
# what equals the class's defaults; "shards", several files with an index; "partial", rotary on a part of the head (see
# partial_rotary).
GOLDENS = {
    "llama": ("LlamaForCausalLM", dict(SMALL, hidden_size=40, rope_parameters=plain(10000.0)), {}),
    "llama-llama3": ("LlamaForCausalLM", dict(SMALL, num_key_value_heads=1, tie_word_embeddings=True,
                                              rope_parameters=LLAMA3), {"old"}),
    "llama-linear": ("LlamaForCausalLM", dict(SMALL, head_dim=16, rope_parameters=linear(500000.0, 2.5)), {"old"}),
    "llama-yarn": ("LlamaForCausalLM", dict(SMALL, head_dim=24, rope_parameters=YARN), {}),
    "llama-bias": ("LlamaForCausalLM", dict(SMALL, num_key_value_heads=4, attention_bias=True, mlp_bias=True,
                                            rope_parameters=plain(10000.0)), {"shards"}),
    "llama-partial": ("LlamaForCausalLM", dict(SMALL, head_dim=16,
                                               rope_parameters=dict(YARN, partial_rotary_factor=0.5)), {"partial"}),
    "mistral": ("MistralForCausalLM", dict(SMALL, head_dim=12, sliding_window=9, rope_parameters=plain(1000.0)), {}),
    # transformers does not read the part of the head that turns where there is no scaling.
    "mistral-sparse": ("MistralForCausalLM", dict(SMALL, num_attention_heads=32, num_key_value_heads=8, head_dim=4,
                                                  rms_norm_eps=1e-6, sliding_window=None,
                                                  max_position_embeddings=4096 * 32,
                                                  rope_parameters=dict(plain(10000.0), partial_rotary_factor=0.5)),
                       {"sparse"}),
    "mixtral": ("MixtralForCausalLM", dict(SMALL, intermediate_size=24, num_local_experts=5, num_experts_per_tok=2,
                                           rope_parameters=plain(1000000.0)), {"old"}),
    "qwen2": ("Qwen2ForCausalLM", dict(SMALL, tie_word_embeddings=True, rope_parameters=plain(1000000.0)), {}),
    "qwen2-window": ("Qwen2ForCausalLM", dict(SMALL, num_hidden_layers=3, use_sliding_window=True, sliding_window=8,
                                              max_window_layers=1, rope_parameters=plain(10000.0)), {"old"}),
    "qwen3": ("Qwen3ForCausalLM", dict(SMALL, head_dim=16, rope_parameters=plain(1000000.0)), {}),
    "qwen3-yarn": ("Qwen3ForCausalLM", dict(SMALL, head_dim=12, attention_bias=True, tie_word_embeddings=True,
                                            rope_parameters=dict(YARN, rope_theta=1000000.0)), {"old"}),
    "qwen3-partial": ("Qwen3ForCausalLM", dict(SMALL, head_dim=16,
                                               rope_parameters=dict(linear(10000.0, 1.5), partial_rotary_factor=0.25)),
                      {"partial"}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", dict(SMALL, num_hidden_layers=3, head_dim=12, num_experts=6,
                                              num_experts_per_tok=3, moe_intermediate_size=16, norm_topk_prob=True,
                                              mlp_only_layers=[1], decoder_sparse_step=1,
                                              rope_parameters=plain(1000000.0)), {}),
    "qwen3-moe-step": ("Qwen3MoeForCausalLM", dict(SMALL, num_hidden_layers=3, head_dim=8, num_experts=4,
                                                   num_experts_per_tok=2, moe_intermediate_size=24,
                                                   norm_topk_prob=False, decoder_sparse_step=2,
                                                   rope_parameters=plain(10000.0)), {"old"}),
    "gemma3": ("Gemma3ForCausalLM", dict(SMALL, num_hidden_layers=7, head_dim=12,
                                         sliding_window=8, query_pre_attn_scalar=12, tie_word_embeddings=True,
                                         rope_parameters=dict(full_attention=linear(1000000.0, 8.0),
                                                              sliding_attention=plain(10000.0))), {"old"}),
    "gemma3-caps": ("Gemma3ForCausalLM", dict(SMALL, hidden_size=36, num_hidden_layers=3, head_dim=16, sliding_window=11,
                                              layer_types=["full_attention", "sliding_attention", "sliding_attention"],
                                              query_pre_attn_scalar=24, final_logit_softcapping=5.0,
                                              tie_word_embeddings=True, attention_bias=True,
                                              rope_parameters=dict(full_attention=plain(50000.0),
                                                                   sliding_attention=plain(2000.0))), {}),
    "gemma3-vision": ("Gemma3ForConditionalGeneration",
                      dict(text_config=dict(SMALL, num_hidden_layers=2, head_dim=8, sliding_window=16,
                                            layer_types=["sliding_attention", "full_attention"],
                                            query_pre_attn_scalar=8, tie_word_embeddings=True, vocab_size=80,
                                            rope_parameters=dict(full_attention=linear(1000000.0, 8.0),
                                                                 sliding_attention=plain(10000.0))),
                           vision_config=dict(model_type="siglip_vision_model", hidden_size=16, intermediate_size=16,
                                              num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8),
                           mm_tokens_per_image=4, image_token_index=79, boi_token_index=77, eoi_token_index=78), {}),
    # The wrapper decides on the head, and its class caps no logits.
    "gemma3-wrapped": ("Gemma3ForConditionalGeneration",
                       dict(tie_word_embeddings=False,
                            text_config=dict(SMALL, num_hidden_layers=1, num_attention_heads=8, num_key_value_heads=4,
                                             head_dim=4, layer_types=["sliding_attention"], sliding_window=4096,
                                             query_pre_attn_scalar=256, final_logit_softcapping=1.0, vocab_size=80,
                                             max_position_embeddings=131072, tie_word_embeddings=True,
                                             rope_parameters=dict(full_attention=plain(1000000.0),
                                                                  sliding_attention=plain(10000.0))),
                            vision_config=dict(model_type="siglip_vision_model", hidden_size=16, intermediate_size=16,
                                               num_hidden_layers=1, num_attention_heads=2, image_size=16,
                                               patch_size=8),
                            mm_tokens_per_image=4, image_token_index=79, boi_token_index=77, eoi_token_index=78),
                       {"sparse"}),
    "lfm2": ("Lfm2ForCausalLM", dict(LFM2, num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"],
                                     tie_word_embeddings=True, block_auto_adjust_ff_dim=True, block_multiple_of=8,
                                     intermediate_size=96, block_ffn_dim_multiplier=1.0, conv_L_cache=3,
                                     rope_parameters=plain(1000000.0)), {"old"}),
    "lfm2-bias": ("Lfm2ForCausalLM", dict(LFM2, num_hidden_layers=3, layer_types=["full_attention", "conv", "conv"],
                                          block_auto_adjust_ff_dim=False, conv_L_cache=5, conv_bias=True,
                                          rope_parameters=plain(10000.0)), {}),
    "lfm2-moe": ("Lfm2MoeForCausalLM", dict(LFM2, num_hidden_layers=4, num_dense_layers=1, num_experts=6,
                                            layer_types=["conv", "full_attention", "conv", "full_attention"],
                                            num_experts_per_tok=3, moe_intermediate_size=16, norm_topk_prob=True,
                                            use_expert_bias=True, tie_word_embeddings=True,
                                            rope_parameters=plain(1000000.0)), {}),
    "lfm2-moe-plain": ("Lfm2MoeForCausalLM", dict(LFM2, num_hidden_layers=3, num_dense_layers=2, num_experts=4,
                                                  layer_types=["conv", "conv", "full_attention"], conv_bias=True,
                                                  num_experts_per_tok=2, moe_intermediate_size=24, norm_topk_prob=False,
                                                  use_expert_bias=False, routed_scaling_factor=1.5,
                                                  rope_parameters=plain(1000000.0)), {}),
}


@contextlib.contextmanager
def partial_rotary(model_class):
    """Rotary on the leading part of the head, as transformers has it for other families: Llama's and Qwen's
    configurations can state it, but their code would not run."""
    from transformers.models.glm4_moe.modeling_glm4_moe import apply_rotary_pos_emb
    module = sys.modules[model_class.__module__]
    saved, module.apply_rotary_pos_emb = module.apply_rotary_pos_emb, apply_rotary_pos_emb
    try:
        yield
    finally:
        module.apply_rotary_pos_emb = saved


def fill(model, rng, coarse):
    """Random values for every parameter and buffer that a checkpoint holds: matrices that keep the scale of what passes
    through, norms and biases far from their neutral values, decisive routers. `coarse` values have few bits set, so
    that the goldens compress well."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        shape = tuple(tensor.shape)
        noise = rng.standard_normal(shape)
        if coarse:
            noise = np.clip(np.round(noise * 4), -11, 11) / 4
        if "norm" in name and name.endswith("weight"):
            zero_centred = "Gemma" in type(model).__name__
            value = 0.25 * noise + (0 if zero_centred else 1)
        elif len(shape) <= 1:
            value = 0.25 * noise
        elif "embed_tokens" in name:
            value = noise * (0.125 if "Gemma" in type(model).__name__ else 1)
        elif name.endswith("conv.weight"):
            value = 0.5 * noise
        else:
            gain = 2.0 if name.endswith("gate.weight") else 1.0
            value = noise * 2.0 ** round(np.log2(gain / np.sqrt(shape[-1])))
        tensor.data.copy_(torch.from_numpy(value.astype(np.float32)))


def old_style(config):
    """config.json as it was before transformers 5: the same facts under their earlier names."""
    config = dict(config)
    config["torch_dtype"] = config.pop("dtype", "float32")
    config["transformers_version"] = "4.51.0"
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
        kinds = config.pop("layer_types")
        config["sliding_window_pattern"] = kinds.index("full_attention") + 1
    rope = dict(rope)
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rope["rope_type"] == "default":
        config["rope_scaling"] = None
    else:
        if rope["rope_type"] in ("linear", "yarn") and "rope_local_base_freq" not in config:
            rope["type"] = rope.pop("rope_type")
        config["rope_scaling"] = rope
    if config["model_type"] == "qwen2":
        del config["layer_types"]
    if config["model_type"] == "lfm2":
        config["full_attn_idxs"] = [i for i, kind in enumerate(config.pop("layer_types")) if kind == "full_attention"]
        config["block_ff_dim"] = config.pop("intermediate_size")
        config["tie_embedding"] = config.pop("tie_word_embeddings")
    return config


def without_defaults(config, config_class):
    """What is left of config.json when all is taken out that the class would put in by itself."""
    fields = vars(config_class())
    return {key: without_defaults(value, type(fields[key])) if key == "text_config" else value
            for key, value in config.items()
            if key == "model_type" or value is None or getattr(config_class, key, None) != value}


def logits_of(model, tokens, dtype):
    with torch.no_grad():
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        return model.to(dtype)(input_ids=ids, use_cache=False).logits[0].numpy()


def make(directory, class_name, settings, options, n_tokens, coarse):
    """Writes one model with its tokens and logits; returns how well the logits are determined: the largest difference
    between float32 and float64, over their spread. A router's near tie makes it large."""
    seed = zlib.crc32(directory.name.encode())
    rng = np.random.default_rng(seed)
    model_class = getattr(transformers, class_name)
    config = model_class.config_class(**settings)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    with partial_rotary(model_class) if "partial" in options else contextlib.nullcontext():
        model = model_class(config).eval()
        fill(model, rng, coarse)
        shutil.rmtree(directory, ignore_errors=True)
        model.save_pretrained(directory, max_shard_size="60KB" if "shards" in options else "1GB")
        (directory / "generation_config.json").unlink(missing_ok=True)
        to_gguf.convert(directory, directory / "model.gguf")
        path = directory / "config.json"
        if "old" in options:
            path.write_text(json.dumps(old_style(json.loads(path.read_text())), indent=2) + "\n")
        if "sparse" in options:
            path.write_text(json.dumps(without_defaults(json.loads(path.read_text()), type(config)), indent=2) + "\n")

        n_vocab = settings.get("text_config", settings)["vocab_size"]
        tokens = rng.integers(3, n_vocab - 4, n_tokens).astype("<i4")
        tokens.tofile(directory / "tokens.bin")
        logits = logits_of(model, tokens, torch.float32)
        exact = logits_of(model, tokens, torch.float64)
    logits.astype("<f4").tofile(directory / "logits.bin")
    return float(np.abs(logits - exact).max() / (logits.max() - logits.min()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for name in arguments.names or GOLDENS:
        class_name, settings, options = GOLDENS[name]
        directory = HERE / "golden" / name
        error = make(directory, class_name, settings, options, N_TOKENS, coarse=True)
        size = sum(file.stat().st_size for file in directory.iterdir())
        print(f"{name}: {size // 1024} KiB, float32 differs from float64 by {error:.1e} of the spread")
        if error > 1e-5:
            sys.exit(f"{name}: its logits are too badly determined to compare with")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    main()
