#!/usr/bin/env python3
"""Writes tests/unit/format/packages/: tiny files made by the `gguf` and `safetensors` packages, for test_packages.c.

    pip install numpy gguf safetensors ml_dtypes
    python tests/oracle/make_format_goldens.py

Tensor number t of a file holds t + 0, t + 1, … in its first elements, so that the test needs no second copy of the values.
"""
import json
import pathlib
import shutil

import gguf
import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[1] / "unit" / "format" / "packages"


def values(t, shape):
    return (np.arange(np.prod(shape, dtype=np.int64)) + t).astype(np.float32).reshape(shape)


def metadata(writer):
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -(2**62))
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.yes", True)
    writer.add_bool("t.no", False)
    writer.add_string("t.string", "grüße, 世界")
    writer.add_array("t.ints", [-1, 0, 2**30])
    writer.add_array("t.floats", [0.5, -2.0])
    writer.add_array("t.bools", [True, False, True])
    writer.add_array("t.strings", ["a", "ß", "longer than the others"])


def one_gguf(path):
    writer = gguf.GGUFWriter(path, "tiny")
    metadata(writer)
    writer.add_custom_alignment(64)
    writer.add_tensor("plain.f32", values(0, (3, 5)))
    writer.add_tensor("plain.f16", values(1, (2, 3, 4)).astype(np.float16))
    kinds = [gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.BF16]
    for t, kind in enumerate(kinds, 2):
        blocks = gguf.quants.quantize(values(t, (2, 64)), kind)
        writer.add_tensor(f"blocks.{kind.name}", blocks, raw_dtype=kind)
    writer.add_tensor("plain.vector", values(5, (7,)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def split_gguf(path):
    writer = gguf.GGUFWriter(path, "tiny", split_max_tensors=2)
    writer.add_string("t.string", "in the first part")
    for t in range(5):
        writer.add_tensor(f"part.{t}", values(t, (2, 4)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def safetensors_directory(path):
    import ml_dtypes

    path.mkdir()
    tensors = {
        "a.f32": values(0, (3, 5)), "a.f16": values(1, (2, 3, 4)).astype(np.float16),
        "a.bf16": values(2, (4, 2)).astype(ml_dtypes.bfloat16), "a.f64": values(3, (2,)).astype(np.float64),
        "a.i64": values(4, (3,)).astype(np.int64), "a.bool": np.array([True, False]),
        "a.f8": values(6, (2, 2)).astype(ml_dtypes.float8_e4m3fn), "a.empty": values(7, (0, 4)),
        "a.scalar": np.array(8, dtype=np.float32),
    }
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps({"model_type": "tiny", "limits": [0.0, float("inf")]}))
    (path / "chat_template.jinja").write_text("{{ messages }}\n")


def sharded_directory(path):
    path.mkdir()
    weight_map = {}
    for shard in range(2):
        name = f"model-{shard + 1:05}-of-00002.safetensors"
        tensors = {f"shard.{shard}.{t}": values(t, (2, 4)) for t in range(2)}
        save_file(tensors, path / name)
        weight_map.update({tensor: name for tensor in tensors})
    index = {"metadata": {"total_size": 128}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    one_gguf(OUT / "tiny.gguf")
    split_gguf(OUT / "split.gguf")
    safetensors_directory(OUT / "one")
    sharded_directory(OUT / "sharded")
    for path in sorted(OUT.rglob("*")):
        if path.is_file():
            print(path.relative_to(OUT), path.stat().st_size)


if __name__ == "__main__":
    main()
