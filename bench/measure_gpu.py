#!/usr/bin/env python3
"""Measures imp on a GPU with random models of real shapes, beside what llama.cpp does on the same card.

    pip install numpy gguf
    python bench/measure_gpu.py --imp-bench build/bin/imp-bench --models /tmp/models --out bench/results/gpu_h200.json

Decoding: 128 tokens behind a short prompt, and behind 16,384 tokens; prompts of 4,096 tokens; 64 and 128 sequences together
behind prompts of 512. llama.cpp's figures (v0.5.0, flash attention on, one H200) stand in the table of ROWS, with the goal
that imp set itself. Model files are made when they are missing; --discard removes each after its use.
"""
import sys

sys.path.pop(0)  # this directory: tokenize.py in it would hide Python's own

import argparse
import datetime
import json
import pathlib
import subprocess


class Row:
    def __init__(self, shape, kind, decode=None, deep=None, prompt=None, many=None, goals=None):
        self.shape, self.kind = shape, kind
        self.peer = {"decode": decode, "decode at 16384": deep, "prompt 4096": prompt}
        if many:
            self.peer["64 sequences"], self.peer["128 sequences"] = many
        self.goals = goals or {}

    @property
    def name(self):
        return f"{self.shape} {self.kind}"


ROWS = [
    Row("llama-3.2-1b", "BF16", 799, 648, 106800, goals={"decode": 1300, "prompt 4096": 130000}),
    Row("llama-3.2-3b", "Q8_0", 404, 311, 22750, goals={"decode": 930, "prompt 4096": 60000}),
    Row("qwen3-8b", "Q8_0", 244, 195, 11270, (4190, 5220),
        {"decode": 440, "prompt 4096": 28000, "64 sequences": 8380, "128 sequences": 10440}),
    Row("llama-3.1-8b", "Q4_K_M", 280, 223, 9830, (4280, 4960),
        {"decode": 690, "prompt 4096": 28000, "64 sequences": 8560, "128 sequences": 9920}),
    Row("llama-3.1-8b", "NVFP4", 313, 243, 8200, (3840, 4140),
        {"decode": 750, "prompt 4096": 28000, "64 sequences": 7680, "128 sequences": 8280}),
    Row("llama-3.1-8b", "BF16", 210, 177, 26640, (6670, 9780),
        {"decode": 260, "prompt 4096": 33000, "64 sequences": 8890, "128 sequences": 13040}),
    Row("qwen3-30b-a3b", "Q4_K_M", 313, 243, 11250, goals={"decode": 800, "prompt 4096": 30000}),
    Row("qwen3-30b-a3b", "NVFP4", many=(1340, 1750), goals={"64 sequences": 2680, "128 sequences": 3500}),
]


def output_of(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()[-600:]}")
    return done.stdout


def make_model(options, row):
    path = options.models / f"{row.shape}-{row.kind}.gguf"
    if not path.exists():
        script = pathlib.Path(__file__).with_name("make_model.py")
        output_of(sys.executable, script, "--shape", row.shape, "--type", row.kind, "--repeat", "--vocab", "none",
                  "--out", path)
    return path


def speeds(options, model, name, *flags):
    """The tests of one run of imp-bench by their names."""
    text = output_of(options.imp_bench.resolve(), "--model", model, "--device", options.device, "--no-machine", "-o", "json",
                     "-r", options.reps, "--cuda-tier", options.tier, *flags)
    found = {}
    for test in json.loads(text)["results"]:
        found[test["test"]] = round(test["tokens_per_second"], 1)
    print(f"{name:26} " + "  ".join(f"{key} {value:,.0f}" for key, value in found.items()), flush=True)
    return found


def measure(options, row):
    model = make_model(options, row)
    figures = {}
    if row.peer["decode"]:
        found = speeds(options, model, row.name, "-p", "4096", "-n", "128")
        figures["prompt 4096"], figures["decode"] = found["pp4096"], found["tg128"]
        found = speeds(options, model, row.name, "-p", "0", "-n", "128", "-d", "16384")
        figures["decode at 16384"] = found["tg128 @ d16384"]
    for n in (64, 128):
        if row.peer.get(f"{n} sequences"):
            found = speeds(options, model, row.name, "-p", "0", "-n", "32", "-d", "512", "-s", n)
            figures[f"{n} sequences"] = found[f"tg32 @ d512 x {n}"]
    if options.discard:
        model.unlink()
    return figures


def print_table(results):
    print(f"\n{'model':24} {'what':18} {'imp':>10} {'llama.cpp':>10} {'ratio':>6} {'goal':>9}")
    for result in results:
        for what, speed in result["tokens_per_second"].items():
            peer, goal = result["llama.cpp"].get(what), result["goals"].get(what)
            ratio = f"{speed / peer:.2f}" if peer else ""
            mark = "" if goal is None else f"{goal:,}" + (" *" if speed >= goal else "")
            print(f"{result['model']:24} {what:18} {speed:>10,.0f} {peer or 0:>10,} {ratio:>6} {mark:>9}")


def write_chart(path, report):
    """Bars: imp's speed over llama.cpp's, a line at 1."""
    bars = [(result["model"], what, speed / result["llama.cpp"][what])
            for result in report["results"] for what, speed in result["tokens_per_second"].items()
            if what in result["llama.cpp"]]
    left, line, unit = 330, 18, 90
    width, height = left + int(unit * max(4, *(ratio for *_, ratio in bars))) + 60, 50 + line * len(bars)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
             'font-size="12"><rect width="100%" height="100%" fill="white"/>',
             f'<text x="10" y="20" font-size="14">imp over llama.cpp on one {report["card"]} ({report["commit"]})</text>']
    for i, (model, what, ratio) in enumerate(bars):
        y = 36 + line * i
        parts.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{model}, {what}</text>'
                     f'<rect x="{left}" y="{y + 2}" width="{unit * ratio:.0f}" height="{line - 5}" fill="#3b7dd8"/>'
                     f'<text x="{left + unit * ratio + 5:.0f}" y="{y + 12}">{ratio:.2f}</text>')
    parts.append(f'<line x1="{left + unit}" y1="32" x2="{left + unit}" y2="{height - 8}" stroke="#444"/></svg>')
    path.write_text("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imp-bench", type=pathlib.Path, default=pathlib.Path("build/bin/imp-bench"))
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("/tmp/imp-models"),
                        help="directory of the model files (%(default)s)")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--device", default="0")
    parser.add_argument("--tier", default="auto", help="auto, portable, hopper or blackwell")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--discard", action="store_true", help="remove each model file after its use")
    parser.add_argument("--commit", help="of the measured build; else asked of git")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--chart", type=pathlib.Path, help="draw the results of --out as SVG, and measure nothing")
    options = parser.parse_args()
    if options.chart:
        report = json.loads(options.out.read_text())
        write_chart(options.chart, report)
        print_table(report["results"])
        return 0
    options.models.mkdir(parents=True, exist_ok=True)
    card = output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()[0]
    name, driver = (part.strip() for part in card.split(","))
    report = {
        "card": name, "driver": driver, "date": datetime.date.today().isoformat(), "tier": options.tier,
        "commit": options.commit or output_of("git", "rev-parse", "--short", "HEAD").strip(),
        "command": "python bench/measure_gpu.py " + " ".join(sys.argv[1:]),
        "results": [],
    }
    failed = False
    for row in ROWS:
        if options.only not in row.name:
            continue
        try:
            figures = measure(options, row)
        except RuntimeError as error:
            print(f"{row.name}: {error}", flush=True)
            failed = True
            continue
        report["results"].append({"model": row.name, "tokens_per_second": figures,
                                  "llama.cpp": {k: v for k, v in row.peer.items() if v}, "goals": row.goals})
        if options.out:
            options.out.write_text(json.dumps(report, indent=1) + "\n")
    print_table(report["results"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
