#!/usr/bin/env python3
"""Sets imp's speed on the CPU against llama.cpp's on the same GGUF files, interleaved in one run.

    python bench/compare_cpu.py --peer-python VENV/bin/python --out bench/results/compare_cpu FILE.gguf…

VENV holds llama-cpp-python, built from source for this machine. Three things are timed: a prompt (--prompt tokens, one
sequence), decoding (--generate tokens behind an empty context), and decoding by --sequences sequences together. A round
times imp and the peer one right after the other, and who goes first changes with the round; a ratio is the median of
the rounds' ratios, its spread the least and the greatest. Writes OUT.json and OUT.svg and prints a table. --merge keeps
the files of an earlier OUT.json that this run does not measure.

On a machine that others use too, --threads 1 --processor-time is what can be trusted: no thread waits for another that
does not run.
"""
import sys

sys.path.pop(0)  # this directory: tokenize.py in it would hide Python's own

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TESTS = ("prompt", "decode", "together")


# ---- the peer: this file again, in the peer's Python, one test a line of standard input ----

class Peer:
    """llama.cpp through its C interface: contexts as llama-bench makes them."""

    def __init__(self, path, threads, longest, sequences, processor_time):
        import llama_cpp
        self.lib = llama_cpp
        self.now = time.process_time if processor_time else time.perf_counter
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp does not open {path}")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = longest * sequences
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp makes no context for {path}")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)
        self.next = 0

    def fill(self, rows):
        """rows: (position, sequence, whether logits are wanted) of each token."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (position, sequence, logits) in enumerate(rows):
            self.next = (self.next * 1103515245 + 12345) % (1 << 31)
            batch.token[i] = self.next % self.vocab
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = logits

    def decode(self, rows):
        self.fill(rows)
        if self.lib.llama_decode(self.context, self.batch) != 0:
            raise SystemExit("llama_decode failed")
        self.lib.llama_synchronize(self.context)

    def run(self, depth, prompt, generate, sequences):
        """Tokens a second of one test."""
        self.lib.llama_memory_clear(self.memory, True)
        for first in range(0, depth, 512):
            for s in range(sequences):
                self.decode([(p, s, False) for p in range(first, min(first + 512, depth))])
        start = self.now()
        for first in range(depth, depth + prompt, 512):
            end = min(first + 512, depth + prompt)
            self.decode([(p, 0, p == end - 1) for p in range(first, end)])
        for position in range(depth + prompt, depth + prompt + generate):
            self.decode([(position, s, True) for s in range(sequences)])
        return (prompt + generate * sequences) / (self.now() - start)


def serve_peer(options):
    peer = Peer(options.files[0], options.threads, options.depth + max(options.prompt, options.generate),
                options.sequences, options.processor_time)
    for line in sys.stdin:
        print(json.dumps(peer.run(**json.loads(line))), flush=True)


class PeerProcess:
    def __init__(self, options, path):
        command = [options.peer_python, str(pathlib.Path(__file__).resolve()), "--serve-peer", "--threads",
                   str(options.threads), "--prompt", str(options.prompt), "--generate", str(options.generate),
                   "--sequences", str(options.sequences), "--depth", str(options.depth), path]
        command += ["--processor-time"] * options.processor_time
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL)

    def run(self, test):
        self.process.stdin.write(json.dumps(test) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the peer ended: run it by hand with --serve-peer to see why")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


# ---- imp ----

def run_imp(options, path, test):
    command = [options.imp, "-m", path, "-p", str(test["prompt"]), "-n", str(test["generate"]), "-d",
               str(test["depth"]), "-s", str(test["sequences"]), "-t", str(options.threads), "-r", "1", "--no-machine",
               "--cpu-isa", options.isa, "-o", "json"]
    command += ["--processor-time"] * options.processor_time
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)["results"][0]["tokens_per_second"]


# ---- the comparison ----

def tests_of(options):
    one = {"depth": options.depth, "prompt": 0, "generate": 0, "sequences": 1}
    all_tests = {"prompt": {**one, "prompt": options.prompt}, "decode": {**one, "generate": options.generate},
                 "together": {**one, "generate": options.generate, "sequences": options.sequences}}
    return {name: all_tests[name] for name in options.tests}


def compare(options, path, name, test, peer):
    rounds = []
    for number in range(options.rounds):
        sides = [("imp", lambda: run_imp(options, path, test)), ("peer", lambda: peer.run(test))]
        rounds.append({side: measure() for side, measure in (sides if number % 2 == 0 else sides[::-1])})
    ratios = [r["imp"] / r["peer"] for r in rounds]
    result = {"test": test, "rounds": rounds, "ratio": statistics.median(ratios),
              "ratio_min": min(ratios), "ratio_max": max(ratios),
              "imp": statistics.median(r["imp"] for r in rounds), "peer": statistics.median(r["peer"] for r in rounds)}
    print(f"{pathlib.Path(path).stem:32} {name:9} imp {result['imp']:8.1f}  llama.cpp {result['peer']:8.1f} tok/s  "
          f"ratio {result['ratio']:5.2f} ({result['ratio_min']:.2f} … {result['ratio_max']:.2f})", flush=True)
    return result


def compare_file(options, path):
    peer = PeerProcess(options, path)
    tests = tests_of(options)
    try:
        for test in tests.values():
            peer.run(test)  # does not count: pages come in, clocks settle
        return {name: compare(options, path, name, test, peer) for name, test in tests.items()}
    finally:
        peer.stop()


# ---- what was compared ----

def output_of(command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    return done.stdout.strip() or done.stderr.strip()


def describe(options):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.processor())
    probe = ("import llama_cpp, pathlib, json; d = pathlib.Path(llama_cpp.__file__).parent / 'lib';"
             "import re; b = (d / 'libggml-cpu.so').read_bytes();"
             "c = re.search(rb'clang version [ -~]+', b) or re.search(rb'GCC: [ -~]+', b);"  # start files are gcc's
             "print(json.dumps({'package': 'llama-cpp-python ' + llama_cpp.__version__,"
             "'libraries': sorted(p.name for p in d.glob('lib*.so.*.*')),"
             "'compiler': c.group(0).decode() if c else 'unknown',"
             "'features': llama_cpp.llama_print_system_info().decode().strip()}))")
    cache = pathlib.Path(options.imp).resolve().parents[1] / "CMakeCache.txt"
    compiler = next((line.split("=")[1].strip() for line in cache.read_text().splitlines()
                     if line.startswith("CMAKE_C_COMPILER:")), "cc") if cache.exists() else "cc"
    return {
        "cpu": cpu, "processors": os.cpu_count(), "threads": options.threads, "isa": options.isa,
        "clock": "processor time" if options.processor_time else "wall",
        "load": os.getloadavg()[0], "rounds": options.rounds, "date": time.strftime("%Y-%m-%d"),
        "imp": {"commit": output_of(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
                "compiler": output_of([compiler, "--version"]).splitlines()[0]},
        "peer": json.loads(output_of([options.peer_python, "-c", probe]).splitlines()[-1]),
    }


# ---- the report ----

def table(report):
    lines = ["| file | " + " | ".join(f"{name} imp / llama.cpp tok/s, ratio (spread)" for name in TESTS) + " |",
             "|---|" + "---|" * len(TESTS)]
    for name, tests in report["files"].items():
        cells = [f"{t['imp']:.1f} / {t['peer']:.1f}, **{t['ratio']:.2f}** ({t['ratio_min']:.2f}–{t['ratio_max']:.2f})"
                 if (t := tests.get(test)) else "" for test in TESTS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chart(report):
    """Bars of ratios, a group a file; the line at 1 is llama.cpp."""
    colors = {"prompt": "#2f6fb3", "decode": "#d9822b", "together": "#4c9a58"}
    labels = {"prompt": "prompt", "decode": "decode", "together": "decode, many sequences"}
    files = report["files"]
    left, width, bar, gap, top = 220, 520, 9, 10, 46
    most = max(1.0, *(t["ratio_max"] for tests in files.values() for t in tests.values())) * 1.02
    group = len(TESTS) * bar + gap
    height = top + len(files) * group + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{height}" '
             'font-family="sans-serif" font-size="12" fill="#444">',
             f'<rect width="{left + width + 60}" height="{height}" fill="#fff"/>',
             f'<text x="10" y="16">Speed relative to llama.cpp: {report["machine"]["cpu"]}, '
             f'{report["machine"]["threads"]} threads; medians and spreads</text>']
    for i, test in enumerate(TESTS):
        parts.append(f'<rect x="{10 + i * 90}" y="24" width="10" height="10" fill="{colors[test]}"/>'
                     f'<text x="{25 + i * 90}" y="33">{labels[test]}</text>')
    for step in range(int(most) + 1):
        x = left + step / most * width
        parts.append(f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{height - 24}" stroke="#bbb" '
                     f'stroke-width="{2 if step == 1 else 1}"/><text x="{x:.1f}" y="{height - 8}" '
                     f'text-anchor="middle">{step}×</text>')
    for row, (name, tests) in enumerate(files.items()):
        y = top + row * group
        parts.append(f'<text x="{left - 8}" y="{y + group / 2}" text-anchor="end">{name}</text>')
        for i, test in enumerate(TESTS):
            if test not in tests:
                continue
            t, at = tests[test], y + i * bar
            low, middle, high = (t[key] / most * width for key in ("ratio_min", "ratio", "ratio_max"))
            parts.append(f'<rect x="{left}" y="{at}" width="{middle:.1f}" height="{bar - 1}" fill="{colors[test]}"/>'
                         f'<line x1="{left + low:.1f}" y1="{at + bar / 2 - .5}" x2="{left + high:.1f}" '
                         f'y2="{at + bar / 2 - .5}" stroke="#222"/>'
                         f'<text x="{left + high + 4:.1f}" y="{at + bar - 1}" font-size="9">{t["ratio"]:.2f}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--imp", default=str(ROOT / "build/bin/imp-bench"))
    parser.add_argument("--isa", default="auto", help="imp's cpu.isa")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--depth", type=int, default=0, help="tokens that each sequence holds before (0)")
    parser.add_argument("--tests", nargs="+", choices=TESTS, default=list(TESTS))
    parser.add_argument("--processor-time", action="store_true",
                        help="time processors, not the clock: with --threads 1 on a machine that others use too")
    parser.add_argument("--note", default="", help="a sentence for the report, such as what was shrunk")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--out", help="OUT.json and OUT.svg are written")
    parser.add_argument("--serve-peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_peer:
        return serve_peer(options)
    files = {}
    if options.merge and options.out and os.path.exists(options.out + ".json"):
        with open(options.out + ".json", encoding="utf-8") as file:
            files = json.load(file)["files"]
    report = {"note": options.note, "machine": describe(options), "files": files}
    for path in options.files:
        files.setdefault(pathlib.Path(path).stem, {}).update(compare_file(options, path))
        if options.out:
            with open(options.out + ".json", "w", encoding="utf-8") as file:
                json.dump(report, file, indent=1)
            with open(options.out + ".svg", "w", encoding="utf-8") as file:
                file.write(chart(report))
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
