"""imp-cli without a model: flags, configuration, reference pages, completions."""

import json
import re
import shutil
import subprocess

import pytest
from conftest import ROOT

FLAGS = """--model --device --gpu-layers --config --set --prompt --max-tokens --max-seq-len --min-kv-tokens --interactive
--stop --chat-template --chat-template-file --temperature --top-k --top-p --min-p --typical-p --repeat-penalty
--repeat-last-n --frequency-penalty --presence-penalty --seed --dry-multiplier --dry-base --dry-allowed-length
--dry-penalty-last-n --mirostat --prefill-chunk-size --kv-fp16 --bench --bench-pp --bench-reps --json --list-devices
--version --help --threads --ids --raw --dump-hidden --dump-logits --perplexity --tokenize --detokenize --jsonl
--add-special --no-parse-special --render-chat""".split()


def refused(done, *words, code=2):
    """One sentence on standard error, nothing on standard output."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("imp-cli: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_help_tells_every_flag(cli):
    for flag in ("--help", "-h"):
        done = cli(flag)
        assert done.returncode == 0 and done.stderr == ""
        told = set(re.findall(r"--[a-z0-9-]+", done.stdout))
        assert set(FLAGS) <= told
        assert max(map(len, done.stdout.splitlines())) <= 110
    assert "(default 256)" in done.stdout and "(default 0.7)" in done.stdout
    assert "(default 0.9)" in done.stdout and "(default 40)" in done.stdout


def test_version(cli):
    assert re.fullmatch(r"imp-cli \d+\.\d+\.\d+\n", cli("--version").stdout)


def test_help_and_version_do_not_read_the_configuration(cli, home):
    (home / "imp.conf").write_text("nonsense")
    assert cli("--help").returncode == 0
    assert cli("--version").returncode == 0


@pytest.mark.parametrize("wrong, right", [("--temprature", "--temperature"), ("--topk", "--top-k"), ("--modle", "--model"),
                                          ("--max_tokens", "--max-tokens"), ("-z", "--"), ("--stopp=x", "--stop")])
def test_unknown_flag_names_the_nearest(cli, wrong, right):
    refused(cli(wrong, "1"), f"there is no flag {wrong.split('=')[0]}; the nearest is {right}")


@pytest.mark.parametrize("flag", ["--model", "--prompt", "--top-p", "--set", "--config", "--stop", "--seed", "--ids"])
def test_missing_argument(cli, flag):
    refused(cli(flag), f"{flag} expects ")
    refused(cli(flag, "--json"), f"{flag} expects ", "--json is a flag")


def test_argument_forms(cli):
    refused(cli("--json=yes"), "--json is a switch")
    refused(cli("hello"), '"hello"', "--prompt")
    refused(cli("--top-p", "-1"), "sampling.top_p = -1 is out of range: 0 to 1")
    refused(cli("--top-p=2"), "sampling.top_p = 2 is out of range: 0 to 1")


@pytest.mark.parametrize("flag, value, sentence", [
    ("--temperature", "hot", "sampling.temperature expects a number"),
    ("--temperature", "-0.1", "out of range: 0 to 100"),
    ("--top-k", "1.5", "sampling.top_k expects a whole number"),
    ("--top-k", "-1", "out of range: 0 to"),
    ("--min-p", "1.01", "out of range: 0 to 1"),
    ("--typical-p", "2", "out of range: 0 to 1"),
    ("--repeat-penalty", "0", "out of range: 0.01 to 100"),
    ("--repeat-last-n", "-2", "out of range: -1 to"),
    ("--frequency-penalty", "nan", "expects a number"),
    ("--presence-penalty", "1e9", "out of range: -100 to 100"),
    ("--seed", "-2", "out of range: at least -1"),
    ("--seed", "99999999999999999999", "expects a whole number"),
    ("--dry-multiplier", "-1", "out of range: 0 to 100"),
    ("--dry-base", "0.5", "out of range: 1 to 100"),
    ("--dry-allowed-length", "-1", "out of range: 0 to"),
    ("--dry-penalty-last-n", "-2", "out of range: -1 to"),
    ("--mirostat", "1", "out of range: 0 or 2"),
    ("--max-tokens", "-1", "out of range: 0 to"),
    ("--max-seq-len", "x", "expects a whole number"),
    ("--min-kv-tokens", "-5", "out of range: 0 to"),
    ("--prefill-chunk-size", "65537", "out of range: 0 to"),
    ("--gpu-layers", "-2", "out of range: -1 to"),
    ("--threads", "9999", "out of range: 0 to 1024"),
    ("--bench-pp", "-1", "out of range: 0 to"),
    ("--bench-reps", "0", "out of range: 1 to"),
    ("--device", "gpu", "is none of auto, cpu,"),
    ("--chat-template", "chatlm", "the nearest is chatml"),
])
def test_bad_values(cli, flag, value, sentence):
    refused(cli(flag, value), f"imp-cli: {flag}: ", sentence)


def test_stop_is_given_up_to_four_times(cli):
    refused(cli(*["--stop", "x"] * 5), "at most 4")
    refused(cli("--stop", ""), "--stop: generation.stop has an empty entry")


@pytest.mark.parametrize("flags, words", [
    (["--tokenize", "--bench"], ["--bench", "--tokenize", "choose one"]),
    (["--tokenize", "--detokenize"], ["choose one"]),
    (["--jsonl"], ["--jsonl expects --tokenize, --detokenize or --check-constraint"]),
    (["--jsonl", "--tokenize", "--prompt", "x"], ["leave out --prompt"]),
    (["--add-special"], ["--add-special expects --tokenize"]),
    (["--no-parse-special"], ["--no-parse-special expects"]),
    (["--ids", "x", "--prompt", "y"], ["choose one"]),
    (["--ids", "x", "--interactive"], ["--ids does not go with --interactive"]),
    (["--dump-logits", "x", "--bench"], ["--dump-logits does not go with --bench"]),
    (["--json", "--interactive"], ["--json does not go with --interactive"]),
])
def test_combinations_that_make_no_sense(cli, flags, words):
    refused(cli(*flags), *words)


# ---- the configuration -------------------------------------------------------------------------------------------------


def test_configuration_errors_name_file_line_and_nearest_key(cli, home):
    (home / "imp.conf").write_text("[sampling]\n\ntemprature = 1\n")
    refused(cli("--tokenize"), "imp.conf:3: there is no key sampling.temprature; the nearest is sampling.temperature")
    (home / "imp.conf").write_text("[sampling]\ntop_p = 2\n")
    refused(cli("--tokenize"), "imp.conf:2: sampling.top_p = 2 is out of range: 0 to 1")


def test_configuration_precedence(cli, home):
    """Each file asks for another impossible thing: which sentence comes tells which file was read."""
    (home / ".config" / "imp").mkdir(parents=True)
    (home / ".config" / "imp" / "imp.conf").write_text("[sampling]\ntop_k = -4\n")
    refused(cli("--tokenize"), ".config/imp/imp.conf:2: sampling.top_k = -4")
    (home / "imp.conf").write_text("[sampling]\ntop_k = -3\n")
    refused(cli("--tokenize"), "imp-cli: imp.conf:2: sampling.top_k = -3")
    (home / "named.conf").write_text("[sampling]\ntop_k = -2\n")
    refused(cli("--tokenize", env={"IMP_CONFIG": "named.conf"}), "$IMP_CONFIG: named.conf:2: sampling.top_k = -2")
    (home / "given.conf").write_text("[sampling]\ntop_k = -1\n")
    refused(cli("--tokenize", "--config", "given.conf", env={"IMP_CONFIG": "named.conf"}),
            "given.conf:2: sampling.top_k = -1")


def test_set_goes_over_the_file_and_flags_over_set(cli, home, vocabulary):
    """A template by name is seen in what --render-chat prints."""
    (home / "imp.conf").write_text("[generation]\nchat_template = \"llama2\"\n")
    (home / "chat.json").write_text(json.dumps({"messages": [{"role": "user", "content": "a"}], "bos_token": "<s>"}))
    render = ["--render-chat", "chat.json"]
    assert "[INST]" in cli(*render).stdout
    set_phi = ["--set", "generation.chat_template=phi"]
    assert "<|user|>" in cli(*render, *set_phi).stdout
    assert "<|im_start|>" in cli(*render, "--chat-template", "chatml", *set_phi).stdout


def test_every_built_in_template_is_there(cli, home):
    (home / "chat.json").write_text(json.dumps({"messages": [{"role": "user", "content": "tell me"}], "bos_token": "<s>"}))
    for name in ("chatml", "llama2", "llama3", "nemotron", "gemma", "deepseek_r1", "phi"):
        done = cli("--render-chat", "chat.json", "--chat-template", name)
        assert done.returncode == 0 and "tell me" in done.stdout, name


def test_configuration_files_that_cannot_be_read(cli, home):
    refused(cli("--config", "missing.conf", "--tokenize"), "missing.conf", "No such file", code=1)
    refused(cli("--tokenize", env={"IMP_CONFIG": "missing.conf"}), "$IMP_CONFIG: missing.conf", code=1)
    refused(cli("--config", ".", "--tokenize"), "directory", code=1)
    (home / "binary.conf").write_bytes(b"[sampling]\ntop_k = \x00\n")
    refused(cli("--config", "binary.conf", "--tokenize"), "binary.conf:2:", "0x00")


def established_keys():
    """The keys that users of the established imp.conf have: they are in the example, one line each."""
    keys, section = {}, None
    for line in (ROOT / "imp.conf.example").read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.fullmatch(r"#(\w+) = (.*)", line):
            keys[f"{section}.{match[1]}"] = match[2]
    return keys


def test_keys_without_a_mechanism_stop_the_program(cli):
    keys = established_keys()
    assert len(keys) > 130
    planned = 0
    for key, default in keys.items():
        done = cli("--set", f"{key}={default}", "--list-devices")
        if done.returncode == 0:
            continue
        assert done.stderr == f"imp-cli: --set: {key}: its mechanism is not built yet\n"
        planned += 1
    assert 0 < planned < len(keys)


def test_example_is_a_valid_configuration(cli, home):
    """As it stands, and with every key that can be set taken out of its comment."""
    example = (ROOT / "imp.conf.example").read_text()
    (home / "imp.conf").write_text(example)
    assert cli("--list-devices").returncode == 0
    paragraphs = []
    for paragraph in example.split("\n\n"):
        settable = "# (not built yet)" not in paragraph
        paragraphs.append(re.sub(r"^#(\w+ = )", r"\1", paragraph, flags=re.M) if settable else paragraph)
    (home / "imp.conf").write_text("\n\n".join(paragraphs))
    done = cli("--list-devices")
    assert done.returncode == 0, done.stderr


# ---- made from the tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, path", [("markdown", "docs/configuration.md"), ("example", "imp.conf.example"),
                                        ("man-cli", "man/imp-cli.1"), ("man-conf", "man/imp.conf.5"),
                                        ("bash", "completions/imp-cli.bash"), ("zsh", "completions/_imp-cli")])
def test_reference_files_are_up_to_date(cli, kind, path):
    done = cli("--print-reference", kind)
    assert done.returncode == 0
    assert done.stdout == (ROOT / path).read_text(), f"{path} differs from the tables: run `ninja reference`"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", ["imp-cli.1", "imp.conf.5"])
def test_manual_pages_are_well_formed(page):
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", ROOT / "man" / page], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def complete(words):
    """What bash offers for the last of the words."""
    script = f"source '{ROOT}/completions/imp-cli.bash'; compopt() {{ :; }}; COMP_WORDS=({' '.join(map(repr, words))}); " \
             f"COMP_CWORD={len(words) - 1}; _imp_cli; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completion():
    assert complete(["imp-cli", "--temp"]) == ["--temperature"]
    assert set(FLAGS) <= set(complete(["imp-cli", "--"]))
    assert complete(["imp-cli", "--chat-template", "ch"]) == ["chatml"]
    assert complete(["imp-cli", "--set", "sampling.top_"]) == ["sampling.top_k=", "sampling.top_p="]
    assert complete(["imp-cli", "--set", "moe."]) == []
    assert complete(["imp-cli", "--top-k", ""]) == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completion_is_well_formed():
    done = subprocess.run(["zsh", "-n", ROOT / "completions" / "_imp-cli"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


# ---- devices, short names ------------------------------------------------------------------------------------------------


def test_list_devices(cli):
    done = cli("--list-devices")
    assert done.returncode == 0 and re.search(r"^cpu ", done.stdout, re.M)
    devices = json.loads(cli("--list-devices", "--json").stdout)
    assert devices[-1]["name"] == "cpu" and devices[-1]["cores"] >= 1 and devices[-1]["memory_bytes"] > 0


def test_model_names(cli, home, ids_model):
    refused(cli("--prompt", "x"), "--model expects", "there are no models in")
    refused(cli("--model", "nothing", "--prompt", "x"), "nothing is no file or directory", code=1)
    cache = home / ".cache" / "imp"
    cache.mkdir(parents=True)
    for name in ("Tiny-A.gguf", "Tiny-B.gguf", "other-00001-of-00002.gguf", "other-00002-of-00002.gguf"):
        shutil.copy(ids_model, cache / name)
    (cache / "notes.txt").write_text("")
    tell = ["--tokenize", "--prompt", "x", "--model"]
    refused(cli(*tell, "Missing"), "Tiny-A.gguf, Tiny-B.gguf, other-00001-of-00002.gguf", code=1)
    refused(cli(*tell, "tiny"), "could be any of 2 models", code=1)
    for name in ("Tiny-A.gguf", "tiny-a", "Tiny-B", "tiny-b.gguf"):  # found, and then without a vocabulary
        refused(cli(*tell, name), "no vocabulary", code=1)
    (home / "elsewhere").mkdir()
    shutil.copy(ids_model, home / "elsewhere" / "third.gguf")
    refused(cli(*tell, "third", "--set", "models.dir=elsewhere"), "no vocabulary", code=1)
    refused(cli(*tell, "third", "--set", "models.dir=~/elsewhere"), "no vocabulary", code=1)
