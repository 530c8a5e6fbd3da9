"""What no client library sends: wrong types in every field, broken HTTP, clients that stop in the middle."""

import json
import signal
import socket
import time
from http.client import HTTPConnection

import pytest

from server import serving

CHAT, COMPLETIONS, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/embeddings"
USER = [{"role": "user", "content": "hello"}]
GOOD = {
    CHAT: {"model": "m", "messages": USER, "max_tokens": 3},
    COMPLETIONS: {"model": "m", "prompt": "hello", "max_tokens": 3},
    MESSAGES: {"model": "m", "messages": USER, "max_tokens": 3},
    EMBEDDINGS: {"model": "m", "input": "hello"},
    "/v1/messages/count_tokens": {"model": "m", "messages": USER},
    "/tokenize": {"content": "hello"},
    "/detokenize": {"tokens": [10, 11]},
}
VALUES = [0, -1, 3.5, 1e300, 2**62, True, "", "x", "a\u0000b", [], {}, [[]], [{}], {"a": 1}, [None], [1e30], {"type": "x"},
          {"type": None}, [{"type": "text"}], [{"role": "user"}], [{"role": "user", "content": [{"type": "image"}]}],
          [{"role": "tool", "tool_calls": 3, "content": None}], {"include_usage": 1}, {"1": "x"}, {"999999": 1}]
FIELDS = ["messages", "prompt", "input", "content", "tokens", "max_tokens", "max_completion_tokens", "temperature", "top_p",
          "top_k", "seed", "n", "stop", "stop_sequences", "stream_options", "logprobs", "top_logprobs", "logit_bias", "tools",
          "tool_choice", "response_format", "system", "documents", "chat_template_kwargs", "add_generation_prompt",
          "priority", "ignore_eos", "dimensions", "encoding_format", "echo", "best_of", "suffix", "presence_penalty",
          "thinking", "model", "user", "add_special"]


@pytest.fixture(scope="module")
def server(chat_model, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "requests.jsonl"
    with serving(chat_model, "--max-seq-len", 512, "--log-requests", log) as running:
        yield running
        assert running.process.poll() is None, "".join(running.log)
        assert running.stop() == 0, "".join(running.log)


def call(server, path, body, method="POST", headers={}):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, body if isinstance(body, (bytes, str)) else json.dumps(body), headers)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply, text


def raw(server, data, half_close=False, timeout=20):
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as peer:
        peer.sendall(data)
        if half_close:
            peer.shutdown(socket.SHUT_WR)
        answer = b""
        while part := peer.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize("path", GOOD)
def test_wrong_types_are_answered(server, path):
    """Either the field does not matter here, or the answer says in the dialect's shape what is wrong."""
    for field in FIELDS:
        for value in VALUES:
            if field == "max_tokens" and value == 2**62:
                continue
            reply, text = call(server, path, {**GOOD[path], field: value, "timeout": 10})
            assert reply.status in (200, 400), (field, value, text)
            error = json.loads(text).get("error") if reply.status == 400 else None
            assert reply.status == 200 or (error["message"] and error["type"] == "invalid_request_error"), (field, value)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff\xfe", b'{"a":' * 100000, b"[" * 100000,
                                  b'{"messages":"\xed\xa0\x80"}', b'{"a":1,"a":2}', b"[" + b"1," * 3000000 + b"1]"])
def test_broken_bodies(server, body):
    for path in GOOD:
        reply, text = call(server, path, body)
        assert reply.status == 400 and json.loads(text)["error"]["message"], text


def test_deep_tool_arguments(server):
    """JSON inside of JSON is as dangerous as outside."""
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[" * 2000 + "]" * 2000}}]
    messages = [{"role": "assistant", "content": None, "tool_calls": calls}, *USER]
    reply, text = call(server, CHAT, {"messages": messages, "max_tokens": 1})
    assert reply.status == 200, text


def test_methods(server):
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        reply, text = call(server, CHAT, b"", method)
        assert reply.status == 405 and reply.headers["Allow"] == "POST"
    reply, text = call(server, "/health", b"", "HEAD")
    assert reply.status == 200 and text == b""
    assert call(server, "/nothing", b"{}")[0].status == 404
    assert call(server, "/v1/messages/nothing", b"{}")[1].startswith(b'{"type":"error"')


def test_junk_and_huge_heads(server):
    for data in (b"\x16\x03\x01\x02\x00\x01" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 5000 + b"\r\n\r\n"):
        raw(server, data, half_close=True)
    answer = raw(server, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 200000 + b"\r\n\r\n")
    assert answer.split(b" ")[1] in (b"400", b"431", b"414"), answer[:80]
    assert call(server, "/health", b"", "GET")[0].status == 200


def post(path, body, headers=""):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


def test_pipelined_chunked_and_continued(server):
    body = json.dumps(GOOD[COMPLETIONS])
    answer = raw(server, post(COMPLETIONS, body) + post(COMPLETIONS, body, "Connection: close\r\n"))
    assert answer.count(b"HTTP/1.1 200") == 2
    chunk = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert raw(server, (head + chunk).encode()).startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as peer:
        data = post(COMPLETIONS, body, "Expect: 100-continue\r\nConnection: close\r\n")
        head_length = data.index(b"\r\n\r\n") + 4
        peer.sendall(data[:head_length])
        assert peer.recv(1000).startswith(b"HTTP/1.1 100")
        peer.sendall(data[head_length:])
        assert peer.recv(100).startswith(b"HTTP/1.1 200")


def test_a_body_beyond_the_limit(server):
    reply, text = call(server, MESSAGES, b" " * (33 << 20))
    assert reply.status == 413 and json.loads(text)["error"]["type"] == "request_too_large"


def metrics(server):
    lines = call(server, "/metrics", b"", "GET")[1].decode().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_vanishes_frees_its_pages(server, stream):
    before = metrics(server)["imp_requests_cancelled_total"]
    body = json.dumps({**GOOD[COMPLETIONS], "max_tokens": 0, "ignore_eos": True, "stream": stream, "n": 4})
    peers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    for peer in peers:
        peer.sendall(post(COMPLETIONS, body))
    while metrics(server)["imp_requests_running"] == 0:
        time.sleep(0.001)
    for peer in peers:
        peer.close()
    end = time.time() + 20
    while metrics(server)["imp_requests_running"] + metrics(server)["imp_requests_waiting"] > 0:
        assert time.time() < end
        time.sleep(0.05)
    assert metrics(server)["imp_kv_pages_in_use"] == 0
    assert metrics(server)["imp_requests_cancelled_total"] >= before


def test_the_end_does_not_wait_for_half_a_request(chat_model):
    with serving(chat_model) as server:
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.sendall(post(COMPLETIONS, " " * 100)[:-50])
        time.sleep(0.3)
        start = time.time()
        assert server.stop(timeout=20) == 0
        assert time.time() - start < 15


def test_a_second_signal_stops_at_once(chat_model):
    with serving(chat_model, "--max-seq-len", 30000) as server:
        peer = socket.create_connection(("127.0.0.1", server.port))
        body = json.dumps({**GOOD[COMPLETIONS], "max_tokens": 0, "ignore_eos": True, "stream": True})
        peer.sendall(post(COMPLETIONS, body))
        peer.recv(100)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None  # it drains
        assert call(server, COMPLETIONS, GOOD[COMPLETIONS])[0].status == 503
        assert server.stop(timeout=20) == 0


def test_a_number_that_is_too_large_is_named(server):
    tool = {"type": "function", "function": {"name": "f", "parameters": {
        "type": "object", "properties": {"a \"b\"": {"type": "integer"}, "x": {"enum": [1, {"max": 2**64}]}}}}}
    call_of = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"ids": [1, -9223372036854775809]}'}}
    chat = GOOD[CHAT]
    for body, place in [
            ({**chat, "seed": 2**63}, "seed"),
            ({**chat, "tools": [tool]}, "tools[0].function.parameters.properties.x.enum[1].max"),
            ({**chat, "messages": [{"role": "user", "content": "x"}, {"role": "user", "id": -2**70}]}, "messages[1].id"),
            ({**chat, "messages": USER + [{"role": "assistant", "tool_calls": [call_of]}]}, "ids[1]"),
            ({**chat, "é" * 200: 2**64}, "é" * 79)]:
        reply, text = call(server, CHAT, json.dumps(body, ensure_ascii=False).encode())
        error = json.loads(text)["error"]
        assert reply.status == 400 and f"a number in {place} that is too large" in error["message"], text
