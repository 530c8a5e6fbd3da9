"""imp-server's command line, and the files that are made from its table of flags."""

import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

PROGRAM = BUILD / "bin/imp-server"


def run(*words):
    return subprocess.run([PROGRAM, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("kind, path", [("man", "man/imp-server.1"), ("bash", "completions/imp-server.bash"),
                                        ("zsh", "completions/_imp-server")])
def test_reference_files_are_up_to_date(kind, path):
    done = run("--print-reference", kind)
    assert done.returncode == 0
    assert done.stdout == (ROOT / path).read_text(), f"{path} differs from the table: run `ninja reference`"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_is_well_formed():
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", ROOT / "man/imp-server.1"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def complete(*words):
    """What bash offers for the last of the words."""
    script = f"source '{ROOT}/completions/imp-server.bash'; compopt() {{ :; }}; COMP_WORDS=({' '.join(map(repr, words))}); " \
             f"COMP_CWORD={len(words) - 1}; _imp_server; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_completion():
    assert complete("imp-server", "--think") == ["--think-budget"]
    assert complete("imp-server", "--reasoning-format", "d") == ["deepseek"]
    assert complete("imp-server", "--set", "server.think") == ["server.think_budget="]
    assert complete("imp-server", "--port", "8") == []


def test_help_names_every_flag():
    done = run("--help")
    offered = [word for word in complete("imp-server", "--") if word.startswith("--")]
    assert done.returncode == 0 and len(offered) > 20
    assert all(f"  {flag} " in done.stdout for flag in offered)
    assert max(map(len, done.stdout.splitlines())) <= 112


@pytest.mark.parametrize(
    "words, sentence",
    [
        ([], "--model is missing"),
        (["--modle", "x"], "there is no flag --modle; the nearest is --model"),
        (["--port"], "--port expects N"),
        (["--port", "70000"], "server.port"),
        (["--think-budget=1.5"], "server.think_budget"),
        (["--version=1"], "--version takes no argument"),
        (["--set", "server.prot=1"], "server.port"),
        (["--config", "/nothing/imp.conf"], "/nothing/imp.conf"),
        (["--print-reference", "poem"], "man, bash or zsh"),
    ],
)
def test_wrong_usage(words, sentence):
    done = run(*words)
    assert done.returncode == 2 and sentence in done.stderr and done.stdout == ""


def test_what_cannot_be_opened(tmp_path, chat_model):
    done = run("--model", str(tmp_path / "nothing.gguf"))
    assert done.returncode == 1 and "nothing.gguf" in done.stderr
    done = run("--model", str(chat_model), "--host", "256.0.0.1", "--port", "0")
    assert done.returncode == 1 and "256.0.0.1" in done.stderr
    done = run("--model", str(chat_model), "--log-requests", str(tmp_path / "no/log"))
    assert done.returncode == 1 and "no/log" in done.stderr
