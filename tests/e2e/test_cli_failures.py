"""What goes wrong around imp-cli: files, disks, pipes. Always one sentence, an exit code, and no trace of a crash."""

import os
import pty
import resource
import signal
import subprocess

import pytest
from conftest import GOLDEN, TOKENS, write_chat_model

FULL = "/dev/full"
CAPITALS = "ABCDEFGHIJKLMNOPRSTUVWX"


def failed(done, *words, code=1):
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("imp-cli: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("flags, words", [
    (["--model", "missing.gguf"], ["missing.gguf"]),
    (["--model", "/missing/model.gguf"], ["/missing/model.gguf", "No such file"]),
    (["--model", "."], ["."]),
    (["--model", "empty.gguf"], ["empty.gguf"]),
    (["--model", "text.gguf"], ["text.gguf"]),
])
def test_models_that_are_none(cli, home, flags, words):
    (home / "empty.gguf").write_bytes(b"")
    (home / "text.gguf").write_text("I am no model.\n" * 100)
    for more in (["--prompt", "x"], ["--tokenize", "--prompt", "x"], ["--bench"]):
        failed(cli(*flags, *more), *words)


def test_a_truncated_model(cli, home, ids_model):
    data = ids_model.read_bytes()
    for length in (10, 1000, len(data) // 2, len(data) - 1):
        (home / "cut.gguf").write_bytes(data[:length])
        failed(cli("--model", "cut.gguf", "--ids", GOLDEN / "llama" / "tokens.bin"), "cut.gguf")


def test_files_that_cannot_be_read(cli, home, chat_model, vocabulary):
    (home / "directory").mkdir()
    for flags in (["--prompt", "@missing"], ["--ids", "missing"], ["--perplexity", "missing"]):
        failed(cli("--model", chat_model, *flags), "missing", "No such file")
    for flags in (["--prompt", "@directory"], ["--ids", "directory"], ["--perplexity", "directory"]):
        failed(cli("--model", chat_model, *flags), "directory", "s a directory")
    failed(cli("--model", chat_model, "--prompt", "x", "--chat-template-file", "missing"), "missing", "No such file")
    failed(cli("--model", chat_model, "--prompt", "x", "--chat-template-file", "directory"), "directory")
    failed(cli("--render-chat", "missing", "--chat-template", "chatml"), "missing", "No such file")
    failed(cli("--model", vocabulary, "--prompt", "x"), "weights")


def test_prompts_that_are_none(cli, home, chat_model):
    failed(cli("--model", chat_model, "--prompt", ""), "the prompt is empty", code=2)
    failed(cli("--model", chat_model, stdin=""), "the prompt is empty", code=2)
    failed(cli("--model", chat_model, "--prompt", "@"), "expects the name of a file", code=2)
    failed(cli("--model", chat_model, stdin=b"a\0b"), "NUL")
    for content, word in ((b"", "0 bytes"), (b"\1\0\0", "3 bytes"), (b"\1\0\0\0\xff\0\0\0", "id 255 at position 1"),
                          (b"\xff\xff\xff\xff", "outside the vocabulary")):
        (home / "ids.bin").write_bytes(content)
        failed(cli("--model", chat_model, "--ids", "ids.bin"), word)


def test_what_a_template_refuses(cli, home, chat_model):
    (home / "strict.jinja").write_text("{{ raise_exception('no user may speak') }}")
    failed(cli("--model", chat_model, "--prompt", "x", "--chat-template-file", "strict.jinja"), "no user may speak")


def test_demands_that_cannot_be_met(cli, chat_model):
    failed(cli("--model", chat_model, "--prompt", "x", "--min-kv-tokens", "16000000"), "16000000")
    done = cli("--model", chat_model, "--prompt", "x", "--gpu-layers", "1")
    assert done.returncode in (1, 2) and done.stderr.startswith("imp-cli: ")


# ---- the other end -----------------------------------------------------------------------------------------------------


def every_output(chat_model, home):
    """Flags of every kind of output."""
    (home / "chat.json").write_text('{"messages": []}')
    (home / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 10)
    (home / "mine.jinja").write_text("hello {{ messages | length }}")
    model = ["--model", chat_model]
    return [["--help"], ["--version"], ["--list-devices"], ["--list-devices", "--json"], ["--print-reference", "markdown"],
            [*model, "--prompt", "hello"], [*model, "--prompt", "hello", "--json"], [*model, "--tokenize", "--prompt", "a"],
            [*model, "--detokenize", "--prompt", "[5]"], ["--render-chat", "chat.json", "--chat-template-file", "mine.jinja"],
            [*model, "--perplexity", "text.txt", "--max-seq-len", "64"],
            [*model, "--bench", "--bench-pp", "8", "--bench-reps", "1", "--set", "bench.generate_tokens=2"]]


@pytest.mark.skipif(not os.path.exists(FULL), reason="there is no /dev/full")
def test_full_disk(cli, home, chat_model):
    for flags in every_output(chat_model, home):
        with open(FULL, "wb") as full:
            done = cli(*flags, stdout=full)
        assert done.returncode == 1, flags
        assert "cannot write to standard output: No space left on device" in done.stderr, flags
        assert done.stderr.count("imp-cli: ") == 1


def test_closed_pipe(cli, home, chat_model):
    for flags in every_output(chat_model, home):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = cli(*flags, stdout=write_end)
        os.close(write_end)
        assert done.returncode == 1, flags
        assert "closed" in done.stderr and done.stderr.count("imp-cli: ") == 1, (flags, done.stderr)


def test_closed_standard_output(cli, chat_model):
    done = cli("--model", chat_model, "--prompt", "hello", stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1 and "cannot write to standard output" in done.stderr


@pytest.mark.skipif(not os.path.exists(FULL), reason="there is no /dev/full")
def test_dumps_on_a_full_disk(cli, home, chat_model):
    failed(cli("--model", chat_model, "--prompt", "hello", "--dump-logits", FULL), "cannot write /dev/full", "No space left")
    (home / "hidden").mkdir()
    (home / "hidden" / "layer_001.npy").symlink_to(FULL)
    failed(cli("--model", chat_model, "--prompt", "hello", "--dump-hidden", "hidden"), "layer_001.npy", "No space left")


def test_dumps_that_have_no_place(cli, home, chat_model):
    (home / "file").write_text("")
    failed(cli("--model", chat_model, "--prompt", "hello", "--dump-logits", "missing/out"), "missing/out")
    failed(cli("--model", chat_model, "--prompt", "hello", "--dump-logits", "."), "directory")
    failed(cli("--model", chat_model, "--prompt", "hello", "--dump-hidden", "missing/out"), "missing/out")
    failed(cli("--model", chat_model, "--prompt", "hello", "--dump-hidden", "file"), "file")


def test_a_reader_that_leaves_early(program, home, environment, chat_model):
    """`imp-cli … | head -c 100` ends long before the 32,768 tokens that the context would hold."""
    done = subprocess.run(f"'{program}' --model '{chat_model}' --prompt hello --raw --temperature 0 --max-tokens 0 | "
                          "head -c 100 >/dev/null; echo ${PIPESTATUS[0]}", shell=True, executable="/bin/bash", cwd=home,
                          env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n"
    assert done.stderr == "imp-cli: whoever read standard output has closed it\n"


def test_control_characters_do_not_reach_a_terminal(program, home, environment):
    """A model whose capital letters are control bytes, escape among them, in the byte-level alphabet."""
    tokens = [chr(256 + 30 + ord("A") - ord(token)) if token in CAPITALS else token for token in TOKENS]
    write_chat_model(home / "rude.gguf", tokens)
    command = [program, "--model", "rude.gguf", "--prompt", "hello", "--raw", "--temperature", "3", "--top-k", "0", "--top-p", "1",
               "--seed", "1", "--max-tokens", "600", "--quiet"]
    options = dict(cwd=home, env=environment, timeout=60, check=True)
    piped = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, **options).stdout
    controls = {byte for byte in piped if byte < 32 and byte not in b"\t\n"}
    assert len(controls) > 5 and 0x1B in controls
    master, slave = pty.openpty()
    subprocess.run(command, stdout=slave, stdin=subprocess.DEVNULL, **options)
    os.close(slave)
    shown = os.read(master, 1 << 16)
    os.close(master)
    assert not controls & set(shown.replace(b"\r\n", b"\n"))
    assert "\ufffd" in shown.decode()


def test_interrupt_ends_a_single_answer(program, home, environment, chat_model):
    process = subprocess.Popen([program, "--model", chat_model, "--bench", "--bench-reps", "10000"], cwd=home,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job ignores it
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    process.communicate()


def test_little_memory(cli, chat_model):
    """An address space that a context does not fit in gives a sentence."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (96 << 20, 96 << 20))

    done = cli("--model", chat_model, "--prompt", "hello", "--set", "runtime.prefill_chunk_size=65536", "--max-seq-len", "8000000",
               preexec_fn=limit)
    assert done.returncode == 1 and done.stderr.startswith("imp-cli: "), done.stderr
