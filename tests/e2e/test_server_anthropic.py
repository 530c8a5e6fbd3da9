"""The official anthropic package, unmodified, against imp-server."""

import anthropic
import pytest

from conftest import CHATML
from server import serving

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def client(smollm2):
    with serving(smollm2, "--max-seq-len", 2048) as running:
        yield anthropic.Anthropic(base_url=running.url, api_key="none", max_retries=0)


def test_message(client):
    reply = client.messages.create(model="any", max_tokens=32, messages=QUESTION, extra_body={"temperature": 0})
    assert reply.content[0].text == ANSWER
    assert reply.stop_reason == "end_turn"
    assert reply.usage.output_tokens == 7
    again = client.messages.create(model="any", max_tokens=32, messages=QUESTION, extra_body={"temperature": 0})
    assert again.usage.cache_read_input_tokens >= 16


def test_stream(client):
    with client.messages.stream(model="any", max_tokens=32, messages=QUESTION, extra_body={"temperature": 0}) as stream:
        assert "".join(stream.text_stream) == ANSWER
        final = stream.get_final_message()
    assert final.stop_reason == "end_turn"
    assert final.content[0].text == ANSWER
    assert final.usage.output_tokens == 7


def test_stream_events_come_in_order(client):
    kinds = [
        event.type
        for event in client.messages.create(model="any", max_tokens=8, messages=QUESTION, extra_body={"temperature": 0}, stream=True)
    ]
    kinds = [kind for kind in kinds if kind != "ping"]
    assert kinds[0] == "message_start" and kinds[1] == "content_block_start"
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_system_blocks_stop_sequences_and_length(client):
    reply = client.messages.create(
        model="any",
        max_tokens=32,
        extra_body={"temperature": 0},
        system=[{"type": "text", "text": "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]}],
        stop_sequences=["nothing", "France"],
    )
    assert reply.content[0].text == "The capital of "
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "France")
    short = client.messages.create(model="any", max_tokens=2, messages=QUESTION, extra_body={"temperature": 0})
    assert short.stop_reason == "max_tokens"


def test_count_tokens(client):
    counted = client.messages.count_tokens(model="any", messages=QUESTION).input_tokens
    reply = client.messages.create(model="any", max_tokens=1, messages=QUESTION)
    assert counted == reply.usage.input_tokens + reply.usage.cache_read_input_tokens


def test_errors_have_the_dialects_shape(client):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model="any", max_tokens=5, messages=[{"role": "user", "content": [{"type": "image", "source": {}}]}])
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert "image" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="any", max_tokens=-5, messages=QUESTION)


# ---- cache_control ----

EPHEMERAL = {"type": "ephemeral"}
LONG = "You know everything about the rivers of the world, and you answer in one short sentence. " * 12


def usage(client, **request):
    reply = client.messages.create(model="any", max_tokens=2, extra_body={"temperature": 0}, **request)
    u = reply.usage
    return u.cache_creation_input_tokens, u.cache_read_input_tokens, u.input_tokens


def ask(client, text, question, **control):
    system = [{"type": "text", "text": text, **control}]
    return usage(client, system=system, messages=[{"role": "user", "content": question}])


def test_pins_are_made_and_read(client):
    made, read, rest = ask(client, "One. " + LONG, "Where is the Nile?", cache_control=EPHEMERAL)
    assert made > 150 and made % 16 == 0 and read == 0 and 0 < rest < 64
    again = ask(client, "One. " + LONG, "And which river is in Paris?", cache_control=EPHEMERAL)
    assert again[0] == 0 and again[1] >= made
    assert ask(client, "Two. " + LONG, "Where is the Nile?")[0] == 0  # nobody asked for it


def test_blocks_of_every_kind_can_carry_it(client):
    question = {"role": "user", "content": "Where is the Nile?"}
    text = {"type": "text", "text": "Three. " + LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    call = {"type": "tool_use", "id": "1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": "Four. " + LONG, "cache_control": EPHEMERAL}
    in_message = usage(client, messages=[{"role": "user", "content": [text, {"type": "text", "text": "Is that so?"}]}])
    assert in_message[0] > 150
    assert in_message[2] < 64
    in_result = usage(client, messages=[question, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}])
    assert in_result[0] > 150
    whole = usage(client, messages=[{"role": "user", "content": "Five. " + LONG}])
    assert whole[0] == 0
    reply = client.messages.create(model="any", max_tokens=2, messages=[{"role": "user", "content": "Six. " + LONG}],
                                   extra_body={"cache_control": EPHEMERAL})
    assert reply.usage.cache_creation_input_tokens > 150


def test_pins_outlive_other_prompts(smollm2, tmp_path):
    template = tmp_path / "tools.jinja"
    template.write_text("{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}" + CHATML)
    with serving(smollm2, "--max-seq-len", 512, "--kv-tokens", 1024, "--chat-template-file", template) as running:
        client = anthropic.Anthropic(base_url=running.url, api_key="none", max_retries=0)
        tools = [{"name": name, "description": f"{name} {LONG}", "input_schema": {"type": "object"}} for name in ("a", "b")]
        tools[0]["cache_control"] = EPHEMERAL
        made, _, rest = usage(client, tools=tools, messages=[{"role": "user", "content": "Where is the Nile?"}])
        assert 200 < made < 300 and 200 < rest < 300
        made = ask(client, "Pinned. " + LONG, "Where is the Nile?", cache_control=EPHEMERAL)[0]
        assert made >= 200
        lost = sum(ask(client, "Lost. " + LONG, "Where is the Nile?"))
        assert lost > made
        for i in range(12):
            ask(client, f"Number {i}. " + LONG, "Where is the Nile?")
        assert ask(client, "Lost. " + LONG, "Where is the Nile?")[1] == 0
        assert ask(client, "Pinned. " + LONG, "Where is the Nile?")[1] >= made


@pytest.mark.parametrize("control", [{"type": "eternal"}, {"type": "ephemeral", "ttl": "2h"}, {}, "ephemeral"])
def test_controls_that_make_no_sense(client, control):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, LONG, "Where is the Nile?", cache_control=control)
    assert "cache_control" in caught.value.body["error"]["message"]


def test_four_controls_at_most(client):
    block = {"type": "text", "text": "word", "cache_control": EPHEMERAL}
    with pytest.raises(anthropic.BadRequestError):
        usage(client, messages=[{"role": "user", "content": [block] * 5}])
