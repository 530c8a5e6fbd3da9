#!/usr/bin/env python3
"""Writes a random model of a real shape as GGUF, in any quantization mix, for measuring speed.

    pip install numpy gguf
    python bench/make_model.py --shape llama-3.2-1b --type Q4_K_M --out /tmp/llama-1b-q4km.gguf

Blocks are random bytes; only their scales are chosen, so that weights have mean 0 and a standard deviation of one over the
root of their columns and activations stay finite. No quantizer runs: a file is written at the speed of the disk. Keys
and tensor names are those of real files, so llama.cpp reads the result too. The same --seed gives the same file.
"""
import sys

sys.path.pop(0)  # this directory: tokenize.py in it would hide Python's own

import argparse
import dataclasses
import re

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type


@dataclasses.dataclass
class Shape:
    arch: str
    layers: int
    embd: int
    heads: int
    kv_heads: int
    head_dim: int
    ff: int
    vocab: int
    rope_base: float = 10000.0
    context: int = 32768
    tied: bool = False
    eps: float = 1e-6
    llama3: float = 0.0           # factor of Llama-3's rotary scaling
    window: int = 0
    experts: int = 0
    experts_used: int = 0
    expert_ff: int = 0
    dense_layers: int = 0         # leading layers without experts
    attention_layers: tuple = ()  # of hybrid models; the others are short convolutions


SHAPES = {
    "llama-3.2-1b": Shape("llama", 16, 2048, 32, 8, 64, 8192, 128256, 5e5, 131072, tied=True, eps=1e-5, llama3=32),
    "llama-3.2-3b": Shape("llama", 28, 3072, 24, 8, 128, 8192, 128256, 5e5, 131072, tied=True, eps=1e-5, llama3=32),
    "llama-3.1-8b": Shape("llama", 32, 4096, 32, 8, 128, 14336, 128256, 5e5, 131072, eps=1e-5, llama3=8),
    "smollm2-135m": Shape("llama", 30, 576, 9, 3, 64, 1536, 49152, 1e5, 8192, tied=True, eps=1e-5),
    "qwen3-0.6b": Shape("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 1e6, 40960, tied=True),
    "qwen3-8b": Shape("qwen3", 36, 4096, 32, 8, 128, 12288, 151936, 1e6, 40960),
    "qwen3-30b-a3b": Shape("qwen3moe", 48, 2048, 32, 4, 128, 6144, 151936, 1e6, 40960,
                           experts=128, experts_used=8, expert_ff=768),
    "gemma-3-270m": Shape("gemma3", 18, 640, 4, 1, 256, 2048, 262144, 1e6, 32768, tied=True, window=512),
    "small-qwen3moe": Shape("qwen3moe", 8, 512, 8, 2, 64, 1536, 8192, 1e6, 8192,
                            experts=32, experts_used=4, expert_ff=256),
    "small-lfm2moe": Shape("lfm2moe", 8, 512, 8, 2, 64, 1536, 8192, 1e6, 8192, tied=True, eps=1e-5,
                           experts=16, experts_used=4, expert_ff=256, dense_layers=2, attention_layers=(2, 5)),
    # Seeds of the fuzz targets: as small as blocks of 32 allow.
    "tiny-llama": Shape("llama", 1, 32, 2, 1, 16, 32, 16, tied=True, context=64, llama3=8),
    "tiny-qwen2": Shape("qwen2", 1, 32, 2, 1, 16, 32, 16, tied=True, context=64),
    "tiny-qwen3": Shape("qwen3", 1, 32, 2, 1, 16, 32, 16, context=64),
    "tiny-qwen3moe": Shape("qwen3moe", 1, 32, 2, 1, 16, 32, 16, tied=True, context=64, experts=2, experts_used=1,
                           expert_ff=32),
    "tiny-gemma3": Shape("gemma3", 1, 32, 2, 1, 16, 32, 16, tied=True, context=64, window=8),
    "tiny-lfm2": Shape("lfm2", 2, 32, 2, 1, 16, 32, 16, tied=True, context=64, attention_layers=(1,)),
    "tiny-lfm2moe": Shape("lfm2moe", 2, 32, 2, 1, 16, 32, 16, tied=True, context=64, experts=2, experts_used=1,
                          expert_ff=32, dense_layers=1, attention_layers=(1,)),
}

# ---- which type each matrix gets ----

# File types that are mixes: the type of most matrices. Everything else is the name of a block type.
MIXES = {"Q2_K": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K", "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K",
         "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K"}
# What takes the place of a type whose blocks are longer than a row.
SHORT_ROWS = {"Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "IQ4_XS": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
              "NVFP4": "MXFP4"}
PLAIN = ("F32", "F16", "BF16")


def use_more_bits(layer, n_layers):
    """The layers that the _M mixes give a larger type: the first and last eighth and every third in between."""
    return layer < n_layers // 8 or layer >= 7 * n_layers // 8 or (layer - n_layers // 8) % 3 == 2


def matrix_type(mix, shape, name, layer):
    base = MIXES.get(mix, mix)
    more = layer is not None and use_more_bits(layer, shape.layers)
    early = layer is not None and layer < shape.layers // 8
    if name == "output" or (name == "token_embd" and shape.tied):
        if base in PLAIN or base == "Q8_0":
            return base
        return "Q8_0" if base in ("MXFP4", "NVFP4") else "Q6_K"
    if name == "token_embd":
        return "Q8_0" if base in ("MXFP4", "NVFP4") else base
    if name == "attn_v":
        if mix in ("Q4_K_M", "Q5_K_M") and more:
            return "Q6_K"
        if mix == "Q4_K_S" and layer < 4:
            return "Q5_K"
        if mix == "Q3_K_M":
            return "Q5_K" if layer < 2 else "Q4_K"
        if mix == "IQ4_XS" and shape.heads // shape.kv_heads >= 4:
            return "Q5_K"
        return {"Q2_K": "Q4_K" if shape.heads // shape.kv_heads >= 4 else "Q3_K", "Q3_K_L": "Q5_K"}.get(mix, base)
    if name in ("ffn_down", "ffn_down_exps"):
        if mix in ("Q4_K_M", "Q5_K_M") and more:
            return "Q6_K"
        if mix == "Q4_K_S" and early:
            return "Q5_K"
        if mix == "Q3_K_M":
            return "Q5_K" if layer < shape.layers // 16 else "Q4_K" if more else "Q3_K"
        if mix == "IQ4_XS" and early:
            return "Q5_K"
        return {"Q2_K": "Q3_K", "Q3_K_L": "Q5_K"}.get(mix, base)
    if name == "attn_output":
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(mix, base)
    return base


def fitting_type(name, columns):
    while columns % gguf.GGML_QUANT_SIZES[Type[name]][0] != 0:
        name = SHORT_ROWS.get(name, "F16")
    return Type[name]


# ---- random blocks ----

REPEATED_ELEMENTS = 1 << 24  # of --repeat

# Half-precision scales in a block: offset, and the value relative to the first that makes the mean 0.
HALF_SCALES = {
    Type.Q4_0: {0: 1}, Type.Q4_1: {0: 1, 2: -7.5}, Type.Q5_0: {0: 1}, Type.Q5_1: {0: 1, 2: -15.5}, Type.Q8_0: {0: 1},
    Type.Q2_K: {80: 1, 82: 1.5}, Type.Q3_K: {108: 1}, Type.Q4_K: {0: 1, 2: 7.5}, Type.Q5_K: {0: 1, 2: 15.5},
    Type.Q6_K: {208: 1}, Type.IQ4_NL: {0: 1}, Type.IQ4_XS: {0: 1},
}


class Blocks:
    """Random blocks of any type with a given standard deviation."""

    def __init__(self, seed, repeat=False):
        self.rng = np.random.default_rng(seed)
        self.unit_deviation = {}
        self.repeated = {} if repeat else None

    def random_bytes(self, n_blocks, block_bytes):
        n = n_blocks * block_bytes
        words = self.rng.integers(0, 2**64, (n + 7) // 8, dtype=np.uint64)
        return words.view(np.uint8)[:n].reshape(n_blocks, block_bytes)

    def set_halves(self, blocks, kind, scale):
        for offset, ratio in HALF_SCALES[kind].items():
            values = (scale * ratio).astype(np.float16)
            blocks[:, offset:offset + 2] = values.view(np.uint8).reshape(-1, 2)

    def deviation_of_unit_scale(self, kind):
        """What random blocks of this type have when their scale is 1, measured once."""
        if kind not in self.unit_deviation:
            elems, size = gguf.GGML_QUANT_SIZES[kind]
            blocks = np.random.default_rng(0).integers(0, 256, (65536 // elems, size), dtype=np.uint8)
            self.set_halves(blocks, kind, np.ones(len(blocks)))
            self.unit_deviation[kind] = float(gguf.quants.dequantize(blocks, kind).std())
        return self.unit_deviation[kind]

    def floats(self, shape, deviation):
        return self.rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    def matrix(self, kind, rows, columns, deviation):
        """(bytes [rows][row bytes], factor): the matrix is factor times what the bytes decode to."""
        if self.repeated is None:
            return self.fresh_matrix(kind, rows, columns, deviation)
        if (kind, columns) not in self.repeated:
            some_rows = max(1, REPEATED_ELEMENTS // columns)
            self.repeated[kind, columns] = self.fresh_matrix(kind, some_rows, columns, deviation)
        data, factor = self.repeated[kind, columns]
        return np.resize(data, (rows, data.shape[1])), factor

    def fresh_matrix(self, kind, rows, columns, deviation):
        elems, size = gguf.GGML_QUANT_SIZES[kind]
        n_blocks = rows * columns // elems
        if kind == Type.F32:
            return self.floats((rows, columns), deviation), 1.0
        if kind == Type.F16:
            return self.floats((rows, columns), deviation).astype(np.float16), 1.0
        if kind == Type.BF16:
            return gguf.quants.quantize(self.floats((rows, columns), deviation), kind), 1.0
        blocks = self.random_bytes(n_blocks, size)
        factor = 1.0
        if kind == Type.MXFP4:  # E2M1's deviation is about 2.9; powers of two around the rest
            exponent = 127 + int(np.floor(np.log2(deviation / 2.9)))
            blocks[:, 0] = exponent + self.rng.integers(0, 2, n_blocks)
        elif kind == Type.NVFP4:  # E4M3 scales of 1 to 4, and the tensor's own scale
            blocks[:, :4] = self.rng.integers(0x38, 0x48, (n_blocks, 4))
            factor = deviation / (2.9 * 2.2)
        else:
            scale = deviation / self.deviation_of_unit_scale(kind)
            self.set_halves(blocks, kind, scale * self.rng.uniform(0.7, 1.3, n_blocks))
        return blocks.reshape(rows, -1), factor


# ---- the model's tensors ----


@dataclasses.dataclass
class Tensor:
    name: str      # without ".weight"
    dims: tuple    # outermost first
    layer: int | None = None

    @property
    def is_matrix(self):
        """Routers, convolutions and vectors stay in float32."""
        return len(self.dims) >= 2 and self.name not in ("ffn_gate_inp", "shortconv.conv")

    @property
    def full_name(self):
        return self.name if self.layer is None else f"blk.{self.layer}.{self.name}"


def layer_tensors(shape, i):
    def add(name, *dims):
        tensors.append(Tensor(name, dims, i))

    tensors = []
    embd, hybrid = shape.embd, bool(shape.attention_layers)
    q_rows, kv_rows = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    add("attn_norm", embd)
    if hybrid and i not in shape.attention_layers:
        add("shortconv.in_proj", 3 * embd, embd)
        add("shortconv.conv", embd, 3)
        add("shortconv.out_proj", embd, embd)
    else:
        add("attn_q", q_rows, embd)
        add("attn_k", kv_rows, embd)
        add("attn_v", kv_rows, embd)
        add("attn_output", embd, q_rows)
        if shape.arch not in ("llama", "qwen2"):
            add("attn_q_norm", shape.head_dim)
            add("attn_k_norm", shape.head_dim)
        if shape.arch == "qwen2":
            add("attn_q.bias", q_rows)
            add("attn_k.bias", kv_rows)
            add("attn_v.bias", kv_rows)
    if shape.arch == "gemma3":
        add("post_attention_norm", embd)
        add("post_ffw_norm", embd)
    add("ffn_norm", embd)
    if shape.experts and i >= shape.dense_layers:
        add("ffn_gate_inp", shape.experts, embd)
        add("ffn_gate_exps", shape.experts, shape.expert_ff, embd)
        add("ffn_up_exps", shape.experts, shape.expert_ff, embd)
        add("ffn_down_exps", shape.experts, embd, shape.expert_ff)
        if shape.arch == "lfm2moe":
            add("exp_probs_b.bias", shape.experts)
    else:
        add("ffn_gate", shape.ff, embd)
        add("ffn_up", shape.ff, embd)
        add("ffn_down", embd, shape.ff)
    return tensors


def model_tensors(shape):
    tensors = [Tensor("token_embd", (shape.vocab, shape.embd))]
    for i in range(shape.layers):
        tensors += layer_tensors(shape, i)
    tensors.append(Tensor("token_embd_norm" if shape.arch.startswith("lfm2") else "output_norm", (shape.embd,)))
    if not shape.tied:
        tensors.append(Tensor("output", (shape.vocab, shape.embd)))
    if shape.llama3:
        tensors.append(Tensor("rope_freqs", (shape.head_dim // 2,)))
    return tensors


def llama3_divisors(shape):
    """What Llama-3's scaling (low 1, high 4, original context 8192) divides each pair's frequency by."""
    wavelength = 2 * np.pi * shape.rope_base ** (np.arange(0, shape.head_dim, 2) / shape.head_dim)
    smooth = np.clip((8192 / wavelength - 1) / (4 - 1), 0, 1)
    return (1 / ((1 - smooth) / shape.llama3 + smooth)).astype(np.float32)


def vector_values(tensor, shape, blocks):
    if tensor.name == "rope_freqs":
        return llama3_divisors(shape)
    if tensor.name.endswith(".bias"):
        return blocks.floats(tensor.dims, 0.02)
    if tensor.name.endswith("norm"):
        return 1 + blocks.floats(tensor.dims, 0.05)
    return blocks.floats(tensor.dims, tensor.dims[-1] ** -0.5)


# ---- writing ----


def write_metadata(writer, shape, mix, with_vocabulary):
    kv_heads = shape.kv_heads
    if shape.attention_layers:
        kv_heads = [shape.kv_heads if i in shape.attention_layers else 0 for i in range(shape.layers)]
    file_type = gguf.LlamaFileType.__members__.get("ALL_F32" if mix == "F32" else f"MOSTLY_{mix}")
    if file_type is not None:
        writer.add_file_type(file_type)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embd)
    writer.add_feed_forward_length(shape.ff)
    writer.add_vocab_size(shape.vocab)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.eps)
    if shape.window:
        writer.add_sliding_window(shape.window)
    if shape.attention_layers:
        writer.add_shortconv_l_cache(3)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.experts_used)
        writer.add_expert_feed_forward_length(shape.expert_ff)
    if shape.arch == "lfm2moe":
        writer.add_leading_dense_block_count(shape.dense_layers)
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if with_vocabulary:
        write_vocabulary(writer, shape.vocab)
    else:
        writer.add_tokenizer_model("no_vocab")


def byte_letters():
    """The printable character that stands for each byte in GPT-2's vocabularies."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b) if b in kept else chr(next(others)) for b in range(256)]


def write_vocabulary(writer, size):
    """The 256 bytes, one merge, invented words, two control tokens: enough for any text to be a prompt."""
    control = ["<|begin|>", "<|end|>"]
    tokens = byte_letters()[:size - 3] + ['!"'] + [f"Ġword{i}" for i in range(size - 259)] + control
    kinds = [gguf.TokenType.NORMAL] * (size - 2) + [gguf.TokenType.CONTROL] * 2
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(['! "'])
    writer.add_bos_token_id(size - 2)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)


def choose_type(tensor, shape, mix, overrides):
    if not tensor.is_matrix:
        return Type.F32
    name = matrix_type(mix, shape, tensor.name, tensor.layer)
    for pattern, override in overrides:
        if re.search(pattern, tensor.full_name):
            name = override
    return fitting_type(name, tensor.dims[-1])


def declare(writer, name, dims, kind):
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    n_bytes = int(np.prod(dims)) // elems * size
    if kind in (Type.F32, Type.F16):
        writer.add_tensor_info(name, dims, np.dtype(np.float32 if kind == Type.F32 else np.float16), n_bytes)
    else:
        byte_dims = (*dims[:-1], dims[-1] // elems * size)
        writer.add_tensor_info(name, byte_dims, np.dtype(np.uint8), n_bytes, raw_dtype=kind)


def write_model(path, shape, mix, overrides, with_vocabulary, blocks):
    writer = gguf.GGUFWriter(path, shape.arch)
    writer.add_name(f"random {mix}")
    write_metadata(writer, shape, mix, with_vocabulary)
    tensors = model_tensors(shape)
    kinds = [choose_type(tensor, shape, mix, overrides) for tensor in tensors]
    for tensor, kind in zip(tensors, kinds):
        suffix = "" if tensor.name.endswith(".bias") else ".weight"
        declare(writer, tensor.full_name + suffix, tensor.dims, kind)
        if kind == Type.NVFP4:
            declare(writer, tensor.full_name + ".scale", (tensor.dims[0] if len(tensor.dims) == 3 else 1,), Type.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, kind in zip(tensors, kinds):
        if not tensor.is_matrix:
            writer.write_tensor_data(vector_values(tensor, shape, blocks))
            continue
        columns = tensor.dims[-1]
        data, factor = blocks.matrix(kind, int(np.prod(tensor.dims[:-1])), columns, columns ** -0.5)
        writer.write_tensor_data(data)
        if kind == Type.NVFP4:
            n_scales = tensor.dims[0] if len(tensor.dims) == 3 else 1
            writer.write_tensor_data(np.full(n_scales, factor, dtype=np.float32))
    writer.close()


def parse_override(text):
    pattern, _, kind = text.rpartition("=")
    if kind not in Type.__members__ or not pattern:
        raise argparse.ArgumentTypeError(f"{text} is not REGEX=TYPE")
    return pattern, kind


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", required=True, choices=sorted(SHAPES))
    parser.add_argument("--type", required=True, help="F32, BF16, Q8_0, Q4_0, Q4_K_M, IQ4_XS, MXFP4, NVFP4, …")
    parser.add_argument("--tensor-type", action="append", default=[], type=parse_override, metavar="REGEX=TYPE",
                        help="another type for the tensors whose name matches; repeatable, the last match counts")
    parser.add_argument("--vocab", choices=["bpe", "none"], default="bpe", help="none: ids only")
    parser.add_argument("--layers", type=int, help="another number of layers")
    parser.add_argument("--repeat", action="store_true",
                        help="repeat a few rows of each matrix: a large file at the speed of the disk")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    if options.type not in MIXES and options.type not in Type.__members__:
        parser.error(f"--type {options.type}: unknown; mixes are {', '.join(MIXES)}")
    shape = SHAPES[options.shape]
    if options.layers is not None:
        shape = dataclasses.replace(shape, layers=options.layers)
    write_model(options.out, shape, options.type, options.tensor_type, options.vocab == "bpe",
                Blocks(options.seed, options.repeat))


if __name__ == "__main__":
    sys.exit(main())
