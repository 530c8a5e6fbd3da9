"""The official anthropic package, unmodified, against imp-server."""

import anthropic
import pytest

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
