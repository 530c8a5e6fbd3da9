#!/usr/bin/env python3
"""Loads imp-server, and a peer's server on the same file, on loopback.

Reports, as JSON and as a table: throughput, time to first token and inter-token latency percentiles for each number of
clients; how much of the first request's time to first token the second one needs behind a shared prefix; how much of the
bare engine's speed the server costs one client. Rounds of what is compared are interleaved, because machines drift.

    python bench/serve_load.py --model MODEL.gguf [--peer 'COMMAND with {model} and {port}'] [--clients 1,4,16]
    python bench/serve_load.py --model MODEL.gguf --clients '' --overhead-rounds 9 --threads 1    overhead and prefix alone

The peer is any server with /v1/completions, such as
    python -m llama_cpp.server --model {model} --port {port} --n_ctx 8192
which computes one request at a time: llama-cpp-python's server is a wrapper around llama.cpp's library.
"""

import sys

sys.path.pop(0)  # this directory: tokenize.py in it would hide Python's own

import argparse
import json
import os
import platform
import resource
import shlex
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "The quick brown fox jumps over the lazy dog. In the beginning there was nothing but {n}, and then"
WORDS = "river stone cloud winter garden letter engine silver harbor candle mountain paper".split()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    def __init__(self, name, command, model):
        self.name, self.port = name, free_port()
        words = [word.format(model=model, port=self.port) for word in shlex.split(command)]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5).read()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{name} did not start: {' '.join(words)}")
                time.sleep(0.1)
        sys.exit(f"{name} did not answer")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def complete(self, prompt, max_tokens):
        """(time to first token, gaps between tokens, tokens) of one streamed completion."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=600)
        body = json.dumps({"model": "m", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True,
                           "ignore_eos": True, "seed": 1})
        start = time.perf_counter()
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        lines, times = [], []  # parsed when all is over: on a small machine the client takes its time from the server
        while line := response.readline():
            lines.append(line)
            times.append(time.perf_counter())
        connection.close()
        times = [now for line, now in zip(lines, times) if line.startswith(b"data: {") and has_text(json.loads(line[6:]))]
        if not times:
            return time.perf_counter() - start, [], 0
        return times[0] - start, [b - a for a, b in zip(times, times[1:])], len(times)


def has_text(event):
    return bool(event["choices"]) and bool(event["choices"][0].get("text"))


def percentiles(values):
    ordered = sorted(values)
    return {f"p{p}": ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] for p in (50, 90, 99)} if ordered else {}


def load(server, clients, requests, max_tokens):
    first, gaps, tokens, lock = [], [], [0], threading.Lock()
    numbers = iter(range(requests))

    def client():
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            ttft, between, count = server.complete(PROMPT.format(n=f"{n} {server.name}"), max_tokens)
            with lock:
                first.append(ttft)
                gaps.extend(between)
                tokens[0] += count

    start = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return {"clients": clients, "tokens_per_second": tokens[0] / seconds, "ttft": percentiles(first), "gap": percentiles(gaps)}


def shared_prefix(server, length):
    """Times to first token of two requests that share about `length` tokens."""
    prefix = " ".join(WORDS[(i * i + i // 7) % len(WORDS)] for i in range(length))
    return [server.complete(prefix + question, 1)[0] for question in (" Then what happened?", " And who was it, really?")]


def bare_run(words, tokens):
    """(tokens a second, processor seconds) of the bare engine; it decodes twice and counts the second time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([word.replace("{tokens}", str(tokens)) for word in words], capture_output=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(out)["results"][0]["tokens_per_second"], seconds / 2


def served_run(server, prompt, tokens):
    before = server.processor_seconds()
    _, gaps, _ = server.complete(prompt, tokens)
    return len(gaps) / sum(gaps), server.processor_seconds() - before


def overhead(server, bench, model, tokens, rounds):
    """Decoding by the bare engine and through the server, in turn, by the clock and by processor time. The latter is what
    a token more costs (long runs less short ones), and says something on a busy machine too; on one thread it holds no
    waiting for other threads."""
    words = [word.replace("{model}", model) for word in shlex.split(bench)]
    rates, costs = [], []
    for n in range(rounds):
        prompt = PROMPT.format(n=f"{n} overhead")
        served_run(server, prompt, 2)  # from here on the prompt is in the cache
        (bare_rate, bare_long), (served_rate, served_long) = bare_run(words, 5 * tokens), served_run(server, prompt, 5 * tokens)
        (_, bare_short), (_, served_short) = bare_run(words, tokens), served_run(server, prompt, tokens)
        rates.append((bare_rate, served_rate))
        costs.append(((bare_long - bare_short) / (4 * tokens), (served_long - served_short) / (4 * tokens)))
    bare, served = (statistics.median(pair[i] for pair in costs) for i in (0, 1))
    return {"bare_tokens_per_second": statistics.median(bare for bare, _ in rates),
            "served_tokens_per_second": statistics.median(served for _, served in rates),
            "bare_processor_ms": 1e3 * bare, "served_processor_ms": 1e3 * served, "processor_overhead": served / bare - 1,
            "best_processor_overhead": min(pair[1] for pair in costs) / min(pair[0] for pair in costs) - 1, "rounds": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--imp", default=f"{ROOT}/build/bin/imp-server --model {{model}} --port {{port}} --max-seq-len 8192")
    parser.add_argument("--peer", default="")
    parser.add_argument("--clients", default="1,4,16")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefix", type=int, default=3600, help="words of the shared prefix; 0: leave it out")
    parser.add_argument("--overhead-rounds", type=int, default=0)
    parser.add_argument("--bare", default=f"{ROOT}/build/bin/imp-bench -m {{model}} -p 0 -n {{tokens}} -d 24 -r 1 -o json --no-machine")
    parser.add_argument("--threads", type=int, default=0, help="of imp-server and imp-bench; 0: as many as they choose")
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.threads:
        options.imp += f" --threads {options.threads}"
        options.bare += f" -t {options.threads}"

    servers = [Server("imp", options.imp, options.model)]
    if options.peer:
        servers.append(Server("peer", options.peer, options.model))
    runs = {server.name: {} for server in servers}
    for clients in map(int, filter(None, options.clients.split(","))):
        for _ in range(options.rounds):
            for server in servers:
                runs[server.name].setdefault(clients, []).append(load(server, clients, 2 * clients, options.tokens))
    report = {"machine": platform.processor() or platform.machine(), "model": Path(options.model).name, "imp": options.imp,
              "peer": options.peer, "results": {}}
    for name, by_clients in runs.items():
        for clients, rounds in by_clients.items():
            rates = [r["tokens_per_second"] for r in rounds]
            report["results"].setdefault(name, {})[clients] = {
                "tokens_per_second": statistics.median(rates), "spread": [min(rates), max(rates)],
                "ttft_p50": statistics.median(r["ttft"]["p50"] for r in rounds),
                "gap_p50": statistics.median(r["gap"].get("p50", 0) for r in rounds),
                "gap_p99": statistics.median(r["gap"].get("p99", 0) for r in rounds),
            }
    if options.prefix:
        first, second = shared_prefix(servers[0], options.prefix)
        report["shared_prefix"] = {"words": options.prefix, "first_ttft": first, "second_ttft": second, "ratio": second / first}
    if options.overhead_rounds:
        report["overhead"] = overhead(servers[0], options.bare, options.model, options.tokens, options.overhead_rounds)
    for server in servers:
        server.stop()
    print(f"{'server':8}{'clients':>8}{'tok/s':>10}{'ttft p50':>10}{'gap p50':>10}{'gap p99':>10}")
    for name, by_clients in report["results"].items():
        for clients, row in by_clients.items():
            print(f"{name:8}{clients:>8}{row['tokens_per_second']:>10.1f}{row['ttft_p50']:>10.3f}{row['gap_p50']:>10.4f}{row['gap_p99']:>10.4f}")
    if "shared_prefix" in report:
        print("shared prefix: second time to first token is {ratio:.1%} of the first's".format(**report["shared_prefix"]))
    if "overhead" in report:
        print("one client: {bare_tokens_per_second:.1f} tok/s bare, {served_tokens_per_second:.1f} served; processor time a token "
              "{bare_processor_ms:.3f} and {served_processor_ms:.3f} ms, overhead {processor_overhead:.1%}".format(**report["overhead"]))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
