#!/usr/bin/env python3
"""check_instructions.py - the kernels of each tier hold the instructions that the tier is for.

    check_instructions.py BUILD

Disassembles what BUILD (a CMake build with the GPU backend, all tiers) made of a few files. A kernel that compiles to
something slower, because a macro or a flag of the compiler has changed, gives right results on every GPU: only its
machine code shows it. No GPU is needed; cuobjdump and nvdisasm come with the CUDA toolkit or from PyPI.
"""

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys

# Scales are the fifth and sixth operand, registers both, and the selectors the seventh.
SCALED = r"R\d+, R\d+, R\d+, (R\d+|RZ), R\d+, R\d+, UR(Z|\d+)"

# File, tier, kernels by name, what each of them must hold (all of a list), what the file must hold, what none may.
RULES = [
    ("gemm_block_scaled", "sm_120a", "block_scaled_kernel", [r"[OQ]MMA\.SF\.", r"LDSM", r"LDGSTS"],
     [r"OMMA\.SF\.16864\.F32\.E2M1\.E2M1\.UE4M3\.4X " + SCALED, r"QMMA\.SF\.16832\.F32\.E2M1\.E4M3\.E8 " + SCALED],
     [r"\bHMMA", r"\bLDL", r"\bSTL"]),
    ("gemm_hopper", "sm_90a", "dense_kernel", [r"HGMMA\.64x256x16\.F32\.BF16", r"UTMALDG", r"USETMAXREG"], [],
     [r"\bLDL", r"\bSTL"]),
    ("attention_prompt_hopper", "sm_90a", "prompt", [r"HGMMA\."], [], []),
]


def disassembler():
    """cuobjdump's path; nvdisasm, which it calls, is put on PATH."""
    if shutil.which("cuobjdump") and shutil.which("nvdisasm"):
        return "cuobjdump"
    found = {}
    for name in ("cuobjdump", "nvdisasm"):
        for file in importlib.metadata.files(f"nvidia-cuda-{name}") or []:
            if file.name == name:
                found[name] = pathlib.Path(file.locate()).resolve()
    os.environ["PATH"] = f"{found['nvdisasm'].parent}:{os.environ['PATH']}"
    return str(found["cuobjdump"])


def kernels_of(tool, path, tier):
    """{name: machine code} of the functions in an object file."""
    text = subprocess.run([tool, "-sass", "-arch", tier, path], check=True, capture_output=True, text=True).stdout
    parts = re.split(r"^\s*Function : (\S+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def check(tool, build, rule):
    """Sentences about what is wrong."""
    file, tier, name, each, together, never = rule
    path = pathlib.Path(build, "CMakeFiles/imp_kernels.dir/src/compute/cuda", f"{file}.cu.o")
    if not path.exists():
        return [f"{path} was not built"]
    kernels = {k: v for k, v in kernels_of(tool, path, tier).items() if name in k}
    if not kernels:
        return [f"{file} has no {name} for {tier}: was that tier compiled?"]
    wrong = []
    for kernel, code in kernels.items():
        wrong += [f"{kernel} ({tier}) holds no {pattern}" for pattern in each if not re.search(pattern, code)]
        wrong += [f"{kernel} ({tier}) holds {pattern}" for pattern in never if re.search(pattern, code)]
    everything = "".join(kernels.values())
    wrong += [f"{file} ({tier}) holds no {pattern}" for pattern in together if not re.search(pattern, everything)]
    print(f"{file}: {len(kernels)} kernels for {tier}{'' if wrong else ', as they should be'}")
    return wrong


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tool = disassembler()
    wrong = [sentence for rule in RULES for sentence in check(tool, sys.argv[1], rule)]
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


main()
