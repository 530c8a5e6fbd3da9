#!/usr/bin/env python3
"""Loads imp-server on loopback for a while with everything that goes wrong in real life, and checks that nothing stays.

    python tests/e2e/soak_server.py --model MODEL.gguf [--streams 1000] [--seconds 300] [--concurrent 64]

Keeps so many streams open at all times. Most read to their end and are compared with the same request's answer when it ran
alone; some vanish in the middle, some read slowly. Beside them come half-sent requests and junk bytes. At the end nothing
may run or wait, no page may be held, and memory must not have grown since the first third.
"""

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from pathlib import Path

from server import serving

WORDS = "the river was old and slow but nobody knew where it began or why it had never come to its end".split()
N_PROMPTS = 24


def body_of(number):
    """Request `number` of the few whose answers are known; they share beginnings of several pages."""
    rng = random.Random(number)
    shared = " ".join(WORDS * 2) if number % 2 else ""
    prompt = shared + " ".join(rng.choice(WORDS) for _ in range(8 + number))
    return json.dumps({"prompt": prompt, "seed": number, "temperature": 1.0, "max_tokens": 24 + number % 5 * 8,
                       "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}).encode()


class Soak:
    def __init__(self, port, seconds):
        self.port, self.end = port, time.monotonic() + seconds
        self.expected = {}
        self.counts = dict.fromkeys(("whole", "vanished", "slow", "half_sent", "junk", "wrong", "refused", "broken"), 0)
        self.problems = []

    async def open(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, number):
        reader, writer = await self.open()
        body = body_of(number)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return reader, writer

    async def read(self, reader, delay=0.0, stop_after=None):
        """(text, tokens, whether it came to its end); a missing or doubled event shows in one of them."""
        text, tokens, ended, n = "", None, False, 0
        status = await reader.readline()
        if b" 200 " not in status:
            return None
        while line := await reader.readline():
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                text += "".join(choice["text"] for choice in event["choices"])
                tokens = event["usage"]["completion_tokens"] if event.get("usage") else tokens
                n += 1
                if stop_after is not None and n >= stop_after:
                    return text, tokens, False
                if delay:
                    await asyncio.sleep(delay)
            ended = ended or line.startswith(b"data: [DONE]")
        return text, tokens, ended

    async def stream(self, rng):
        number, kind = rng.randrange(N_PROMPTS), rng.random()
        reader, writer = await self.send(number)
        try:
            if kind < 0.15:
                await self.read(reader, stop_after=rng.randrange(1, 8))
                self.counts["vanished"] += 1
                return
            slow = kind < 0.2
            answer = await self.read(reader, delay=0.05 if slow else 0)
            if answer is None:
                self.counts["refused"] += 1
            elif answer != self.expected[number]:
                self.counts["wrong"] += 1
                self.problems.append((number, answer, self.expected[number]))
            else:
                self.counts["slow" if slow else "whole"] += 1
        finally:
            writer.close()

    async def keep_streaming(self, seed):
        rng = random.Random(seed)
        while time.monotonic() < self.end:
            try:
                await self.stream(rng)
            except OSError as error:
                self.counts["broken"] += 1
                self.problems.append(repr(error))
                await asyncio.sleep(0.5)

    async def harass(self, seed):
        """Half-sent requests, left open for a while, and junk."""
        rng = random.Random(seed)
        while time.monotonic() < self.end:
            try:
                _, writer = await self.open()
                if rng.random() < 0.5:
                    data = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{\"prompt\":"
                    writer.write(data[:rng.randrange(1, len(data))])
                    self.counts["half_sent"] += 1
                    await asyncio.sleep(rng.random())
                else:
                    writer.write(rng.randbytes(rng.randrange(1, 4000)))
                    self.counts["junk"] += 1
                writer.close()
            except OSError:
                pass
            await asyncio.sleep(0.2)

    async def metrics(self):
        reader, writer = await self.open()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        lines = (await reader.read()).decode().splitlines()
        writer.close()
        return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("imp_")}

    async def quiet(self, seconds=90):
        """The metrics once nothing runs any more; what still runs then is stuck."""
        end = time.monotonic() + seconds
        while True:
            now = await self.metrics()
            busy = now["imp_requests_running"] + now["imp_requests_waiting"] + now["imp_kv_pages_in_use"]
            if busy == 0 or time.monotonic() > end:
                return now
            await asyncio.sleep(0.2)

    async def learn(self):
        for number in range(N_PROMPTS):
            reader, writer = await self.send(number)
            self.expected[number] = await self.read(reader)
            writer.close()
            assert self.expected[number][2], self.expected[number]


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("the server has died")


async def run(server, streams, seconds):
    soak = Soak(server.port, seconds)
    await soak.learn()
    start = await soak.quiet()
    soak.end = time.monotonic() + seconds
    tasks = [asyncio.create_task(soak.keep_streaming(seed)) for seed in range(streams)]
    tasks += [asyncio.create_task(soak.harass(seed)) for seed in range(4)]
    resident, most_running, most_open = [], 0, 0
    while time.monotonic() < soak.end:
        await asyncio.sleep(min(1.0, seconds / 20))
        now = await soak.metrics()
        resident.append(resident_kib(server.process.pid))
        most_running = max(most_running, int(now["imp_requests_running"]))
        most_open = max(most_open, int(now["imp_requests_running"] + now["imp_requests_waiting"]))
    _, stuck = await asyncio.wait(tasks, timeout=30 + seconds / 2)
    for task in stuck:
        task.cancel()
    end = await soak.quiet()
    third = max(1, len(resident) // 3)
    return {"streams": streams, "seconds": seconds, **soak.counts, "stuck_clients": len(stuck),
            "most_running": most_running, "most_open": most_open,
            "running": end["imp_requests_running"], "waiting": end["imp_requests_waiting"],
            "pages_in_use": end["imp_kv_pages_in_use"], "preempted": end["imp_requests_preempted_total"],
            "cancelled": end["imp_requests_cancelled_total"] - start["imp_requests_cancelled_total"],
            "generated_tokens": end["imp_generated_tokens_total"] - start["imp_generated_tokens_total"],
            "resident_kib_first_third": max(resident[:third]), "resident_kib_last_third": max(resident[-third:]),
            "resident_kib_quiet": resident_kib(server.process.pid), "problems": soak.problems[:3]}


def check(report):
    """The rules that a load must not break."""
    for name in ("wrong", "refused", "broken", "stuck_clients", "running", "waiting", "pages_in_use"):
        assert report[name] == 0, (name, report)
    assert report["whole"] > 0 and report["vanished"] > 0, report
    grown = report["resident_kib_last_third"] - report["resident_kib_first_third"]
    assert grown < 16384 + report["resident_kib_first_third"] // 20, report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--concurrent", type=int, default=64)
    parser.add_argument("--kv-tokens", type=int, default=4096, help="few, so that requests are put back now and then")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * options.streams)), hard))
    with serving(options.model, "--max-seq-len", 512, "--max-concurrent", options.concurrent, "--kv-tokens",
                 options.kv_tokens) as server:
        try:
            report = asyncio.run(run(server, options.streams, options.seconds))
        except BaseException:
            print("".join(server.log), "exit", server.process.poll(), file=sys.stderr)
            raise
        print(json.dumps(report, indent=1))
        check(report)
        return server.stop()


if __name__ == "__main__":
    sys.exit(main())
