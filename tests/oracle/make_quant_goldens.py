#!/usr/bin/env python3
"""Writes tests/unit/quant/quant_goldens.bin: what the `gguf` package decodes from random blocks and encodes from random
numbers, for tests/unit/quant/test_dtype.c.

    pip install numpy gguf
    python tests/oracle/make_quant_goldens.py

A record: name (16 bytes), kind (u32: 0 decode, 1 encode), elements (u32), bytes (u32), then the blocks and the float32
values, each elements * 4 bytes; little-endian. In a decode record the values are what the blocks decode to, in an encode
record the blocks are what the values encode to.
"""
import pathlib
import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf import quants

OUT = pathlib.Path(__file__).parents[1] / "unit" / "quant" / "quant_goldens.bin"

# Where each block keeps its half-precision scales, and how many elements the goldens have.
DECODED = {
    Type.Q4_0: ([0], 1024), Type.Q4_1: ([0, 2], 1024), Type.Q5_0: ([0], 1024), Type.Q5_1: ([0, 2], 1024),
    Type.Q8_0: ([0], 1024), Type.Q2_K: ([80, 82], 4096), Type.Q3_K: ([108], 4096), Type.Q4_K: ([0, 2], 4096),
    Type.Q5_K: ([0, 2], 4096), Type.Q6_K: ([208], 4096), Type.IQ4_NL: ([0], 1024), Type.IQ4_XS: ([0], 4096),
    Type.MXFP4: ([], 256 * 32), Type.NVFP4: ([], 64 * 64), Type.BF16: ([], 512), Type.F16: ([], 512),
}
ENCODED = [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.F16, Type.BF16]

# Zero, minus zero, smallest and largest subnormal, smallest normal, largest, infinities, NaN.
EXTREME_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00]


def random_blocks(kind, offsets, elements, rng):
    block_elems, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (elements // block_elems, block_bytes), dtype=np.uint8)
    for offset in offsets:
        scales = (rng.standard_normal(len(blocks)) * 0.1).astype(np.float16).view(np.uint16)
        for i, bits in enumerate(EXTREME_HALVES):
            if i < len(scales) // 2:
                scales[i] = bits if offset == offsets[0] or i % 2 else scales[i]
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    if kind == Type.MXFP4:
        blocks[:, 0] = np.arange(256)
    if kind == Type.NVFP4:
        blocks[:, :4] = np.arange(256, dtype=np.uint8).reshape(-1, 4)
    return blocks


def random_values(block_elems, rng):
    values = rng.standard_normal((24, block_elems)).astype(np.float32)
    values[0] = 0
    values[1] *= np.float32(1e-7)
    values[2] *= np.float32(1e4)
    values[3] = 1.5
    values[4] = np.linspace(-1, 1, block_elems, dtype=np.float32)
    values[5, ::2] = 0
    return values


def record(kind, code, values, blocks):
    blocks = np.ascontiguousarray(blocks).view(np.uint8).tobytes()
    values = np.ascontiguousarray(values, dtype="<f4").ravel()
    return struct.pack("<16sIII", kind.name.encode(), code, values.size, len(blocks)) + blocks + values.tobytes()


def main():
    rng = np.random.default_rng(20240607)
    out = []
    with np.errstate(all="ignore"):
        for kind, (offsets, elements) in DECODED.items():
            blocks = random_blocks(kind, offsets, elements, rng)
            out.append(record(kind, 0, quants.dequantize(blocks, kind), blocks))
        for kind in ENCODED:
            values = random_values(max(GGML_QUANT_SIZES[kind][0], 32), rng)
            out.append(record(kind, 1, values, quants.quantize(values, kind)))
    OUT.write_bytes(b"".join(out))
    print(f"{OUT}: {len(out)} records, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
