"""Compares imp with transformers on random models of every family: widths, head sizes, windows, scalings, biases, dense and
sparse layers as they fall.

    python sweep.py 20 BUILD [--seed N] [--keep DIRECTORY] [FAMILY…]

Makes 20 models a family, runs BUILD/runtime_golden over them (SafeTensors and GGUF, prompt in uneven chunks and single
steps) and BUILD/bin/imp-cli with chunks of 512 and of 7. Needs what make_models.py needs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

from make_models import N_TOKENS, make


class Chance:
    """Choices of one case."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def of(self, *values):
        return values[self.rng.integers(len(values))]

    def number(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def yes(self, probability=0.5):
        return bool(self.rng.random() < probability)


def theta(chance):
    return float(chance.of(100, 10000, 50000, 1000000))


def rope(chance, partial_allowed=False):
    """rope_parameters and the options they need."""
    kind = chance.of("default", "default", "linear", "llama3", "yarn")
    parameters, options = dict(rope_type=kind, rope_theta=theta(chance)), set()
    if kind != "default":
        parameters["factor"] = chance.of(1.5, 2.0, 4.0, 8.0, 32.0)
    if kind == "llama3":
        low = chance.of(1.0, 1.5)
        parameters.update(low_freq_factor=low, high_freq_factor=low * chance.of(2.0, 4.0),
                          original_max_position_embeddings=chance.of(16, 32, 64))
    if kind == "yarn":
        parameters.update(original_max_position_embeddings=chance.of(16, 32, 64))
        if chance.yes():
            parameters.update(beta_fast=chance.of(16.0, 32.0), beta_slow=chance.of(1.0, 2.0))
        if chance.yes(0.3):
            parameters.update(attention_factor=chance.of(0.9, 1.3))
    if kind in ("linear", "yarn") and partial_allowed and chance.yes(0.3):
        parameters["partial_rotary_factor"] = chance.of(0.25, 0.5, 0.75)
        options.add("partial")
    return parameters, options


def body(chance, bound_width=False):
    """What every family has. `bound_width`: the head's size is n_embd / n_heads."""
    kv_heads = chance.of(1, 2, 3)
    heads = kv_heads * chance.of(1, 2, 4)
    head_dim = 8 * chance.number(1, 5)
    hidden = heads * (head_dim if bound_width else 2 * chance.number(4, 40 // heads + 4))
    settings = dict(vocab_size=chance.number(70, 300), hidden_size=hidden, intermediate_size=chance.number(20, 150),
                    num_hidden_layers=chance.number(1, 4), num_attention_heads=heads, num_key_value_heads=kv_heads,
                    max_position_embeddings=chance.of(128, 512), rms_norm_eps=chance.of(1e-6, 1e-5, 1e-3),
                    tie_word_embeddings=chance.yes(), bos_token_id=1, eos_token_id=2, pad_token_id=None)
    if not bound_width:
        settings["head_dim"] = head_dim
    return settings


def window(chance):
    return chance.of(1, 3, 7, 16, 17, 33, 200)


def llama(chance):
    parameters, options = rope(chance, True)
    return "LlamaForCausalLM", dict(body(chance, chance.yes()), attention_bias=chance.yes(), mlp_bias=chance.yes(),
                                    rope_parameters=parameters), options


def mistral(chance):
    parameters, options = rope(chance)
    return "MistralForCausalLM", dict(body(chance), sliding_window=chance.of(None, window(chance)),
                                      rope_parameters=parameters), options


def mixtral(chance):
    parameters, options = rope(chance)
    experts = chance.number(2, 9)
    return "MixtralForCausalLM", dict(body(chance), num_local_experts=experts,
                                      num_experts_per_tok=chance.number(1, min(4, experts)),
                                      sliding_window=chance.of(None, window(chance)),
                                      rope_parameters=parameters), options


def windows_of_qwen(chance, settings):
    if not chance.yes():
        return {}
    found = dict(use_sliding_window=True, sliding_window=window(chance),
                 max_window_layers=chance.number(0, settings["num_hidden_layers"]))
    if chance.yes(0.3):
        found["layer_types"] = [chance.of("sliding_attention", "full_attention")
                                for _ in range(settings["num_hidden_layers"])]
    return found


def qwen2(chance):
    parameters, options = rope(chance)
    settings = body(chance, chance.yes(0.7))
    settings.update(windows_of_qwen(chance, settings))
    return "Qwen2ForCausalLM", dict(settings, rope_parameters=parameters), options


def qwen3(chance):
    parameters, options = rope(chance, True)
    settings = body(chance)
    settings.update(windows_of_qwen(chance, settings))
    return "Qwen3ForCausalLM", dict(settings, attention_bias=chance.yes(), rope_parameters=parameters), options


def qwen3_moe(chance):
    parameters, options = rope(chance)
    settings = body(chance)
    experts = chance.number(2, 12)
    layers = settings["num_hidden_layers"]
    if chance.yes(0.3):
        settings.update(use_sliding_window=True, sliding_window=window(chance))
    return "Qwen3MoeForCausalLM", dict(settings, attention_bias=chance.yes(), num_experts=experts,
                                       num_experts_per_tok=chance.number(1, min(6, experts)),
                                       moe_intermediate_size=chance.number(8, 60), norm_topk_prob=chance.yes(),
                                       decoder_sparse_step=chance.of(1, 1, 2),
                                       mlp_only_layers=[i for i in range(layers) if chance.yes(0.2)],
                                       rope_parameters=parameters), options


def gemma3_text(chance):
    settings = body(chance)
    settings["num_hidden_layers"] = layers = chance.number(1, 8)
    full = dict(rope_type="default", rope_theta=theta(chance))
    if chance.yes():
        full.update(rope_type="linear", factor=chance.of(2.0, 8.0))
    if chance.yes():
        settings["layer_types"] = [chance.of("sliding_attention", "full_attention") for _ in range(layers)]
    return dict(settings, sliding_window=window(chance), query_pre_attn_scalar=chance.number(4, 64),
                attention_bias=chance.yes(0.3), final_logit_softcapping=chance.of(None, None, 4.0, 30.0),
                attn_logit_softcapping=chance.of(None, None, 5.0),
                rope_parameters=dict(full_attention=full,
                                     sliding_attention=dict(rope_type="default", rope_theta=theta(chance))))


def gemma3(chance):
    return "Gemma3ForCausalLM", gemma3_text(chance), set()


def gemma3_vision(chance):
    # transformers' class for pictures does not read final_logit_softcapping.
    text = dict(gemma3_text(chance), tie_word_embeddings=True, final_logit_softcapping=None)
    return "Gemma3ForConditionalGeneration", dict(
        text_config=text,
        vision_config=dict(model_type="siglip_vision_model", hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                           num_attention_heads=2, image_size=16, patch_size=8),
        mm_tokens_per_image=4, image_token_index=text["vocab_size"] - 1, boi_token_index=text["vocab_size"] - 2,
        eoi_token_index=text["vocab_size"] - 3), set()


def lfm2_body(chance):
    settings = body(chance, True)
    settings["norm_eps"] = settings.pop("rms_norm_eps")
    settings["num_hidden_layers"] = layers = chance.number(1, 5)
    return dict(settings, layer_types=[chance.of("conv", "conv", "full_attention") for _ in range(layers)],
                conv_L_cache=chance.number(2, 6), conv_bias=chance.yes())


def lfm2(chance):
    parameters, options = rope(chance)
    return "Lfm2ForCausalLM", dict(lfm2_body(chance), block_auto_adjust_ff_dim=chance.yes(),
                                   block_multiple_of=chance.of(4, 32), block_ffn_dim_multiplier=chance.of(1.0, 1.3),
                                   rope_parameters=parameters), options


def lfm2_moe(chance):
    parameters, options = rope(chance)
    settings = lfm2_body(chance)
    experts = chance.number(2, 10)
    return "Lfm2MoeForCausalLM", dict(settings, num_dense_layers=chance.number(0, settings["num_hidden_layers"]),
                                      num_experts=experts, num_experts_per_tok=chance.number(1, min(4, experts)),
                                      moe_intermediate_size=chance.number(8, 60), norm_topk_prob=chance.yes(),
                                      use_expert_bias=chance.yes(0.7), routed_scaling_factor=chance.of(1.0, 1.0, 2.5),
                                      rope_parameters=parameters), options


FAMILIES = [llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gemma3, gemma3_vision, lfm2, lfm2_moe]


def can_be_old(settings):
    """Whether config.json can be rewritten in the earlier form without losing anything."""
    if "text_config" in settings:
        return False
    kinds = settings.get("layer_types", [])
    if "sliding_attention" in kinds:
        return False
    return "sliding_attention" not in settings.get("rope_parameters", {}) or settings["num_hidden_layers"] >= 6


def make_case(family, number, seed, directory):
    """Writes one model; tries again where the reference itself is not determined (a near tie in a router)."""
    for attempt in range(20):
        chance = Chance([seed, number, attempt, sum(map(ord, family.__name__))])
        class_name, settings, options = family(chance)
        if can_be_old(settings) and chance.yes():
            options.add("old")
        if chance.yes(0.2):
            options.add("shards")
        path = directory / f"{family.__name__}-{number}-{attempt}"
        try:
            error = make(path, class_name, settings, options, N_TOKENS, coarse=False)
        except Exception as problem:
            raise RuntimeError(f"{path.name}: {class_name} {settings}") from problem
        if error < 1e-5:
            return
        subprocess.run(["rm", "-r", path], check=True)
    sys.exit(f"{family.__name__}: no determined model found")


def check_with_cli(program, directory, form, chunk):
    """What is wrong with the logits that imp-cli dumps, or None."""
    dump = directory / "dump.bin"
    command = [program, "--model", directory / form, "--ids", directory / "tokens.bin", "--dump-logits", dump,
               "--prefill-chunk-size", str(chunk)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        return result.stderr.strip()
    expected, logits = np.fromfile(directory / "logits.bin", "<f4"), np.fromfile(dump, "<f4")
    if expected.shape != logits.shape:
        return f"{logits.size} logits instead of {expected.size}"
    error = np.abs(expected - logits).max() / (expected.max() - expected.min())
    return None if error <= 1e-4 else f"{error:.1e} of the spread"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("build", type=Path)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch)
        for family in FAMILIES:
            if arguments.families and family.__name__ not in arguments.families:
                continue
            for number in range(arguments.count):
                make_case(family, number, arguments.seed, directory)
        result = subprocess.run([arguments.build / "runtime_golden", directory], capture_output=True, text=True)
        wrong = [line for line in result.stderr.splitlines() if "[  ERROR" in line or "spread" in line or ": /" in line]
        program = arguments.build / "bin/imp-cli"
        for path in sorted(directory.iterdir()) if program.exists() else []:
            for form in ("", "model.gguf"):
                for chunk in (512, 7):
                    problem = check_with_cli(program, path, form, chunk)
                    if problem:
                        wrong.append(f"{path.name}/{form} in chunks of {chunk}: {problem}")
        print("\n".join(wrong))
        print(f"{len(list(directory.iterdir()))} models, {len(wrong)} complaints, runtime_golden: {result.returncode}")
        sys.exit(bool(wrong) or result.returncode)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    main()
