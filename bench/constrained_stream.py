"""Whether a constrained stream is as fast as a free one.

    bench/constrained_stream.py IMP_SERVER MODEL.gguf [--rounds N] [--tokens N] [-o RESULT.json]

One request at a time over HTTP, free and constrained in turn, so that whatever else the machine does falls on both: milliseconds a token
between the first and the last piece of a stream. The schemas leave the model free for long (the stream ends by its number of tokens), as
forced tokens would flatter the constrained side; how many those are, is counted in schemas that force many. Also the time to the first piece
of a schema never seen before, which holds its compilation, and that of one seen before.
"""

import argparse
import json
import pathlib
import platform
import re
import statistics
import subprocess
import time
import urllib.request

PROMPT = "Write a long story about a ship. Answer as JSON."
LONG = {
    "any JSON object": {"type": "object"},
    "a long text": {"type": "object", "properties": {"text": {"type": "string", "minLength": 4000}}, "required": ["text"]},
    "a list of words by a pattern": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+( [a-z]+)*$", "maxLength": 60}, "minItems": 400},
    "records": {"type": "array", "minItems": 200, "items": {
        "type": "object", "additionalProperties": False, "required": ["id", "name", "mood", "tags"], "properties": {
            "id": {"type": "integer", "minimum": 1}, "name": {"type": "string", "maxLength": 80}, "mood": {"enum": ["happy", "sad"]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 4}}}},
}
FORCING = {
    "an address": {"type": "object", "additionalProperties": False, "required": ["recipient_name", "postal_code", "country_code"], "properties": {
        "recipient_name": {"type": "string", "maxLength": 20}, "postal_code": {"type": "string", "pattern": "^[0-9]{5}$"},
        "country_code": {"enum": ["NO", "SE", "DK"]}}},
    "a constant record": {"type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "restartPolicy"], "properties": {
        "apiVersion": {"const": "apps.example.org/v1beta1"}, "kind": {"const": "StatefulApplicationSet"},
        "restartPolicy": {"enum": ["Always", "OnFailure", "Never"]}}},
}


def stream(url, schema, max_tokens, seed):
    """Times of the pieces and the usage of one streamed answer."""
    body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": max_tokens, "temperature": 0.8, "seed": seed, "stream": True,
            "stream_options": {"include_usage": True}}
    if schema is None:
        body["ignore_eos"] = True
    else:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    times, usage, start = [], None, time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as reply:
        for line in reply:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter() - start)
    return times, usage["completion_tokens"]


def milliseconds_a_token(url, schema, max_tokens, seed):
    times, tokens = stream(url, schema, max_tokens, seed)
    return 1e3 * (times[-1] - times[0]) / (tokens - 1)


def compare(url, arguments):
    rows = {}
    for name, schema in LONG.items():
        free, bound = [], []
        milliseconds_a_token(url, schema, 32, 0)
        for k in range(arguments.rounds):
            free.append(milliseconds_a_token(url, None, arguments.tokens, k))
            bound.append(milliseconds_a_token(url, schema, arguments.tokens, k))
        ratio = statistics.median(b / f for f, b in zip(free, bound))
        rows[name] = {"free_ms": round(statistics.median(free), 3), "constrained_ms": round(statistics.median(bound), 3), "ratio": round(ratio, 3)}
        print(f"{name}: a token takes {rows[name]['constrained_ms']} ms, free {rows[name]['free_ms']} ms, ratio {ratio:.3f}", flush=True)
    return rows


def first_pieces(url, rounds):
    """Milliseconds to the first piece: free, with schemas never seen, and with one seen before."""
    fresh, seen, free = [], [], []
    for k in range(rounds):
        schema = {**LONG["records"], "title": str(k)}
        for times, given in ((free, None), (fresh, schema), (seen, schema)):
            times.append(1e3 * stream(url, given, 2, k)[0][0])
    return {name: round(statistics.median(values), 2) for name, values in (("free_ms", free), ("new_schema_ms", fresh), ("known_schema_ms", seen))}


def forced(cli, model, rounds):
    """Tokens of whole answers, and how many of them needed no run of the model."""
    rows = {}
    for name, schema in FORCING.items():
        path = pathlib.Path("forced-schema.json")
        path.write_text(json.dumps(schema))
        tokens = without = 0
        for seed in range(rounds):
            command = [cli, "--model", model, "--prompt", PROMPT, "--json-schema", path, "--temperature", "0.8", "--seed", str(seed), "--json",
                       "--max-tokens", "300"]
            answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            tokens += answer["generated_tokens"]
            without += answer.get("forced_tokens", 0)
        path.unlink()
        rows[name] = {"tokens": tokens, "forced": without}
        print(f"{name}: {without} of {tokens} tokens without running the model", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    command = [arguments.server, "--model", arguments.model, "--port", "0", "--max-seq-len", "2048"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        url = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+:\d+", line)))
        result = {"streams": compare(url, arguments), "first_piece": first_pieces(url, arguments.rounds)}
    finally:
        server.terminate()
        server.wait()
    result["forced"] = forced(pathlib.Path(arguments.server).with_name("imp-cli"), arguments.model, 5)
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result |= {"processor": processor[1] if processor else platform.machine(), "model": pathlib.Path(arguments.model).name, "commit": commit,
               "command": "bench/constrained_stream.py --rounds %d --tokens %d" % (arguments.rounds, arguments.tokens)}
    print(json.dumps(result["first_piece"]))
    if arguments.output:
        pathlib.Path(arguments.output).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
