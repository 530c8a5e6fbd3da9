"""Compares imp with transformers on random models of every family, with every option of their configurations as it falls.

    python sweep.py BUILD [--each 20] [--seed N] [--keep DIRECTORY] [FAMILY…]

Makes models (float32, float16 or bfloat16; one file or shards; config.json in today's form, in the one before transformers 5,
or without what equals the class's defaults), computes their logits with transformers in float32 from the files as they lie
there, and compares what BUILD/bin/imp-cli dumps for them and for their conversion to GGUF with chunks of 512, 7 and 1.
Ends with what differed, what imp refused and why. Needs what make_models.py needs.
"""

import argparse
import collections
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

import to_gguf
from make_models import fill, old_style, partial_rotary, without_defaults

LIMIT = 1e-4  # of the logits' spread, for weights in float32
LIMIT_HALF = 2e-4  # activations that meet 16-bit weights are rounded to 16 bits


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
    return float(chance.of(100, 10000, 50000, 1000000, 10000000))


def rope(chance, kinds=("default", "default", "linear", "llama3", "yarn", "dynamic")):
    """rope_parameters."""
    kind = chance.of(*kinds)
    parameters = dict(rope_type=kind, rope_theta=theta(chance))
    if kind != "default":
        parameters["factor"] = chance.of(1.0, 1.5, 2.0, 4.0, 8.0, 32.0)
    if kind in ("llama3", "yarn"):
        parameters["original_max_position_embeddings"] = chance.of(16, 32, 64, 200, 8192)
    if kind == "llama3":
        low = chance.of(0.5, 1.0, 1.5)
        parameters.update(low_freq_factor=low, high_freq_factor=low * chance.of(2.0, 4.0))
    if kind == "yarn":
        if chance.yes():
            parameters.update(beta_fast=chance.of(4.0, 16.0, 32.0), beta_slow=chance.of(0.5, 1.0, 2.0))
        if chance.yes(0.3):
            parameters.update(attention_factor=chance.of(0.9, 1.0, 1.3))
        if chance.yes(0.3):
            parameters.update(mscale=chance.of(0.7, 1.0), mscale_all_dim=chance.of(0.5, 1.0))
        if chance.yes(0.3):
            parameters.update(truncate=chance.yes())
    if chance.yes(0.15):
        parameters["partial_rotary_factor"] = chance.of(0.25, 0.5, 0.75)
    return parameters


def body(chance, **fixed):
    """What every family has."""
    kv_heads = chance.of(1, 2, 3, 4, 8)
    heads = kv_heads * chance.of(1, 2, 3, 4, 7, 8) if kv_heads < 8 else chance.of(8, 16, 32)
    head_dim = chance.of(2 * chance.number(2, 24), 2 * chance.number(2, 24), 40, 64, 80, 96, 128, 256)
    settings = dict(vocab_size=chance.number(70, 400), hidden_size=heads * chance.number(1, max(1, 120 // heads)),
                    intermediate_size=chance.number(1, 160), num_hidden_layers=chance.of(1, 2, 3, 4, 5),
                    num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_dim,
                    max_position_embeddings=chance.of(512, 700, 2048, 32768),
                    rms_norm_eps=chance.of(1e-6, 1e-6, 1e-5, 1e-3), tie_word_embeddings=chance.yes(), bos_token_id=1,
                    eos_token_id=chance.of(2, [2, 5]), pad_token_id=None)
    settings.update(fixed)
    if settings["hidden_size"] < 8:
        settings["hidden_size"] = 8 * heads
    return settings


def even_heads(chance, settings):
    """Half of the time: heads that divide the width, and a configuration that does not name their size."""
    if chance.yes():
        settings["hidden_size"] = settings["num_attention_heads"] * 2 * chance.number(2, 12)
        del settings["head_dim"]
    return settings


def activation(chance):
    return chance.of("silu", "silu", "silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu", "relu2")


def window(chance):
    return chance.of(1, 3, 7, 16, 17, 33, 64, 200, 1000)


def kinds_of_layers(chance, layers, *kinds):
    return [chance.of(*kinds) for _ in range(layers)]


def llama(chance):
    return "LlamaForCausalLM", dict(even_heads(chance, body(chance)), attention_bias=chance.yes(), mlp_bias=chance.yes(),
                                    hidden_act=activation(chance), rope_parameters=rope(chance))


def mistral(chance):
    return "MistralForCausalLM", dict(even_heads(chance, body(chance)), hidden_act=activation(chance),
                                      sliding_window=chance.of(None, window(chance)), rope_parameters=rope(chance))


def mixtral(chance):
    experts = chance.number(1, 17)
    return "MixtralForCausalLM", dict(body(chance), num_local_experts=experts,
                                      num_experts_per_tok=chance.number(1, experts), hidden_act=activation(chance),
                                      sliding_window=chance.of(None, window(chance)), rope_parameters=rope(chance))


def windows_of_qwen(chance, settings):
    found = dict(use_sliding_window=chance.yes(0.7), sliding_window=chance.of(None, window(chance), window(chance)),
                 max_window_layers=chance.number(0, settings["num_hidden_layers"]))
    if found["use_sliding_window"] and found["sliding_window"] and chance.yes(0.3):
        found["layer_types"] = kinds_of_layers(chance, settings["num_hidden_layers"], "sliding_attention",
                                               "full_attention")
    return found


def qwen2(chance):
    settings = even_heads(chance, body(chance))
    return "Qwen2ForCausalLM", dict(settings, hidden_act=activation(chance), rope_parameters=rope(chance),
                                    **windows_of_qwen(chance, settings))


def qwen3(chance):
    settings = body(chance)
    return "Qwen3ForCausalLM", dict(settings, hidden_act=activation(chance), attention_bias=chance.yes(),
                                    rope_parameters=rope(chance), **windows_of_qwen(chance, settings))


def qwen3_moe(chance):
    settings = even_heads(chance, body(chance))
    experts = chance.number(1, 24)
    return "Qwen3MoeForCausalLM", dict(settings, attention_bias=chance.yes(), hidden_act=activation(chance),
                                       num_experts=experts, num_experts_per_tok=chance.number(1, experts),
                                       moe_intermediate_size=chance.number(1, 60), norm_topk_prob=chance.yes(),
                                       decoder_sparse_step=chance.of(1, 1, 2, 3),
                                       mlp_only_layers=[i for i in range(settings["num_hidden_layers"])
                                                        if chance.yes(0.3)],
                                       use_sliding_window=chance.yes(0.4),
                                       sliding_window=chance.of(None, window(chance)), rope_parameters=rope(chance))


def gemma3_text(chance):
    layers = chance.of(1, 2, 3, 6, 7, 8, 26)
    settings = body(chance, num_hidden_layers=layers)
    if chance.yes():
        settings["layer_types"] = kinds_of_layers(chance, layers, "sliding_attention", "full_attention")
    local = rope(chance, ("default", "default", "default", "linear", "yarn"))
    return dict(settings, sliding_window=window(chance), query_pre_attn_scalar=chance.of(256, chance.number(4, 64)),
                attention_bias=chance.yes(0.3), final_logit_softcapping=chance.of(None, None, 4.0, 30.0),
                attn_logit_softcapping=chance.of(None, None, 5.0),
                hidden_activation=chance.of("gelu_pytorch_tanh", "gelu_pytorch_tanh", "gelu", "silu"),
                rope_parameters=dict(full_attention=rope(chance), sliding_attention=local))


def gemma3(chance):
    return "Gemma3ForCausalLM", gemma3_text(chance)


def gemma3_vision(chance):
    text = gemma3_text(chance)
    return "Gemma3ForConditionalGeneration", dict(
        text_config=text, tie_word_embeddings=text["tie_word_embeddings"],
        vision_config=dict(model_type="siglip_vision_model", hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                           num_attention_heads=2, image_size=16, patch_size=8),
        mm_tokens_per_image=4, image_token_index=text["vocab_size"] - 1, boi_token_index=text["vocab_size"] - 2,
        eoi_token_index=text["vocab_size"] - 3)


def lfm2_body(chance):
    settings = even_heads(chance, body(chance, num_hidden_layers=chance.number(1, 7)))
    settings["norm_eps"] = settings.pop("rms_norm_eps")
    return dict(settings, layer_types=kinds_of_layers(chance, settings["num_hidden_layers"], "conv", "conv",
                                                      "full_attention"),
                conv_L_cache=chance.number(1, 9), conv_bias=chance.yes(), rope_parameters=rope(chance))


def lfm2(chance):
    return "Lfm2ForCausalLM", dict(lfm2_body(chance), block_auto_adjust_ff_dim=chance.yes(),
                                   block_multiple_of=chance.of(4, 32, 256),
                                   block_ffn_dim_multiplier=chance.of(1.0, 1.3))


def lfm2_moe(chance):
    settings = lfm2_body(chance)
    experts = chance.number(1, 24)
    return "Lfm2MoeForCausalLM", dict(settings, num_dense_layers=chance.number(0, settings["num_hidden_layers"]),
                                      num_experts=experts, num_experts_per_tok=chance.number(1, experts),
                                      moe_intermediate_size=chance.number(1, 60), norm_topk_prob=chance.yes(),
                                      use_expert_bias=chance.yes(0.7), routed_scaling_factor=chance.of(1.0, 2.5))


FAMILIES = [llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gemma3, gemma3_vision, lfm2, lfm2_moe]


def can_be_old(config):
    """Whether config.json can be rewritten in the earlier form without losing anything."""
    if "text_config" in config:
        return False
    kinds, rope_parameters = config.get("layer_types", []), config["rope_parameters"]
    if "full_attention" not in rope_parameters:
        return "sliding_attention" not in kinds
    local = rope_parameters["sliding_attention"]
    period = kinds.index("full_attention") + 1 if "full_attention" in kinds else 0
    return (local["rope_type"] == "default" and "partial_rotary_factor" not in local and period > 0 and
            kinds == ["sliding_attention" if (i + 1) % period else "full_attention" for i in range(len(kinds))])


def ropes_of(config):
    """The rotary parameters of a text model's configuration, one object or one for each kind of layers."""
    ropes = config["rope_parameters"]
    return [value for value in ropes.values() if isinstance(value, dict)] or [ropes]


def turning_part(one):
    """transformers reads the key only where a scaling is."""
    return 1.0 if one["rope_type"] == "default" else one.get("partial_rotary_factor", 1.0)


def gguf_can_say(config):
    """Whether GGUF has keys for all that this configuration (of the text model) states."""
    every = ropes_of(config)
    return (all(one["rope_type"] != "dynamic" and one.get("truncate", True) for one in every)
            and config.get("hidden_act", "silu") == "silu"
            and config.get("hidden_activation", "gelu_pytorch_tanh") == "gelu_pytorch_tanh"
            and (len(every) == 1 or (every[1]["rope_type"] == "default"
                                     and turning_part(every[0]) == turning_part(every[1]) == 1.0)))


def write_model(model, directory, chance):
    """The model's files in a form of their own choosing, and its GGUF; returns a word for each choice."""
    form = [chance.of("F32", "F32", "F32", "BF16", "F16")]
    dtype = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[form[0]]
    if chance.yes(0.25):
        form.append("shards")
    model.to(dtype).save_pretrained(directory, max_shard_size="60KB" if "shards" in form else "1GB")
    path = directory / "config.json"
    config = json.loads(path.read_text())
    text = config.get("text_config", config)
    if gguf_can_say(text):
        to_gguf.convert(directory, directory / "model.gguf", form[0])
    if can_be_old(text) and text is config and chance.yes(0.4):
        form.append("old")
        path.write_text(json.dumps(old_style(config), indent=2))
    elif chance.yes(0.5):
        form.append("sparse")
        path.write_text(json.dumps(without_defaults(config, type(model.config)), indent=2))
    return form


def reference(model_class, directory, tokens, partial):
    """Logits from the files as they are, in float32, and how far float64 is from them, of their spread."""
    with partial_rotary(model_class) if partial else contextlib.nullcontext():
        model = model_class.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager",
                                            experts_implementation="eager").eval()
        results = []
        for dtype in torch.float32, torch.float64:
            with torch.no_grad():
                ids = torch.from_numpy(tokens.astype(np.int64))[None]
                results.append(model.to(dtype)(input_ids=ids, use_cache=False).logits[0].numpy())
    logits, exact = results
    return logits, float(np.abs(logits - exact).max() / np.ptp(logits))


def turns_partly(settings):
    """Whether only a part of the head turns; takes parts out that are no pairs."""
    text = settings.get("text_config", settings)
    head_dim = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
    for one in ropes_of(text):
        if int(head_dim * one.get("partial_rotary_factor", 1.0)) % 2 or head_dim < 16:
            one.pop("partial_rotary_factor", None)
    return any(turning_part(one) != 1.0 for one in ropes_of(text))


def make_case(family, number, seed, parent):
    """Writes one model; tries again where the reference itself is not determined (a near tie in a router)."""
    for attempt in range(20):
        chance = Chance([seed, number, attempt, sum(map(ord, family.__name__))])
        class_name, settings = family(chance)
        directory = parent / f"{family.__name__}-{number}"
        shutil.rmtree(directory, ignore_errors=True)
        model_class = getattr(transformers, class_name)
        partial = turns_partly(settings)
        n_vocab = settings.get("text_config", settings)["vocab_size"]
        tokens = chance.rng.integers(0, n_vocab - 4, chance.of(40, 60, 150, 600)).astype("<i4")
        try:
            model = model_class(model_class.config_class(**settings)).eval()
            fill(model, chance.rng, coarse=False)
            form = write_model(model, directory, chance)
            logits, error = reference(model_class, directory, tokens, partial)
        except Exception as problem:
            raise RuntimeError(f"{directory.name}: {class_name} {settings}") from problem
        if error < 1e-5:
            tokens.tofile(directory / "tokens.bin")
            return directory, form, logits
    sys.exit(f"{family.__name__}: no determined model found")


def compare(program, directory, name, chunk, logits):
    """How far the logits that imp-cli dumps are off, of their spread, or why there are none."""
    dump = directory / "dump.bin"
    command = [program, "--model", directory / name, "--ids", directory / "tokens.bin", "--dump-logits", dump,
               "--prefill-chunk-size", str(chunk), "--device", "cpu"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        return result.stderr.strip().splitlines()[-1]
    found = np.fromfile(dump, "<f4")
    if found.size != logits.size:
        return f"{found.size} logits instead of {logits.size}"
    return float(np.abs(found.reshape(logits.shape) - logits).max() / np.ptp(logits))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("families", nargs="*", default=[family.__name__ for family in FAMILIES])
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_intermixed_args()
    program, wrong, refused, worst = arguments.build / "bin/imp-cli", [], collections.Counter(), collections.Counter()
    compared = 0
    with tempfile.TemporaryDirectory() as scratch:
        for family in FAMILIES:
            for number in range(arguments.each if family.__name__ in arguments.families else 0):
                directory, form, logits = make_case(family, number, arguments.seed, arguments.keep or Path(scratch))
                for name in ("", "model.gguf") if (directory / "model.gguf").exists() else ("",):
                    for chunk in 512, 7, 1:
                        found = compare(program, directory, name, chunk, logits)
                        if isinstance(found, str) and "not supported" in found:
                            refused[found.split(": ", 2)[-1]] += 1
                        elif isinstance(found, str) or not found <= (LIMIT if "F32" in form else LIMIT_HALF):
                            wrong.append(f"{directory.name}/{name} ({' '.join(form)}) in chunks of {chunk}: {found}")
                            print(wrong[-1], flush=True)
                        else:
                            compared += 1
                            worst[form[0]] = max(worst[form[0]], found)
                if not arguments.keep:
                    shutil.rmtree(directory)
    for reason, count in refused.most_common():
        print(f"refused {count} times: {reason}")
    for kind, figure in sorted(worst.items()):
        print(f"{kind}: at most {figure:.1e} of the spread")
    print(f"{compared} comparisons, {len(wrong)} complaints")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    main()
