"""Chatting: over pipes, and on a terminal that tmux plays."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
import uuid

import pytest


@pytest.fixture
def chat(cli, chat_model):
    """Lines in, the program's output back; the answers are on standard output alone."""

    def run(*lines, flags=()):
        return cli("--model", chat_model, "--interactive", "--temperature", "0", "--max-tokens", "8", *flags,
                   stdin="".join(line + "\n" for line in lines))

    return run


def answers(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- over pipes --------------------------------------------------------------------------------------------------------


def test_a_conversation_over_pipes(chat, cli, chat_model):
    one = answers(chat("hello"))
    assert one == cli("--model", chat_model, "--temperature", "0", "--max-tokens", "8", "--prompt", "hello").stdout
    both = answers(chat("hello", "and you"))
    assert both.startswith(one) and len(both) > len(one)
    assert ">" not in chat("hello").stderr  # no prompt without a terminal
    assert answers(chat("hello", "/quit", "never read")) == one
    assert answers(chat("", "   ", "hello")) == one


def test_first_message_from_the_flag(chat):
    assert answers(chat("and you", flags=["--prompt", "hello"])) == answers(chat("hello", "and you"))


def test_reset_and_system(chat):
    one = answers(chat("hello"))
    assert answers(chat("hello", "/reset", "hello")) == one * 2
    assert answers(chat("/system be brief", "hello")) == answers(chat("hello", flags=["--system", "be brief"])) != one
    done = chat("/system be brief", "/system", '/system ""', "/system", "hello")
    assert answers(done) == one
    assert done.stderr.count("system message: be brief") == 2 and done.stderr.count("there is no system message") == 2


def test_regen(chat):
    one = answers(chat("hello"))
    assert answers(chat("hello", "/regen")) == one * 2  # greedy
    assert "no message to answer again" in chat("/regen").stderr
    draw = ["--temperature", "3", "--top-k", "0", "--top-p", "1", "--seed", "5"]
    first, second = answers(chat("hello", flags=draw)), answers(chat("hello", "/regen", flags=draw))
    assert second.startswith(first) and second != first * 2


def test_set(chat):
    one = answers(chat("hello"))
    assert len(answers(chat("/set max_tokens 3", "hello"))) <= 4 < len(one)
    done = chat("/set max_tokens", "/set sampling.top_k=5", "/set top_k many", "/set tempreature 1", "/set runtime.warmup true",
                "/set moe.skip true", "/set")
    assert answers(done) == ""
    for line in ("generation.max_tokens = 8", "sampling.top_k = 5",
                 'imp-cli: sampling.top_k expects a whole number, not "many"',
                 "there is no key tempreature; the nearest is temperature",
                 "runtime.warmup cannot change while the program runs: give it as a flag or in imp.conf",
                 "imp-cli: moe.skip: its mechanism is not built yet"):
        assert line in done.stderr.splitlines()
    assert "sampling.seed = -1" in done.stderr


def test_save_and_load(chat, home):
    both = answers(chat("hello", "and you"))
    one = answers(chat("/system be brief", "hello", "/save talk.json"))
    saved = json.loads((home / "talk.json").read_text())["messages"]
    assert [message["role"] for message in saved] == ["system", "user", "assistant"]
    assert saved[1]["content"] == "hello" and saved[2]["content"].strip() == one.strip()
    done = chat("/load talk.json", "and you", "/system")
    assert answers(chat("/system be brief", "hello", "and you")) == one + answers(done) != both
    assert "system message: be brief" in done.stderr and "3 messages from talk.json" in done.stderr

    (home / "not.json").write_text("[1, 2")
    (home / "else.json").write_text('{"messages": [{"role": 5}]}')
    done = chat("/load missing", "/load not.json", "/load else.json", "/load .", "/save missing/x", "/save /dev/full", "/save")
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and len(lines) == 7
    assert all(line.startswith("imp-cli: cannot load ") for line in lines[:4])
    assert all(line.startswith("imp-cli: cannot write ") for line in lines[4:6])
    assert lines[6] == "/save expects the name of a file"


def test_messages_of_several_lines(chat):
    expected = answers(chat("/reset", flags=["--prompt", "a\nb"]))
    assert answers(chat("a\\", "b")) == expected
    assert answers(chat('"""', "a", "b", '"""')) == expected


def test_commands(chat):
    done = chat("/help", "/stts", "/quit now", "/stats", "hello", "/stats")
    assert all(name in done.stderr for name in ("/reset", "/system", "/regen", "/save", "/load", "/set", "/stats", "/quit"))
    assert "there is no command /stts; the nearest is /stats" in done.stderr
    assert "/quit takes nothing behind it" in done.stderr
    assert re.search(r"context: 0 of \d+ tokens, 0 messages", done.stderr)
    assert re.search(r"context: \d+ of \d+ tokens, 2 messages", done.stderr)
    assert answers(chat("//quit")) != ""  # a message that begins with a slash


def test_quiet_still_answers_commands(chat):
    done = chat("/set top_k", "/nothing", "/stats", "/reset", "hello", flags=["--quiet"])
    told = done.stderr.splitlines()
    assert told[0] == "sampling.top_k = 40" and told[1].startswith("there is no command /nothing")
    assert told[2].startswith("context: 0 of ") and len(told) == 3


def test_a_message_that_does_not_fit_leaves_the_conversation(chat):
    small = ["--max-seq-len", "64"]
    done = chat("a" * 100, "hello", flags=small)
    assert done.stdout == chat("hello", flags=small).stdout
    assert "/reset starts anew" in done.stderr


def test_raw_conversation_is_one_text(chat, cli, chat_model):
    raw = ["--raw"]
    one = answers(chat("hello", flags=raw))
    continued = cli("--model", chat_model, "--temperature", "0", "--max-tokens", "8", "--raw", "--prompt", "hello").stdout
    assert one == continued


def test_a_reader_that_left_ends_the_chat(cli, chat_model):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "wb") as full:
        done = cli("--model", chat_model, "--interactive", stdin="hello\nhello\n", stdout=full)
    assert done.returncode == 1 and done.stderr.count("No space left") == 1


# ---- on a terminal -------------------------------------------------------------------------------------------------------


class Terminal:
    """A tmux window with one program in it."""

    def __init__(self, command, environment, width=90, height=40):
        self.name = f"imp-{uuid.uuid4().hex[:12]}"
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height),
                  f"cd {shlex.quote(environment['HOME'])}; env -i {settings} TERM=screen {command}; echo \"left with $?\"; sleep 60")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-L", self.name, "-f", "/dev/null", *arguments], check=True, capture_output=True,
                              text=True).stdout

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J").rstrip()

    def wait(self, pattern, seconds=15):
        """Until the screen matches; it is returned."""
        end = time.monotonic() + seconds
        while not re.search(pattern, screen := self.screen(), re.M):
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{screen}"
            time.sleep(0.05)
        return screen

    def close(self):
        subprocess.run(["tmux", "-L", self.name, "kill-server"], capture_output=True)


@pytest.fixture
def terminal(program, environment, chat_model):
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened = []

    def start(*flags, model=chat_model):
        command = " ".join(shlex.quote(str(word)) for word in (program, "--model", model, "--temperature", "0", *flags))
        opened.append(Terminal(command, environment))
        opened[-1].wait(r"^> ?$")
        return opened[-1]

    yield start
    for window in opened:
        window.close()


READY = r"^> ?\Z"


def test_terminal_chat(terminal, chat):
    window = terminal("--max-tokens", "8")
    assert "/help" in window.screen()
    window.type("hello", "Enter")
    screen = window.wait(r"tok/s[^\n]*\n> ?\Z")
    answer = answers(chat("hello")).rstrip("\n")
    assert f"> hello\n{answer.splitlines()[0]}".rstrip() in screen
    window.type("/he", "Tab")
    window.wait(r"^> /help ?\Z")
    window.type("BSpace", "Enter")
    window.wait(r"Ctrl-C stops an answer")
    window.type("/quit", "Enter")
    window.wait("left with 0")


def test_terminal_keys(terminal, home):
    window = terminal("--max-tokens", "3")
    window.type("half a line", "C-c")  # drops the line, not the program
    window.wait(r"^> half a line\n> ?\Z")
    window.type("wrold", "C-b", "C-b", "C-t", "C-a", "hello ", "C-e", "!")
    window.wait(r"^> hello w.*!\Z")
    window.type("C-u", "first", "Enter")
    window.wait(r"tok/s[^\n]*\n> ?\Z")
    window.type("Up")
    window.wait(r"^> first\Z")
    window.type("C-u", "C-d")
    window.wait("left with 0")
    assert "first" in (home / ".local" / "state" / "imp" / "history").read_text()

    window = terminal("--max-tokens", "3")  # history outlives the program
    window.type("Up")
    window.wait(r"^> first\Z")
    window.type("C-c", "C-d")
    window.wait("left with 0")


def test_terminal_history_is_a_regular_file_or_not_kept(terminal, home):
    os.mkfifo(home / "pipe")  # opening it would block
    window = terminal("--max-tokens", "3", "--set", "paths.history=pipe")
    window.type("hello", "Enter")
    window.wait(r"tok/s[^\n]*\n> ?\Z")
    window.type("C-d")
    window.wait("left with 0")
    assert (home / "pipe").is_fifo()


def test_terminal_interrupt_stops_the_answer(terminal, smollm2):
    """What was said until then stays part of the conversation. A real model: a tiny one would fill its context first."""
    window = terminal("--max-tokens", "0", "--raw", "--temperature", "1", "--seed", "1", model=smollm2)
    window.type("Once upon a time, there was", "Enter")
    window.wait(r"there was\n[^\n]{20}")
    window.type("ignored meanwhile", "C-c")
    window.wait(r"; stopped\n> ?\Z")
    window.type("/stats", "Enter")
    screen = window.wait(r"context: (\d+) of \d+ tokens, 2 messages")
    assert 8 < int(re.search(r"context: (\d+) of", screen)[1]) < 8000
    window.type("C-d")
    window.wait("left with 0")


def test_terminal_resize_and_several_lines(terminal):
    window = terminal("--max-tokens", "3")
    window.type("one line that is long enough to be wrapped when the window becomes narrow")
    window.wait("becomes narrow")
    window.tmux("resize-window", "-x", "40", "-y", "30")
    window.type(" indeed")
    window.wait(r"indeed\Z")
    window.type("C-c")
    window.type("a \\", "Enter")
    window.wait(r"^\. ?\Z")
    window.type("b", "Enter")
    window.wait(r"tok/s")
    window.wait(READY)
    window.type("C-d")
    window.wait("left with 0")


def test_terminal_paste(terminal):
    """Lines that are pasted together are one message, sent when Enter says so."""
    window = terminal("--max-tokens", "3")
    window.tmux("set-buffer", "first\nsecond\nthird\n")
    window.tmux("paste-buffer", "-p")
    window.wait(r"^> first\nsecond\nthird\Z")
    window.type("!", "Enter")
    window.wait(r"tok/s[^\n]*\n> ?\Z")
    window.type("/save /dev/stderr", "Enter")
    window.wait(r'"content": "first\\nsecond\\nthird!"')
    window.type("C-d")
    window.wait("left with 0")


def test_terminal_suspend(program, environment, chat_model):
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    window = Terminal("bash --norc", {**environment, "PS1": "shell$ "})
    try:
        window.wait(r"shell\$ ?\Z")
        window.type(f"'{program}' --model '{chat_model}'", "Enter")
        window.wait(READY)
        window.type("C-z")
        window.wait(r"Stopped")
        window.type("fg", "Enter")
        window.type("/stats", "Enter")
        window.wait(r"context: \d+ of")
        window.type("C-d")
        window.wait(r"shell\$ ?\Z")
    finally:
        window.close()


def test_chat_begins_on_a_terminal_without_a_prompt_only(terminal, cli, chat_model):
    terminal("--max-tokens", "3")  # has waited for its prompt
    done = cli("--model", chat_model, stdin="")
    assert done.returncode == 2 and "the prompt is empty" in done.stderr


def test_bar_on_a_terminal(program, environment, chat_model):
    """Whatever bars were drawn are gone when the answer is there."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    window = Terminal(f"'{program}' --model '{chat_model}' --prompt hello --temperature 0 --max-tokens 4", environment)
    try:
        screen = window.wait("left with 0")
        assert "%" not in screen and "loading" not in screen
        assert re.search(r"tok/s", screen)
    finally:
        window.close()
