"""Rendering a conversation of 100 messages: imp against Jinja2, each with the template compiled once.

    python3 bench/template.py BUILD/jinja_driver [TEMPLATE.jinja...] [--out results.json]

Prints microseconds, the best of many, interleaved in rounds, and how many times faster imp is. "render" is the rendering
alone, over variables that each side holds in its own form: Jinja2 over dictionaries and lists of Python, imp over the values
of its interpreter. "with JSON" is that and, before it, the reading of the variables from their JSON text into that form:
json.loads for Jinja2. Nothing else is counted on either side. Without templates those of tests/oracle/chat_templates are used.
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


def best_of(count, function):
    best = float("inf")
    for _ in range(count):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def time_jinja2(source, variables):
    """Seconds of rendering, seconds of reading the variables."""
    template = jinja_reference.ENVIRONMENT.from_string(source)
    text = json.dumps(variables)
    return best_of(20, lambda: template.render(**variables)), best_of(20, lambda: json.loads(text))


def time_imp(driver, source, variables):
    request = json.dumps(source) + "\t" + json.dumps(variables) + "\n"
    answer = subprocess.run([driver, "--repeat", "200"], input=request, capture_output=True, text=True, check=True).stdout
    times = json.loads(answer)
    return times["render_seconds"], times["read_seconds"]


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
    print(f"{'template':20} {'render: Jinja2 µs':>18} {'imp µs':>8} {'times':>6} {'with JSON: Jinja2 µs':>22} {'imp µs':>8} {'times':>6}")
    for path in paths:
        source = path.read_text()
        expected = jinja_reference.render(source, variables)
        if "out" not in expected:
            print(f"{path.stem:20} refuses this conversation")
            continue
        pairs = [(time_jinja2(source, variables), time_imp(driver, source, variables)) for _ in range(ROUNDS)]
        theirs, ours = (tuple(min(pair[side][part] for pair in pairs) * 1e6 for part in range(2)) for side in range(2))
        row = {"template": path.stem, "jinja2_microseconds": round(theirs[0], 1), "imp_microseconds": round(ours[0], 1),
               "times": round(theirs[0] / ours[0], 1), "jinja2_with_json_microseconds": round(sum(theirs), 1),
               "imp_with_json_microseconds": round(sum(ours), 1), "times_with_json": round(sum(theirs) / sum(ours), 1)}
        print("{:20} {:18} {:8} {:6} {:22} {:8} {:6}".format(*row.values()))
        results.append(row)
    if out is not None:
        pathlib.Path(out).write_text(json.dumps(describe(results), indent=1) + "\n")


main()
