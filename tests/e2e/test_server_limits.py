"""What a server must refuse, and what it must finish: times, sizes, queues, rates, and its own end."""

import json
import signal
import socket
import threading
import time

import httpx
import openai
import pytest

from server import serving

COMPLETIONS = "/v1/completions"
LONG = {"prompt": "hello", "max_tokens": 0, "ignore_eos": True, "stream": True}


def eventually(condition, seconds=30):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "that took too long"
        time.sleep(0.01)


def metrics(server):
    return httpx.get(server.url + "/metrics", timeout=60).text


def head(path, length, extra=""):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


def seconds_until_closed(peer, trickle=b""):
    """How long the server keeps a connection on which a byte comes every tenth of a second, or none."""
    start = time.time()
    peer.settimeout(0.1)
    while time.time() - start < 20:
        try:
            if trickle:
                peer.sendall(trickle)
            if peer.recv(1000) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.time() - start


@pytest.fixture(scope="module")
def hasty(smollm2):
    """A server that gives the head of a request two seconds and its body four."""
    with serving(smollm2, "--max-seq-len", 4096, "--set", "server.head_seconds=2", "--set", "server.body_seconds=4") as running:
        yield running


@pytest.mark.parametrize("trickle", [b"", b"x"])
def test_heads_that_never_end(hasty, trickle):
    with socket.create_connection(("127.0.0.1", hasty.port)) as peer:
        peer.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Long: ")
        assert 1 < seconds_until_closed(peer, trickle) < 5


def test_bodies_that_trickle(hasty):
    with socket.create_connection(("127.0.0.1", hasty.port)) as peer:
        peer.sendall(head(COMPLETIONS, 100000))
        assert 3 < seconds_until_closed(peer, b" ") < 8


def test_answers_may_take_longer_than_heads(hasty):
    """The limits are for what clients send; a stream goes on, and its connection can be used again."""
    with httpx.Client(base_url=hasty.url, timeout=60) as client:
        for _ in range(2):
            start = time.time()
            with client.stream("POST", COMPLETIONS, json={**LONG, "timeout": 3}) as reply:
                lines = [line for line in reply.iter_lines() if line]
            assert lines[-1] == "data: [DONE]" and len(lines) > 20
            assert time.time() - start > 2.5


def test_a_full_queue_says_when_to_come_back(smollm2):
    with serving(smollm2, "--max-seq-len", 4096, "--max-concurrent", 1, "--max-waiting", 1) as running:
        url = running.url + COMPLETIONS
        with httpx.Client(timeout=60) as client, client.stream("POST", url, json=LONG) as first:
            lines = first.iter_lines()  # kept: without it the stream would be closed
            next(lines)
            waiting = threading.Thread(target=lambda: httpx.post(url, json={"prompt": "a", "max_tokens": 3}, timeout=120))
            waiting.start()
            eventually(lambda: "imp_requests_waiting 1" in metrics(running))
            refused = httpx.post(url, json={"prompt": "b", "max_tokens": 3}, timeout=60)
            assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["type"] == "rate_limit_error"
            # The official client comes again by itself, and gets through once there is room.
            threading.Timer(1.5, first.close).start()
            patient = openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=10)
            assert patient.completions.create(model="any", prompt="c", max_tokens=3).choices[0].finish_reason
        waiting.join()


def test_a_rate_limit_says_when_the_minute_ends(chat_model):
    with serving(chat_model, "--rate-limit", 2) as running:
        answers = [httpx.post(running.url + COMPLETIONS, json={"prompt": "a", "max_tokens": 1}, timeout=60) for _ in range(6)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) >= 2
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
        assert httpx.get(running.url + "/health").status_code == 200  # only generations count


def test_a_client_that_times_out_frees_its_request(smollm2):
    with serving(smollm2, "--max-seq-len", 4096) as running:
        client = openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0, timeout=0.5)
        with pytest.raises(openai.APITimeoutError):
            client.completions.create(model="any", prompt="hello", max_tokens=4000, extra_body={"ignore_eos": True})
        eventually(lambda: "imp_requests_running 0" in metrics(running) and "imp_kv_pages_in_use 0" in metrics(running))
        assert "imp_requests_cancelled_total 1" in metrics(running)
        # The same limit as a field of the request: the answer ends there, as at its length.
        reply = client.with_options(timeout=60).completions.create(
            model="any", prompt="hello", max_tokens=4000, extra_body={"ignore_eos": True, "timeout": 0.5})
        assert reply.choices[0].finish_reason == "length" and 0 < reply.usage.completion_tokens < 4000


def test_the_first_signal_lets_answers_end(smollm2):
    with serving(smollm2, "--max-seq-len", 2048) as running:
        body = {**LONG, "max_tokens": 200}
        lines = []

        def read():
            with httpx.stream("POST", running.url + COMPLETIONS, json=body, timeout=120) as reply:
                lines.extend(line for line in reply.iter_lines() if line)

        reader = threading.Thread(target=read)
        reader.start()
        eventually(lambda: lines)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: "finishing 1 requests" in "".join(running.log))
        refused = httpx.post(running.url + "/v1/messages", json={"max_tokens": 1, "messages": [{"role": "user", "content": "a"}]})
        assert refused.status_code == 503 and refused.json()["error"]["type"] == "overloaded_error"
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(running.url + "/health").status_code == 503
        reader.join(timeout=120)
        assert lines[-1] == "data: [DONE]"
        assert json.loads(lines[-2][6:])["choices"][0]["finish_reason"] == "length"
        assert running.process.wait(timeout=20) == 0
