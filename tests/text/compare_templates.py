"""Chat templates from files, rendered by Jinja2 and by imp over many conversations, compared to the byte.

    python3 tests/text/compare_templates.py BUILD/jinja_driver FILE_OR_DIRECTORY... [--random COUNT] [--seed SEED]

Files are *.jinja, or tokenizer_config.json with a chat_template. --random adds conversations made by chance. Exits 1 when
something differs.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import jinja_reference  # noqa: E402
from compare_jinja import same  # noqa: E402
from conversations import all_variables, random_variables  # noqa: E402


def templates(path):
    """(name, source) of what a file holds."""
    if path.suffix == ".jinja":
        yield path.name, path.read_text()
        return
    chat_template = json.loads(path.read_text()).get("chat_template")
    if isinstance(chat_template, str):
        yield str(path), chat_template
    for named in chat_template if isinstance(chat_template, list) else []:
        yield f"{path}:{named['name']}", named["template"]


def files(arguments):
    for argument in map(pathlib.Path, arguments):
        if argument.is_dir():
            yield from sorted([*argument.rglob("*.jinja"), *argument.rglob("tokenizer_config.json")])
        else:
            yield argument


def compare(driver, name, source, cases):
    requests = "".join(json.dumps(source) + "\t" + json.dumps(variables) + "\n" for _, variables in cases)
    done = subprocess.run([driver], input=requests, capture_output=True, text=True, check=True)
    different = rendered = 0
    for (case, variables), line in zip(cases, done.stdout.splitlines(), strict=True):
        expected, got = jinja_reference.render(source, variables), json.loads(line)
        rendered += "out" in expected
        if not same(expected, got):
            different += 1
            if different <= 3:
                print("DIFFERENT", name, case, "\n  jinja2", json.dumps(expected)[:3000], "\n  imp   ", json.dumps(got)[:3000])
    print(f"{name}: {len(cases)} conversations, {rendered} rendered, {len(cases) - rendered} refused, {different} different")
    return different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    cases = [*all_variables(), *((f"random {i}", random_variables(rng)) for i in range(arguments.random))]
    different = 0
    for path in files(arguments.files):
        for name, source in templates(path):
            different += compare(arguments.driver, name, source, cases)
    sys.exit(different != 0)


main()
