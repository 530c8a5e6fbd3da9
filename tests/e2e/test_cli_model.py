"""imp-cli with tiny random models: answers, tokens, templates, dumps, perplexity, benchmarks."""

import json
import re
import struct

import pytest
from conftest import GOLDEN, TOKENS

IDS = {token: index for index, token in enumerate(TOKENS)}


def ids_of(text):
    return [IDS[{" ": "Ġ", "\n": "Ċ"}.get(character, character)] for character in text]


def succeeded(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def answer(cli, chat_model):
    """The answer to a prompt at temperature 0, with more flags behind it."""

    def run(*flags, **keywords):
        return cli("--model", chat_model, "--temperature", "0", "--max-tokens", "12", *flags, **keywords)

    return run


# ---- answers -------------------------------------------------------------------------------------------------------------


def test_the_answer_alone_is_on_standard_output(answer):
    done = answer("--prompt", "hello")
    text = succeeded(done)
    assert text.endswith("\n") and len(text) > 1
    assert re.fullmatch(r"\d+ tokens, [\d.]+ tok/s \(prompt: \d+ tokens, [\d.]+ tok/s\)(; cut at --max-tokens)?\n",
                        done.stderr), done.stderr
    assert "\x1b" not in done.stderr  # no bar and no colour without a terminal
    assert answer("--prompt", "hello", "--quiet").stderr == ""


def test_json_tells_what_the_text_does(answer):
    text = succeeded(answer("--prompt", "hello"))
    told = json.loads(succeeded(answer("--prompt", "hello", "--json")))
    assert told["text"].rstrip("\n") == text.rstrip("\n")
    assert told["generated_tokens"] <= 12 and told["stop"] in ("end", "length")
    rendered = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert told["prompt_tokens"] == len(re.findall(r"<\|im_\w+\|>|[^<]", rendered))
    raw = json.loads(succeeded(answer("--prompt", "hello", "--json", "--raw")))
    assert raw["prompt_tokens"] == 5


def test_where_the_prompt_comes_from(answer, home):
    expected = succeeded(answer("--prompt", "hello you"))
    (home / "question.txt").write_text("hello you\n")
    assert succeeded(answer("--prompt", "@question.txt")) == expected
    assert succeeded(answer(stdin="hello you\n")) == expected
    assert succeeded(answer(stdin="hello you\r\n")) == expected
    with open(home / "question.txt") as question:
        assert succeeded(answer(stdin=question)) == expected
    (home / "at").write_text("aaa")
    assert json.loads(succeeded(answer("--raw", "--json", "--prompt", "@at")))["prompt_tokens"] == 3


def test_the_template_is_the_models_unless_told_otherwise(answer, home):
    (home / "mine.jinja").write_text("{{ messages[-1].content }}")
    raw = succeeded(answer("--prompt", "hello", "--raw"))
    assert succeeded(answer("--prompt", "hello", "--chat-template", "none")) == raw
    assert succeeded(answer("--prompt", "hello", "--chat-template-file", "mine.jinja")) == raw
    templated = succeeded(answer("--prompt", "hello"))
    assert templated != raw
    assert succeeded(answer("--prompt", "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", "--raw")) == templated
    assert succeeded(answer("--prompt", "hello", "--chat-template", "chatml")) == templated
    assert succeeded(answer("--prompt", "hello", "--system", "be brief")) != templated


def test_debug_template_and_dump_tokens(answer):
    done = answer("--prompt", "hello", "--set", "diagnostics.debug_template=true", "--set", "diagnostics.dump_tokens=true")
    succeeded(done)
    assert "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n" in done.stderr
    tokens = json.loads(re.search(r"tokens: (\[.*\])", done.stderr)[1])
    assert tokens[: 1 + 5] == [IDS["<|im_start|>"], *ids_of("user\n")]


def test_debug_forward(answer):
    done = answer("--prompt", "hello", "--raw", "--max-tokens", "1", "--set", "diagnostics.debug_forward=true")
    succeeded(done)
    layers = re.findall(r"^layer +(-?\d+): 5 rows, rms ([\d.e-]+), largest ([\d.e-]+)$", done.stderr, re.M)
    assert [int(layer[0]) for layer in layers] == [-1, 0, 1, 2]
    assert all(0 < float(rms) <= float(largest) for _, rms, largest in layers)


def test_seed_and_temperature(answer, cli, chat_model):
    assert succeeded(answer("--prompt", "hello")) == succeeded(answer("--prompt", "hello"))
    draw = ["--model", chat_model, "--prompt", "hello", "--raw", "--max-tokens", "30", "--temperature", "2", "--top-k", "0",
            "--top-p", "1"]
    first = succeeded(cli(*draw, "--seed", "1"))
    assert succeeded(cli(*draw, "--seed", "1")) == first
    assert succeeded(cli(*draw, "--seed", "2")) != first
    assert succeeded(cli(*draw)) != succeeded(cli(*draw))  # a seed of its own each time


def test_one_candidate_is_greedy(answer, cli, chat_model):
    greedy = succeeded(answer("--prompt", "hello", "--raw"))
    for flags in (["--top-k", "1"], ["--top-p", "0"], ["--min-p", "1"], ["--temperature", "0.0001"]):
        done = cli("--model", chat_model, "--prompt", "hello", "--raw", "--max-tokens", "12", "--temperature", "1", *flags)
        assert succeeded(done) == greedy, flags


@pytest.mark.parametrize("flags", [["--repeat-penalty", "5"], ["--presence-penalty", "50"], ["--frequency-penalty", "50"],
                                   ["--dry-multiplier", "50", "--dry-allowed-length", "1", "--dry-base", "2"],
                                   ["--repeat-penalty", "5", "--repeat-last-n", "-1"]])
def test_penalties_change_a_greedy_text(answer, flags):
    plain = succeeded(answer("--prompt", "aaaaaaaa", "--raw", "--max-tokens", "40"))
    assert succeeded(answer("--prompt", "aaaaaaaa", "--raw", "--max-tokens", "40", *flags)) != plain
    off = ["--repeat-last-n", "0", "--dry-penalty-last-n", "0"]
    assert succeeded(answer("--prompt", "aaaaaaaa", "--raw", "--max-tokens", "40", *flags[:2], *off)) == plain


@pytest.mark.parametrize("flags", [["--mirostat", "2"], ["--typical-p", "0.5"], ["--min-p", "0.2"],
                                   ["--set", "sampling.order=top_k,temperature"]])
def test_samplers_run(cli, chat_model, flags):
    draw = ["--model", chat_model, "--prompt", "hello", "--raw", "--seed", "7", "--temperature", "1", *flags]
    assert succeeded(cli(*draw)) == succeeded(cli(*draw))


def test_max_tokens_and_stop(answer):
    told = json.loads(succeeded(answer("--prompt", "hello", "--raw", "--json", "--max-tokens", "40")))
    text = told["text"]
    assert told["generated_tokens"] == 40 and told["stop"] == "length"
    assert json.loads(succeeded(answer("--prompt", "hello", "--raw", "--json", "--max-tokens", "3")))["text"] == text[:3]
    stop = text[10:12]
    cut = json.loads(succeeded(answer("--prompt", "hello", "--raw", "--json", "--max-tokens", "40", "--stop", "zz~",
                                      "--stop", stop)))
    assert cut["text"] == text[: text.index(stop)] and cut["stop"] == "stop string"


def test_the_context_is_bounded(answer, home):
    told = json.loads(succeeded(answer("--prompt", "hello", "--raw", "--json", "--max-seq-len", "20", "--max-tokens", "0")))
    assert told["stop"] in ("context", "end") and told["generated_tokens"] <= 16
    done = answer("--prompt", "a" * 50, "--raw", "--max-seq-len", "20")
    assert done.returncode == 1 and done.stdout == "" and "20" in done.stderr


def test_text_does_not_depend_on_chunks_threads_or_batch(answer):
    expected = succeeded(answer("--prompt", "what is the answer to all of this?"))
    for flags in (["--prefill-chunk-size", "1"], ["--prefill-chunk-size", "7"], ["--threads", "1"], ["--threads", "2"],
                  ["--set", "runtime.max_batch_size=8"], ["--set", "runtime.warmup=true"], ["--min-kv-tokens", "100"],
                  ["--set", "cpu.isa=portable"], ["--set", "cpu.repack=never"], ["--device", "cpu"], ["--gpu-layers", "0"],
                  ["--set", "runtime.deterministic=true"], ["--kv-fp16"]):
        assert succeeded(answer("--prompt", "what is the answer to all of this?", *flags)) == expected, flags


def test_key_value_types(answer):
    for dtype in ("fp16", "bf16", "fp32"):
        succeeded(answer("--prompt", "hello", "--set", f"kv_cache.dtype={dtype}"))
    done = answer("--prompt", "hello", "--set", "kv_cache.dtype=nvfp4", "--device", "cpu")
    assert done.returncode == 1 and "kv_cache.dtype" in done.stderr and "the CPU keeps" in done.stderr


def test_a_model_without_a_vocabulary_speaks_ids(cli, ids_model):
    prompt = GOLDEN / "llama" / "tokens.bin"
    done = cli("--model", ids_model, "--ids", prompt, "--temperature", "0", "--max-tokens", "5")
    assert len(json.loads(succeeded(done))) <= 5
    done = cli("--model", ids_model, "--prompt", "hello")
    assert done.returncode == 1 and "--ids" in done.stderr


# ---- tokens and templates ----------------------------------------------------------------------------------------------


def test_tokenize(cli, vocabulary):
    tokenize = ["--model", vocabulary, "--tokenize"]
    assert json.loads(succeeded(cli(*tokenize, "--prompt", "hello you"))) == ids_of("hello you")
    assert json.loads(succeeded(cli(*tokenize, stdin="a\n"))) == ids_of("a\n")  # as it is
    assert json.loads(succeeded(cli(*tokenize, stdin=""))) == []
    assert json.loads(succeeded(cli(*tokenize, "--prompt", "a<|im_end|>"))) == [IDS["a"], IDS["<|im_end|>"]]
    plain = json.loads(succeeded(cli(*tokenize, "--prompt", "a</s>", "--no-parse-special")))
    assert IDS["</s>"] not in plain


def test_detokenize(cli, vocabulary):
    detokenize = ["--model", vocabulary, "--detokenize"]
    ids = [IDS["<|im_start|>"], *ids_of("hello\nyou "), IDS["<|im_end|>"]]
    assert succeeded(cli(*detokenize, "--prompt", json.dumps(ids))) == "<|im_start|>hello\nyou <|im_end|>"
    assert succeeded(cli(*detokenize, stdin=" [ ] \n")) == ""
    for wrong in ("1, 2", "[1, 2", "[1 2]", "[-1]", "[1.5]", '["a"]', "[1,]", "[99999999999]", "[1] 2"):
        done = cli(*detokenize, stdin=wrong)
        assert done.returncode == 1 and "JSON array" in done.stderr, wrong
    done = cli(*detokenize, stdin="[5000]")
    assert done.returncode == 1 and "5000" in done.stderr
    done = cli(*detokenize, "--jsonl", stdin="[1]\n[5000]\n")
    assert done.returncode == 1 and "line 2" in done.stderr and "5000" in done.stderr


def test_jsonl(cli, vocabulary):
    lines = ["hello", "", "a\nb", "tab:\t", "é\u2028\U0001f600\x7f\0", 'quote"\\/']
    text = "".join(json.dumps(line, ensure_ascii=flag) + "\n" for line in lines for flag in (True, False))
    out = succeeded(cli("--model", vocabulary, "--tokenize", "--jsonl", stdin=text)).splitlines()
    assert len(out) == 2 * len(lines)
    assert out[0::2] == out[1::2]
    assert json.loads(out[0]) == ids_of("hello") and json.loads(out[2]) == []
    ids = [ids_of("a\nb"), [], [IDS["</s>"]]]
    text = "".join(json.dumps(line) + "\n" for line in ids)
    out = succeeded(cli("--model", vocabulary, "--detokenize", "--jsonl", stdin=text)).splitlines()
    assert [json.loads(line) for line in out] == ["a\nb", "", "</s>"]


@pytest.mark.parametrize("line, word", [("hello", "expected a JSON string"), ('"a', "no closing quote"),
                                        ('"a" b', "something follows"), ('"\\x"', "escape"), ('"\\u12"', "escape"),
                                        ('"a\tb"', "control character"), ("", "expected a JSON string"),
                                        ("[1]", "expected a JSON string")])
def test_jsonl_errors_name_the_line(cli, vocabulary, line, word):
    done = cli("--model", vocabulary, "--tokenize", "--jsonl", stdin=f'"a"\n{line}\n')
    assert done.returncode == 1 and json.loads(done.stdout) == ids_of("a")
    assert done.stderr.startswith("imp-cli: line 2: ") and word in done.stderr


def test_surrogates_in_json(cli, vocabulary):
    """A pair is one character, a lone half is U+FFFD."""
    pair, lone, replacement = (succeeded(cli("--model", vocabulary, "--tokenize", "--jsonl", stdin=text))
                               for text in ('"a\\ud83d\\ude00"\n"a\U0001f600"\n', '"a\\ud83db"\n"a\\ude00\\ud83d"\n',
                                            '"a\ufffdb"\n"a\ufffd\ufffd"\n'))
    assert len(set(pair.splitlines())) == 1
    assert lone == replacement


def test_render_chat(cli, chat_model, home):
    chat = {"messages": [{"role": "user", "content": "a\n<b>"}], "add_generation_prompt": True, "name": "é"}
    (home / "chat.json").write_text(json.dumps(chat))
    render = ["--render-chat", "chat.json"]
    expected = "<|im_start|>user\na\n<b><|im_end|>\n<|im_start|>assistant\n"
    assert succeeded(cli(*render, "--model", chat_model)) == expected
    assert succeeded(cli("--render-chat", "-", "--model", chat_model, stdin=json.dumps(chat))) == expected
    (home / "mine.jinja").write_text("{{ name }}|{{ messages | length }}")
    assert succeeded(cli(*render, "--chat-template-file", "mine.jinja")) == "é|1"
    (home / "wrong.jinja").write_text("\n{{ 1 + }}")
    done = cli(*render, "--chat-template-file", "wrong.jinja")
    assert done.returncode == 1 and "line 2" in done.stderr and done.stdout == ""
    (home / "wrong.json").write_text("{]")
    done = cli("--render-chat", "wrong.json", "--chat-template", "chatml")
    assert done.returncode == 1 and done.stdout == ""
    done = cli(*render, "--chat-template", "none")
    assert done.returncode == 2 and "expects a template" in done.stderr


# ---- looking inside ------------------------------------------------------------------------------------------------------


def floats(path, offset=0):
    data = path.read_bytes()[offset:]
    return struct.unpack(f"<{len(data) // 4}f", data)


def read_npy(path):
    data = path.read_bytes()
    assert data[:10] == b"\x93NUMPY\x01\x00\x76\x00"
    header = data[10:128].decode()
    assert header.endswith(" \n")
    shape = eval(header)["shape"]  # a Python literal by definition
    values = floats(path, 128)
    assert len(values) == shape[0] * shape[1]
    return shape, values


def test_dump_hidden(cli, home, ids_model):
    tokens = GOLDEN / "llama" / "tokens.bin"
    width = json.loads((GOLDEN / "llama" / "config.json").read_text())["hidden_size"]
    for chunk in (512, 7):
        done = cli("--model", ids_model, "--ids", tokens, "--dump-hidden", f"out{chunk}", "--prefill-chunk-size", chunk)
        assert succeeded(done) == ""
    names = sorted(path.name for path in (home / "out512").iterdir())
    assert names == ["embedding.npy", "final_norm.npy", "layer_000.npy", "layer_001.npy"]
    for name in names:
        assert read_npy(home / "out512" / name)[0] == (60, width)
        assert (home / "out512" / name).read_bytes() == (home / "out7" / name).read_bytes()


def test_dumps_go_with_an_answer_when_one_is_asked_for(cli, home, chat_model):
    flags = ["--model", chat_model, "--prompt", "hello", "--raw", "--temperature", "0", "--dump-logits", "out.bin"]
    assert succeeded(cli(*flags)) == ""
    assert len(floats(home / "out.bin")) == 5 * 76
    both = succeeded(cli(*flags, "--max-tokens", "4", "--dump-hidden", "hidden"))
    assert both == succeeded(cli(*flags[:-2], "--max-tokens", "4"))
    assert len(floats(home / "out.bin")) == 5 * 76
    assert read_npy(home / "hidden" / "layer_000.npy")[0][0] == 5


def test_perplexity(cli, home, chat_model):
    (home / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 10)
    flags = ["--model", chat_model, "--perplexity", "text.txt", "--max-seq-len", "64"]
    told = json.loads(succeeded(cli(*flags, "--json")))
    assert told["windows"] == 450 // 64 and told["tokens"] == (450 // 64) * 32 and told["window"] == 64
    assert 20 < told["perplexity"] < 1000  # random weights over 76 tokens
    assert abs(float(succeeded(cli(*flags))) - told["perplexity"]) < 1e-3
    (home / "short.txt").write_text("short")
    done = cli("--model", chat_model, "--perplexity", "short.txt")
    assert done.returncode == 1 and done.stdout == ""


def test_bench(cli, ids_model):
    flags = ["--model", ids_model, "--bench", "--bench-pp", "32", "--bench-reps", "2", "--set", "bench.generate_tokens=8"]
    table = succeeded(cli(*flags))
    assert re.search(r"^pp32 +[\d.]+ ", table, re.M) and re.search(r"^tg8 +[\d.]+ ", table, re.M)
    told = json.loads(succeeded(cli(*flags, "--json", "--set", "runtime.max_batch_size=3", "--set", "bench.depth=16")))
    results = told["results"]
    assert [result["test"] for result in results] == ["pp32 @ d16", "tg8 @ d16", "tg8 @ d16 x 3"]
    assert [result["sequences"] for result in results] == [1, 1, 3]
    assert all(result["tokens_per_second"] > 0 and result["reps"] == 2 for result in results)
    assert told["machine"]["read_bytes_per_second"] > 0 and told["model"]["architecture"] == "llama"
    only = json.loads(succeeded(cli(*flags, "--json", "--bench-pp", "0")))
    assert [result["test"] for result in only["results"]] == ["tg8"]
    done = cli(*flags, "--bench-pp", "0", "--set", "bench.generate_tokens=0")
    assert done.returncode == 2 and "nothing to measure" in done.stderr
