"""What the end-to-end tests share: the built programs, tiny models that know text, and the real models.

IMP_BUILD names another build directory than build/, IMP_MODELS another models directory than ~/.cache/imp.
"""

import json
import os
import subprocess
from pathlib import Path

import gguf
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("IMP_BUILD", ROOT / "build"))


def run_cli(*arguments, **options):
    """Runs imp-cli without a terminal; the caller looks at the exit code."""
    command = [BUILD / "bin/imp-cli", *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, **options)


def answer(*arguments):
    """Standard output of a run that must succeed."""
    result = run_cli(*arguments)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def fetch(name):
    """The path of a real model; skips the test only when it cannot be fetched."""
    result = subprocess.run([ROOT / "scripts/fetch_model.sh", name], capture_output=True, text=True, timeout=600)
    if result.returncode != 0:
        pytest.skip(f"{name} cannot be fetched: {result.stderr.strip()[-300:]}")
    return Path(result.stdout.strip())


@pytest.fixture(scope="session")
def smollm2():
    return fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def gemma3():
    return fetch("gemma-3-270m")


# ---- tiny models, and a home where nobody's imp.conf gets in ----

GOLDEN = ROOT / "tests" / "oracle" / "golden"

# One token a character: the byte-level alphabet writes space as Ġ and line feed as Ċ. "QZ" is the one merge.
CHARACTERS = "ĠĊabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXZ0123456789.,:;!?-"
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *CHARACTERS, "QZ"]
assert len(TOKENS) == 76  # the rows of the golden models
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def program():
    return BUILD / "bin" / "imp-cli"


@pytest.fixture
def home(tmp_path):
    """A directory that is both home and working directory: nobody's imp.conf gets in."""
    return tmp_path


@pytest.fixture
def environment(home):
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS") if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "xterm"}


@pytest.fixture
def cli(program, home, environment):
    """cli("--flag", …, stdin="text", env={…}) runs the program and returns what it did; text in, text out."""

    def run(*arguments, stdin="", env=None, binary=False, timeout=60, **keywords):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        keywords.setdefault("stdout", subprocess.PIPE)
        if not hasattr(stdin, "fileno") and "stdin" not in keywords:
            keywords["input"] = stdin
        else:
            keywords["stdin"] = stdin
        done = subprocess.run([program, *map(str, arguments)], stderr=subprocess.PIPE, cwd=home,
                              env={**environment, **(env or {})}, timeout=timeout, **keywords)
        done.stderr = done.stderr.decode()
        if not binary and done.stdout is not None:
            done.stdout = done.stdout.decode()
        return done

    return run


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """A directory with a tokenizer and no weights."""
    directory = tmp_path_factory.mktemp("vocabulary")
    added = [{"id": index, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False} for index, token in enumerate(SPECIAL)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (directory / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {token: index for index, token in enumerate(TOKENS)}, "merges": ["Q Z"]}}))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "<|im_end|>",
        "unk_token": "<unk>", "chat_template": CHATML}))
    return directory


def write_chat_model(path, tokens):
    """The golden model's random weights with a vocabulary and a template: it babbles, but the same babble every time."""
    golden = gguf.GGUFReader(GOLDEN / "llama" / "model.gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for field in golden.fields.values():
        if field.name == "llama.context_length":
            writer.add_context_length(32768)  # long enough to be interrupted
        elif field.name.startswith("llama."):
            writer.add_key_value(field.name, field.contents(), field.types[0])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges(["Q Z"])
    writer.add_bos_token_id(SPECIAL.index("<s>"))
    writer.add_eos_token_id(SPECIAL.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    for tensor in golden.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("chat-model") / "babble.gguf"
    write_chat_model(path, TOKENS)
    return path


@pytest.fixture(scope="session")
def ids_model():
    """A GGUF file without a vocabulary."""
    return GOLDEN / "llama" / "model.gguf"
