"""The official openai package, unmodified, against imp-server."""

import asyncio
import base64
import struct

import httpx
import openai
import pytest

from server import serving

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def server(smollm2):
    with serving(smollm2, "--max-seq-len", 2048) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_chat(client):
    reply = client.chat.completions.create(model="any", messages=QUESTION, temperature=0)
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    again = client.chat.completions.create(model="any", messages=QUESTION, temperature=0)
    assert again.choices[0].message.content == ANSWER
    assert again.usage.prompt_tokens_details.cached_tokens >= 16


def test_stream_says_the_same(client):
    pieces, usage, reasons = [], None, []
    for chunk in client.chat.completions.create(
        model="any", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
    ):
        if chunk.choices:
            pieces.append(chunk.choices[0].delta.content or "")
            reasons.append(chunk.choices[0].finish_reason)
        if chunk.usage:
            usage = chunk.usage
    assert "".join(pieces) == ANSWER
    assert len(pieces) > 3
    assert reasons[-1] == "stop" and not any(reasons[:-1])
    assert usage.completion_tokens == 7


def test_several_choices_and_seeds(client):
    def draw(seed):
        reply = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Tell me a story."}], temperature=1.2, seed=seed, n=3, max_tokens=20
        )
        return [choice.message.content for choice in reply.choices]

    first = draw(7)
    assert len(set(first)) == 3
    assert draw(7) == first
    assert draw(8) != first


def test_streamed_choices_are_the_whole_ones(client):
    request = dict(model="any", messages=QUESTION, temperature=1.0, seed=3, n=2, max_tokens=16)
    whole = [choice.message.content for choice in client.chat.completions.create(**request).choices]
    texts = ["", ""]
    for chunk in client.chat.completions.create(stream=True, **request):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == whole


def test_logprobs(client):
    reply = client.chat.completions.create(
        model="any", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=3
    )
    content = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == ANSWER
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == entry.top_logprobs[0].logprob  # greedy takes the most likely
        assert entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob
        assert bytes(entry.bytes).decode() == entry.token
    assert abs(content[0].logprob - -1.88) < 0.05


def test_stop_strings(client):
    reply = client.chat.completions.create(model="any", messages=QUESTION, temperature=0, stop=["of Fr"])
    assert reply.choices[0].message.content == "The capital "
    assert reply.choices[0].finish_reason == "stop"


def test_max_tokens(client):
    reply = client.chat.completions.create(model="any", messages=QUESTION, temperature=0, max_completion_tokens=3)
    assert reply.choices[0].message.content == "The capital of"
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 3


def test_logit_bias_bans(client):
    ids = httpx.post(str(client.base_url).replace("/v1/", "/tokenize"), json={"content": " Paris"}).json()["tokens"]
    reply = client.chat.completions.create(
        model="any", messages=QUESTION, temperature=0, max_tokens=20, logit_bias={str(ids[0]): -100}
    )
    assert "Paris" not in reply.choices[0].message.content


def test_every_sampler_is_a_field(client):
    def answer(**extra):
        request = dict(model="any", messages=[{"role": "user", "content": "Tell me a story."}], temperature=1.0, seed=5, max_tokens=24)
        return client.chat.completions.create(**{**request, **extra}).choices[0].message.content

    plain = answer()
    greedy = answer(temperature=0)
    assert plain != greedy
    # Whatever leaves one token leaves the most likely one.
    for only in ({"top_k": 1}, {"min_p": 1.0}, {"top_p": 0.0}, {"top_k": 1, "sampler_order": ["temperature", "top_k"]}):
        assert answer(extra_body=only) == greedy, only
    # An order without a link is a chain without it.
    assert answer(extra_body={"top_k": 1, "sampler_order": ["temperature", "top_p"]}) != greedy
    for other in ({"typical_p": 0.2}, {"repeat_penalty": 1.8}, {"mirostat": 2, "mirostat_tau": 2.0}):
        assert answer(extra_body=other) != plain, other
    looping = dict(messages=[{"role": "user", "content": "Say: " + "one two three four. " * 12}], temperature=0, max_tokens=40)
    dry = {"dry_multiplier": 5.0, "dry_allowed_length": 1}
    assert answer(**looping) != answer(**looping, extra_body={**dry, "dry_breakers": ["\n"]})
    assert answer(**looping) == answer(**looping, extra_body={**dry, "dry_penalty_last_n": 0})


def test_parts_and_developer_role(client):
    reply = client.chat.completions.create(
        model="any",
        temperature=0,
        messages=[
            {"role": "developer", "content": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
            {"role": "user", "content": [{"type": "text", "text": "What is the capital "}, {"type": "text", "text": "of France?"}]},
        ],
    )
    assert reply.choices[0].message.content == ANSWER


def test_completions(client):
    reply = client.completions.create(model="any", prompt=["The capital of France is", "One, two, three,"], temperature=0, max_tokens=4)
    assert reply.choices[0].text.startswith(" Paris")
    assert "four" in reply.choices[1].text
    streamed = "".join(
        chunk.choices[0].text
        for chunk in client.completions.create(
            model="any", prompt="The capital of France is", temperature=0, max_tokens=4, stream=True
        )
    )
    assert streamed == reply.choices[0].text
    scored = client.completions.create(model="any", prompt="The capital of France is", temperature=0, max_tokens=2, logprobs=2)
    assert len(scored.choices[0].logprobs.tokens) == 2
    assert len(scored.choices[0].logprobs.top_logprobs[0]) == 2


def test_embeddings(client):
    reply = client.embeddings.create(model="any", input=["a cat", "a kitten", "stock market report"])
    cat, kitten, stock = [entry.embedding for entry in reply.data]
    assert len(cat) == 576
    assert abs(sum(x * x for x in cat) - 1) < 1e-4

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b))

    assert dot(cat, kitten) > dot(cat, stock)
    short = client.embeddings.create(model="any", input="a cat", dimensions=16).data[0].embedding
    assert len(short) == 16 and abs(sum(x * x for x in short) - 1) < 1e-4
    raw = httpx.post(f"{client.base_url}embeddings", json={"input": "a cat", "encoding_format": "base64"}, timeout=60).json()
    values = struct.unpack("<576f", base64.b64decode(raw["data"][0]["embedding"]))
    assert max(abs(a - b) for a, b in zip(values, cat)) < 1e-6


def test_models(client):
    assert [model.id for model in client.models.list()][0].lower().startswith("smollm2")


@pytest.mark.parametrize(
    "change, field",
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"n": 100}, "n"),
        ({"top_logprobs": 50}, "top_logprobs"),
        ({"stop": [""]}, "stop"),
        ({"logit_bias": {"cat": 1}}, "logit_bias"),
        ({"extra_body": {"sampler_order": ["top_k", "top_q"]}}, "sampler_order"),
        ({"extra_body": {"sampler_order": ["top_k", "top_k"]}}, "sampler_order"),
        ({"extra_body": {"dry_breakers": [""]}}, "dry_breakers"),
        ({"extra_body": {"mirostat": 3}}, "mirostat"),
    ],
)
def test_errors_name_the_field(client, change, field):
    request = dict(model="any", messages=QUESTION, max_tokens=1)
    request.update(change)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**request)
    assert caught.value.param == field
    assert field in caught.value.message


def test_a_prompt_that_cannot_fit_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "word " * 4000}])
    assert "context" in caught.value.message


def test_other_statuses(server):
    with pytest.raises(openai.NotFoundError):
        openai.OpenAI(base_url=f"{server.url}/nowhere", api_key="x", max_retries=0).models.list()
    assert httpx.get(f"{server.url}/v1/chat/completions").status_code == 405
    assert httpx.post(f"{server.url}/v1/completions", content=b"{" * 70).status_code == 400
    assert httpx.post(f"{server.url}/v1/completions", content=b"[1]").status_code == 400
    assert httpx.post(f"{server.url}/v1/completions", content=b"\xff\xfe").status_code == 400
    big = httpx.post(f"{server.url}/v1/completions", content=b"x" * (33 << 20), timeout=60)
    assert big.status_code == 413


def test_sixty_four_at_once(server):
    async def all_of_them():
        client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300)

        async def one(i):
            text = ""
            stream = await client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": f"Count from {i}."}], temperature=0.8, seed=i, max_tokens=12, stream=True
            )
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            return text

        together = await asyncio.gather(*(one(i) for i in range(64)))
        alone = [await one(i) for i in range(0, 64, 16)]
        return together, alone

    together, alone = asyncio.run(all_of_them())
    assert alone == together[::16]


def test_a_client_that_leaves_frees_everything(server):
    for _ in range(3):
        with httpx.stream(
            "POST", f"{server.url}/v1/completions", json={"prompt": "Once", "max_tokens": 1500, "stream": True}, timeout=60
        ) as response:
            for _ in response.iter_lines():
                break
    for _ in range(100):
        metrics = httpx.get(f"{server.url}/metrics").text
        if "imp_requests_running 0" in metrics and "imp_kv_pages_in_use 0" in metrics:
            return
    pytest.fail(metrics)


def test_keys_rates_and_draining(smollm2, tmp_path):
    log = tmp_path / "requests.jsonl"
    with serving(smollm2, "--api-key", "secret", "--rate-limit", 4, "--max-seq-len", 512, "--log-requests", log) as running:
        wrong = openai.OpenAI(base_url=f"{running.url}/v1", api_key="secre7", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        right = openai.OpenAI(base_url=f"{running.url}/v1", api_key="secret", max_retries=0)
        assert len(right.models.list().data) >= 1
        statuses = []
        for _ in range(10):
            reply = httpx.post(
                f"{running.url}/v1/completions",
                json={"prompt": "Hi", "max_tokens": 1},
                headers={"Authorization": "Bearer secret"},
                timeout=60,
            )
            statuses.append(reply.status_code)
        assert statuses.count(429) >= 2 and 200 in statuses
        assert reply.status_code == 200 or reply.headers["retry-after"]
        assert '"prompt":"Hi"' in log.read_text()
        assert running.stop() == 0
