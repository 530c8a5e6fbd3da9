"""Rendering a conversation of 100 messages: imp against Jinja2, each with the template compiled once.

    python3 bench/template.py BUILD/jinja_driver [TEMPLATE.jinja...] [--out results.json]

Prints microseconds a rendering, the best of many, interleaved in rounds, and how many times faster imp is. Without templates
those of tests/oracle/chat_templates are used. Both get values already parsed from JSON.
"""

import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent / "tests" / "text")  # and not this directory: its tokenize.py would hide Python's

import jinja_reference  # noqa: E402

ROUNDS = 5
PARAGRAPH = "The quick brown fox jumps over the lazy dog, and nobody minds. "


def conversation(messages):
    turns = [{"role": ("user", "assistant")[i % 2], "content": f"Message {i}: " + PARAGRAPH * (1 + i % 5)} for i in range(messages)]
    return {"messages": turns, "tools": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}


def time_jinja2(source, variables):
    template = jinja_reference.ENVIRONMENT.from_string(source)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        template.render(**variables)
        best = min(best, time.perf_counter() - start)
    return best


def time_imp(driver, source, variables):
    request = json.dumps({"template": source, "vars": variables}) + "\n"
    answer = subprocess.run([driver, "--repeat", "200"], input=request, capture_output=True, text=True, check=True).stdout
    return json.loads(answer)["seconds"]


def describe(results):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"commit": commit, "command": "python bench/template.py " + " ".join(sys.argv[1:]),
            "machine": "%s, %d processors" % (models[0] if models else "unknown", len(models)), "results": results}


def main():
    arguments, results = sys.argv[1:], []
    out = arguments[arguments.index("--out") + 1] if "--out" in arguments else None
    if out is not None:
        at = arguments.index("--out")
        del arguments[at:at + 2]
    driver = arguments[0]
    paths = [pathlib.Path(path) for path in arguments[1:]] or sorted((HERE.parent / "tests" / "oracle" / "chat_templates").glob("*.jinja"))
    variables = conversation(100)
    print(f"{'template':28} {'Jinja2 µs':>10} {'imp µs':>9} {'times':>7}")
    for path in paths:
        source = path.read_text()
        expected = jinja_reference.render(source, variables)
        if "out" not in expected:
            print(f"{path.stem:28} refuses this conversation")
            continue
        pairs = [(time_jinja2(source, variables), time_imp(driver, source, variables)) for _ in range(ROUNDS)]
        theirs, ours = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
        print(f"{path.stem:28} {theirs * 1e6:10.1f} {ours * 1e6:9.1f} {theirs / ours:7.1f}")
        results.append({"template": path.stem, "jinja2_microseconds": round(theirs * 1e6, 1), "imp_microseconds": round(ours * 1e6, 1),
                        "times": round(theirs / ours, 1)})
    if out is not None:
        pathlib.Path(out).write_text(json.dumps(describe(results), indent=1) + "\n")


main()
