"""Reasoning in both dialects: apart from the answer, within its budget to the token, and before a constraint begins."""

import json
import re

import anthropic
import httpx
import openai
import pytest

from server import serving

# SmolLM2 does not reason, but it goes on from whatever it is given: its template opens a block here.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% else %}<think>\n{% endif %}"
)
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
CLOSING = ["</", "think", ">"]  # how this vocabulary writes the marker
ON = {"logit_bias": {str(token): -100 for token in range(17)}}  # no special token comes, so that answers do not end early


@pytest.fixture(scope="module")
def server(smollm2, tmp_path_factory):
    template = tmp_path_factory.mktemp("template") / "thinking.jinja"
    template.write_text(TEMPLATE)
    with serving(smollm2, "--max-seq-len", 1024, "--chat-template-file", template) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def claude(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def chat(client, stream=False, **extra):
    known = {name: extra.pop(name) for name in ("reasoning_effort", "response_format", "logprobs", "max_tokens") if name in extra}
    request = dict(model="any", messages=QUESTION, temperature=0, max_tokens=60, extra_body={**ON, **extra})
    return client.chat.completions.create(stream=stream, **{**request, **known})


@pytest.mark.parametrize("budget", [0, 1, 7, 30])
def test_the_block_closes_at_its_token(client, budget):
    reply = chat(client, logprobs=True, reasoning_budget=budget)
    tokens = [entry.token for entry in reply.choices[0].logprobs.content]
    assert len(tokens) == 60
    assert tokens[budget:budget + 3] == CLOSING
    message = reply.choices[0].message
    assert message.reasoning_content.strip() == "".join(tokens[:budget]).strip() if budget else not hasattr(message, "reasoning_content")
    assert message.content == "".join(tokens[budget + 3:]).lstrip()
    assert reply.usage.completion_tokens_details.reasoning_tokens == budget
    # The same tokens without probabilities, which takes another path.
    again = chat(client, reasoning_budget=budget)
    assert again.choices[0].message.content == message.content


@pytest.mark.parametrize("effort, budget", [(None, 30), ("minimal", 6), ("low", 15), ("medium", 30), ("high", 48)])
def test_efforts_are_shares_of_the_answer(client, effort, budget):
    extra = {"reasoning_effort": effort} if effort else {}
    assert chat(client, **extra).usage.completion_tokens_details.reasoning_tokens == budget


def test_no_effort_means_no_reasoning(client):
    reply = chat(client, reasoning_effort="none")
    assert reply.usage.completion_tokens_details.reasoning_tokens == 0
    assert not hasattr(reply.choices[0].message, "reasoning_content") and reply.choices[0].message.content


def test_streams_say_the_same(client):
    whole = chat(client, reasoning_budget=12).choices[0].message
    reasoning, content = "", ""
    for chunk in chat(client, stream=True, reasoning_budget=12):
        delta = chunk.choices[0].delta
        assert not (content and getattr(delta, "reasoning_content", None))
        reasoning += getattr(delta, "reasoning_content", None) or ""
        content += delta.content or ""
    assert (reasoning, content) == (whole.reasoning_content, whole.content)


@pytest.mark.parametrize("budget", [0, 9])
def test_a_constraint_begins_behind_the_block(client, budget):
    reply = chat(client, reasoning_budget=budget, regex="[a-z]{4}-[0-9]{3}")
    message = reply.choices[0].message
    assert re.fullmatch("[a-z]{4}-[0-9]{3}", message.content)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens_details.reasoning_tokens == budget
    if budget:
        assert message.reasoning_content
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}, "required": ["a"], "additionalProperties": False}
    reply = chat(client, reasoning_budget=budget, max_tokens=200,
                 response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert isinstance(json.loads(reply.choices[0].message.content)["a"], int)


def test_an_end_inside_the_block_closes_it_for_a_constraint(server, client):
    """A model that ends before it has answered still owes the answer."""
    end = httpx.post(f"{server.url}/tokenize", json={"content": "<|im_end|>"}).json()["tokens"]
    reply = client.chat.completions.create(model="any", messages=QUESTION, temperature=0, max_tokens=60, logit_bias={str(end[0]): 100},
                                           extra_body={"regex": "[01]{5}"})
    assert re.fullmatch("[01]{5}", reply.choices[0].message.content)
    assert reply.usage.completion_tokens_details.reasoning_tokens == 0


def test_reasoning_can_stay_in_the_text(smollm2, tmp_path):
    template = tmp_path / "thinking.jinja"
    template.write_text(TEMPLATE)
    with serving(smollm2, "--max-seq-len", 512, "--chat-template-file", template, "--reasoning-format", "none", "--think-budget", 0.25) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)
        reply = chat(client, max_tokens=40)
        assert "</think>" in reply.choices[0].message.content
        assert reply.usage.completion_tokens_details.reasoning_tokens == 10


def message(claude, **extra):
    return claude.messages.create(model="any", max_tokens=60, messages=QUESTION, extra_body={"temperature": 0, **ON}, **extra)


def test_thinking_blocks_with_a_budget(claude, client):
    reply = message(claude, thinking={"type": "enabled", "budget_tokens": 20})
    assert [block.type for block in reply.content] == ["thinking", "text"]
    expected = chat(client, reasoning_budget=20).choices[0].message
    assert (reply.content[0].thinking, reply.content[1].text) == (expected.reasoning_content, expected.content)
    with claude.messages.stream(model="any", max_tokens=60, messages=QUESTION, thinking={"type": "enabled", "budget_tokens": 20},
                                extra_body={"temperature": 0, **ON}) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert "thinking" in kinds and "signature" in kinds
    assert (final.content[0].thinking, final.content[1].text) == (expected.reasoning_content, expected.content)
    assert final.usage.input_tokens + final.usage.cache_read_input_tokens == reply.usage.input_tokens + reply.usage.cache_read_input_tokens


def test_disabled_thinking(claude):
    reply = message(claude, thinking={"type": "disabled"})
    assert [block.type for block in reply.content] == ["text"]


@pytest.mark.parametrize("thinking", [{"type": "enabled"}, {"type": "enabled", "budget_tokens": 0}, {"type": "enabled", "budget_tokens": 60},
                                      {"type": "sometimes"}, {"type": "enabled", "budget_tokens": "many"}])
def test_budgets_that_make_no_sense(claude, thinking):
    with pytest.raises(anthropic.BadRequestError) as caught:
        message(claude, thinking=thinking)
    assert "thinking" in caught.value.body["error"]["message"]


def test_efforts_that_nobody_knows(client):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, reasoning_effort="enormous")
    assert caught.value.param == "reasoning_effort"


def test_the_budget_of_the_configuration(smollm2, tmp_path):
    """A limit for all requests that name no budget of their own."""
    template = tmp_path / "thinking.jinja"
    template.write_text(TEMPLATE)
    with serving(smollm2, "--max-seq-len", 1024, "--chat-template-file", template, "--set",
                 "generation.think_budget=4") as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)
        for extra, budget in (({}, 4), ({"reasoning_effort": "high"}, 4), ({"reasoning_budget": 9}, 9)):
            reply = chat(client, max_tokens=20, **extra)
            assert reply.usage.completion_tokens_details.reasoning_tokens == budget
