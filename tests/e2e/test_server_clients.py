"""Both official packages on both real models: what a client sees must not depend on which one it is."""

import asyncio
import json
from typing import Literal

import anthropic
import httpx
import openai
import pydantic
import pytest

from server import serving

STORY = [{"role": "user", "content": "Tell me about a river."}]


class Place(pydantic.BaseModel):
    """Without lengths and ranges, which the anthropic package turns into remarks before it sends a schema."""

    model_config = pydantic.ConfigDict(extra="forbid")
    kind: Literal["river", "lake", "sea"]
    deep: bool
    color: Literal["blue", "green"] | None


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def server(request):
    model = request.getfixturevalue(request.param)
    # The file of this Gemma has no template of its own.
    more = ["--chat-template", "gemma"] if request.param == "gemma3" else []
    with serving(model, "--max-seq-len", 1024, *more) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def claude(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def test_chats_stream_what_they_say(client, claude):
    request = dict(model="any", messages=STORY, max_tokens=24)
    whole = client.chat.completions.create(temperature=0, **request)
    pieces = list(client.chat.completions.create(temperature=0, stream=True, stream_options={"include_usage": True}, **request))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices)
    assert text == whole.choices[0].message.content != ""
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
    message = claude.messages.create(extra_body={"temperature": 0}, **request)
    assert message.content[0].text == text
    with claude.messages.stream(extra_body={"temperature": 0}, **request) as stream:
        assert "".join(stream.text_stream) == text
        assert stream.get_final_message().usage.output_tokens == message.usage.output_tokens


def test_pydantic_models_come_back(client, claude):
    request = dict(model="any", messages=[{"role": "user", "content": "Describe a river as JSON."}], max_tokens=300)
    tight = {"frequency_penalty": 1.5}  # small models like to go on with spaces, which JSON allows
    for seed in range(3):
        reply = client.chat.completions.parse(response_format=Place, seed=seed, extra_body=tight, **request)
        assert isinstance(reply.choices[0].message.parsed, Place)
        message = claude.messages.parse(output_format=Place, extra_body={"seed": seed, **tight}, **request)
        assert isinstance(message.parsed_output, Place)
    with client.chat.completions.stream(response_format=Place, seed=2, extra_body=tight, **request) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == reply.choices[0].message.parsed


def test_log_probabilities_add_up(client):
    reply = client.chat.completions.create(model="any", messages=STORY, temperature=0, max_tokens=8, logprobs=True, top_logprobs=20)
    content = reply.choices[0].logprobs.content
    assert b"".join(bytes(entry.bytes) for entry in content).decode() == reply.choices[0].message.content
    for entry in content:
        values = [top.logprob for top in entry.top_logprobs]
        assert values == sorted(values, reverse=True) and entry.logprob == values[0] <= 0
    chunks = client.chat.completions.create(model="any", messages=STORY, temperature=0, max_tokens=8, logprobs=True, top_logprobs=20, stream=True)
    streamed = [entry for chunk in chunks if chunk.choices and chunk.choices[0].logprobs for entry in chunk.choices[0].logprobs.content]
    assert [(e.token, e.logprob) for e in streamed] == [(e.token, e.logprob) for e in content]


def test_embeddings_mean_something(client):
    texts = ["a cat sleeps on the sofa", "a kitten is sleeping on the couch", "stock prices fell by three percent"]
    vectors = [entry.embedding for entry in client.embeddings.create(model="any", input=texts).data]
    near, far = (sum(a * b for a, b in zip(vectors[0], other)) for other in vectors[1:])
    assert near > far
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-4 for vector in vectors)
    assert client.embeddings.create(model="any", input=texts[1]).data[0].embedding == vectors[1]


def test_errors_are_the_packages_own(client, claude, server):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="any", messages=STORY, temperature=-3)
    assert caught.value.param == "temperature" and caught.value.status_code == 400
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model="any", messages=STORY * 600, max_tokens=1)
    assert "context" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError):
        anthropic.Anthropic(base_url=f"{server.url}/nowhere", api_key="x", max_retries=0).messages.create(
            model="any", messages=STORY, max_tokens=1)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(model="any", messages=STORY, max_tokens=900, extra_body={"ignore_eos": True})


def test_sixty_four_at_once(server):
    """In both dialects, with a shared beginning, as each says alone."""
    system = "You are patient and kind, and you answer every question about rivers in a few words."

    async def ask_all():
        chat = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300)
        claude = anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0, timeout=300)

        async def one(i):
            user = {"role": "user", "content": f"Question {i}: is river {i % 7} long?"}
            if i % 2:
                reply = await claude.messages.create(model="any", system=system, messages=[user], max_tokens=8,
                                                     extra_body={"seed": i, "temperature": 1.0})
                return reply.content[0].text
            reply = await chat.chat.completions.create(model="any", messages=[{"role": "system", "content": system}, user],
                                                       max_tokens=8, seed=i, temperature=1.0)
            return reply.choices[0].message.content

        together = await asyncio.gather(*(one(i) for i in range(64)))
        return together, [await one(i) for i in range(0, 64, 7)]

    together, alone = asyncio.run(ask_all())
    assert together[::7] == alone
    assert len(set(together)) > 32


def test_models_are_listed_once(client, server):
    names = [model.id for model in client.models.list()]
    assert len(names) == len(set(names))
    assert json.loads(httpx.get(f"{server.url}/v1/models").text)["data"][0]["loaded"] is True
