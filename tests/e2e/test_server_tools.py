"""Calls of tools through the official clients: asked for, streamed, answered, and always of an offered tool with valid arguments."""

import asyncio
import json

import anthropic
import httpx
import jsonschema
import openai
import pydantic
import pytest

from server import serving

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
SEARCH = {
    "type": "object",
    "properties": {"query": {"type": "string", "maxLength": 30}, "exact": {"type": "boolean"}},
    "required": ["query"],
    "additionalProperties": False,
}
SCHEMAS = {"get_weather": WEATHER, "search": SEARCH}
DESCRIPTIONS = {"get_weather": "Weather of a city in the coming days", "search": "Searches the web"}
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": name, "description": DESCRIPTIONS[name], "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
ANTHROPIC_TOOLS = [
    {"name": name, "description": DESCRIPTIONS[name], "input_schema": schema} for name, schema in SCHEMAS.items()
]
QUESTION = [{"role": "user", "content": "What will the weather be in Paris this week?"}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
FORMATS = (
    "harmony qwen3_coder glm deepseek_v3 deepseek_v31 deepseek_v32 gemma4 function_gemma mistral mistral_json nemotron lfm2 phi4_mini "
    "granite kimi hermes llama4 llama3 gemma3 json"
).split()


def assert_valid(name, arguments):
    assert name in SCHEMAS
    jsonschema.validate(arguments, SCHEMAS[name])


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def server(request):
    arguments = ["--chat-template", "gemma"] if request.param == "gemma3" else []
    with serving(request.getfixturevalue(request.param), "--max-seq-len", 2048, *arguments) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def small_server(smollm2):
    with serving(smollm2, "--max-seq-len", 2048) as running:
        yield running


@pytest.fixture(scope="module")
def small_client(small_server):
    return openai.OpenAI(base_url=f"{small_server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def claude(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
@pytest.mark.parametrize("temperature", [0, 1.2])
def test_openai_must_call(client, choice, temperature):
    reply = client.chat.completions.create(
        model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice=choice, temperature=temperature, seed=5,
        parallel_tool_calls=False, max_tokens=300,
    )
    (chosen,) = reply.choices
    assert chosen.finish_reason == "tool_calls"
    assert chosen.message.content is None
    (call,) = chosen.message.tool_calls
    assert call.type == "function" and call.id.startswith("call_")
    assert_valid(call.function.name, json.loads(call.function.arguments))
    if choice == NAMED:
        assert call.function.name == "get_weather"


def test_openai_stream_says_the_same(client):
    request = dict(model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice="required", temperature=0.8, seed=11,
                   parallel_tool_calls=False, max_tokens=300)
    whole = client.chat.completions.create(**request).choices[0]
    names, ids, pieces, reasons, text = [], [], [], [], ""
    for chunk in client.chat.completions.create(stream=True, **request):
        (choice,) = chunk.choices
        text += choice.delta.content or ""
        reasons.append(choice.finish_reason)
        for call in choice.delta.tool_calls or []:
            assert call.index == 0
            if call.id:
                ids.append(call.id)
                names.append(call.function.name)
            pieces.append(call.function.arguments)
    assert text == "" and reasons[-1] == "tool_calls" and not any(reasons[:-1])
    assert len(ids) == 1 and len([piece for piece in pieces if piece]) > 3
    assert names == [whole.message.tool_calls[0].function.name]
    assert "".join(pieces) == whole.message.tool_calls[0].function.arguments


def test_openai_round_trip(client):
    messages = list(QUESTION)
    for answer in ("Sunny, 21 degrees.", "Rain."):
        reply = client.chat.completions.create(
            model="any", messages=messages, tools=OPENAI_TOOLS, tool_choice="required", temperature=0.7, seed=3, max_tokens=400,
            parallel_tool_calls=False,
        )
        message = reply.choices[0].message
        messages.append(message)
        messages += [{"role": "tool", "tool_call_id": call.id, "content": answer} for call in message.tool_calls]
    final = client.chat.completions.create(
        model="any", messages=messages, tools=OPENAI_TOOLS, tool_choice="none", temperature=0, max_tokens=40
    )
    assert isinstance(final.choices[0].message.content, str) and not final.choices[0].message.tool_calls
    auto = client.chat.completions.create(model="any", messages=messages, tools=OPENAI_TOOLS, temperature=0, max_tokens=60)
    assert auto.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_openai_strict_models(small_client):
    class Weather(pydantic.BaseModel):
        """Weather of a city"""

        model_config = pydantic.ConfigDict(extra="forbid")
        city: str = pydantic.Field(max_length=20)
        days: int = pydantic.Field(ge=1, le=9)

    reply = small_client.chat.completions.parse(
        model="any", messages=QUESTION, tools=[openai.pydantic_function_tool(Weather)], tool_choice="required", temperature=1.0,
        seed=2, max_tokens=200, parallel_tool_calls=False,
    )
    (call,) = reply.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Weather)


def test_openai_several_calls_and_choices(small_client):
    reply = small_client.chat.completions.create(
        model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice="required", temperature=1.1, seed=8, n=2, max_tokens=250
    )
    for choice in reply.choices:
        calls = choice.message.tool_calls
        assert len({call.id for call in calls}) == len(calls) >= 1
        whole = calls if choice.finish_reason == "tool_calls" else calls[:-1]
        for call in whole:
            assert_valid(call.function.name, json.loads(call.function.arguments))


@pytest.mark.parametrize("inner", [True, False], ids=["chat", "flat"])
def test_openai_allowed_tools(small_client, inner):
    function = {"name": "search"}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": function} if inner else {"type": "function", **function}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed} if inner else {"type": "allowed_tools", **allowed}
    for seed in range(3):
        reply = small_client.chat.completions.create(
            model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice=choice, temperature=1.2, seed=seed, max_tokens=300,
            parallel_tool_calls=False,
        )
        (call,) = reply.choices[0].message.tool_calls
        assert call.function.name == "search"
        assert_valid("search", json.loads(call.function.arguments))


def test_openai_async(small_server):
    async def one(client, seed):
        reply = await client.chat.completions.create(
            model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice="required", temperature=1.0, seed=seed,
            parallel_tool_calls=False, max_tokens=300,
        )
        (call,) = reply.choices[0].message.tool_calls
        assert_valid(call.function.name, json.loads(call.function.arguments))

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{small_server.url}/v1", api_key="none", max_retries=0) as client:
            await asyncio.gather(*(one(client, seed) for seed in range(6)))

    asyncio.run(all_of_them())


@pytest.mark.parametrize(
    "field, value, param",
    [
        ("tool_choice", "sometimes", "tool_choice"),
        ("tool_choice", {"type": "function", "function": {"name": "format_disk"}}, "tool_choice"),
        ("tool_choice", {"type": "function"}, "tool_choice"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "x"}}]}},
         "tool_choice"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tool_choice"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {"tools": [OPENAI_TOOLS[0]]}}, "tool_choice"),
        ("tools", [{"type": "function", "function": {"description": "nameless"}}], "tools"),
        ("tools", [{"type": "retrieval"}], "tools"),
        ("tools", "all", "tools"),
        ("tools", [OPENAI_TOOLS[0], OPENAI_TOOLS[0]], "tools"),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "minProperties": "x"}}}], "tools"),
        ("parallel_tool_calls", "no", "parallel_tool_calls"),
        ("functions", [{"name": "f"}], "functions"),
        ("function_call", "auto", "function_call"),
    ],
)
def test_openai_bad_fields(small_client, field, value, param):
    request = dict(model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice="required", max_tokens=5)
    with pytest.raises(openai.BadRequestError) as caught:
        small_client.chat.completions.create(extra_body={field: value}, **request)
    assert caught.value.param == param and caught.value.type == "invalid_request_error"


def test_openai_structured_answers_beside_tools(small_client):
    """Under auto the answer is the JSON that was asked for, or a call."""
    answer = {"type": "object", "properties": {"rain": {"type": "boolean"}}, "required": ["rain"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": answer}}
    for seed in range(3):
        (choice,) = small_client.chat.completions.create(
            model="any", messages=QUESTION, tools=OPENAI_TOOLS, response_format=form, temperature=1.0, seed=seed, max_tokens=200,
            parallel_tool_calls=False,
        ).choices
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content), answer)
        for call in choice.message.tool_calls or [] if choice.finish_reason == "tool_calls" else []:
            assert_valid(call.function.name, json.loads(call.function.arguments))
    with pytest.raises(openai.BadRequestError) as caught:
        small_client.chat.completions.create(model="any", messages=QUESTION, tools=OPENAI_TOOLS, extra_body={"regex": "a"}, max_tokens=5)
    assert caught.value.param == "tools"


def test_openai_choice_without_tools(small_client):
    with pytest.raises(openai.BadRequestError) as caught:
        small_client.chat.completions.create(model="any", messages=QUESTION, tool_choice="required", max_tokens=5)
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "search"}], ids=["any", "tool"])
def test_anthropic_must_call(claude, choice):
    reply = claude.messages.create(
        model="any", max_tokens=300, messages=QUESTION, tools=ANTHROPIC_TOOLS,
        tool_choice={**choice, "disable_parallel_tool_use": True}, extra_body={"seed": 4, "temperature": 0.9},
    )
    assert reply.stop_reason == "tool_use"
    (block,) = reply.content
    assert block.type == "tool_use" and block.id
    assert_valid(block.name, block.input)
    assert choice["type"] == "any" or block.name == "search"


def test_anthropic_stream(claude):
    request = dict(model="any", max_tokens=300, messages=QUESTION, tools=ANTHROPIC_TOOLS,
                   tool_choice={"type": "any", "disable_parallel_tool_use": True},
                   extra_body={"seed": 6, "temperature": 0.9})
    whole = claude.messages.create(**request)
    kinds, partial = [], ""
    with claude.messages.stream(**request) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "input_json":
                partial += event.partial_json
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use" == whole.stop_reason
    assert [(block.name, block.input) for block in final.content] == [(block.name, block.input) for block in whole.content]
    assert json.loads(partial) == whole.content[0].input
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1
    assert kinds.count("input_json") > 3


def test_anthropic_round_trip(claude):
    first = claude.messages.create(
        model="any", max_tokens=300, messages=QUESTION, tools=ANTHROPIC_TOOLS,
        tool_choice={"type": "any", "disable_parallel_tool_use": True}, extra_body={"seed": 1, "temperature": 0.5},
    )
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "no network"}], "is_error": True}
        for block in first.content
    ]
    messages = [*QUESTION, {"role": "assistant", "content": first.content},
                {"role": "user", "content": [*results, {"type": "text", "text": "And now?"}]}]
    counted = claude.messages.count_tokens(model="any", messages=messages, tools=ANTHROPIC_TOOLS)
    again = claude.messages.create(model="any", max_tokens=60, messages=messages, tools=ANTHROPIC_TOOLS)
    assert again.content and again.stop_reason in ("end_turn", "max_tokens", "tool_use")
    usage = again.usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": {"type": "tool", "name": "format_disk"}},
        {"tool_choice": {"type": "must"}},
        {"tools": [{"name": "f"}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    ],
)
def test_anthropic_bad_fields(claude, fields):
    request = dict(model="any", max_tokens=5, messages=QUESTION, tools=ANTHROPIC_TOOLS)
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**{**request, **fields})
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert next(iter(fields)) in caught.value.body["error"]["message"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_enforced(smollm2, name):
    """The same small model is made to write each format; what it writes is read back as calls that validate."""
    request = dict(model="any", messages=QUESTION, reasoning_effort="none", temperature=1.0)
    strict = [{**tool, "function": {**tool["function"], "strict": True}} for tool in OPENAI_TOOLS]
    with serving(smollm2, "--max-seq-len", 1024, "--set", f"generation.tool_format={name}") as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)
        replies = [
            client.chat.completions.create(
                tools=OPENAI_TOOLS, tool_choice="required", parallel_tool_calls=False, n=2, seed=3, max_tokens=100, **request
            ),
            client.chat.completions.create(tools=strict, seed=1, max_tokens=25, **request),
        ]
    for choice in [choice for reply in replies for choice in reply.choices]:
        calls = choice.message.tool_calls or []
        if choice.finish_reason == "length":
            calls = calls[:-1]
        for call in calls:
            assert_valid(call.function.name, json.loads(call.function.arguments))
    ended = [choice for choice in replies[0].choices if choice.finish_reason == "tool_calls"]
    assert all(choice.message.content is None and choice.message.tool_calls for choice in ended)
    assert ended or any(choice.message.tool_calls for choice in replies[0].choices)


HISTORY = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None,
     "tool_calls": [{"id": "a1", "type": "function", "function": {"name": "search", "arguments": '{"query": "x"}'}}]},
    {"role": "tool", "tool_call_id": "a1", "content": [{"type": "text", "text": "found"}]},
]


def prompt_of(model, tmp_path, template, tools, messages=HISTORY):
    """What a chat with a call in its history becomes."""
    path, log = tmp_path / "template.jinja", tmp_path / "log.jsonl"
    path.write_text(template)
    with serving(model, "--max-seq-len", 1024, "--chat-template-file", path, "--log-requests", log) as running:
        body = {"messages": messages, "tools": tools, "max_tokens": 1}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    return json.loads(log.read_text().splitlines()[-1])["prompt"]


LOOP = "{% for m in messages %}[{{ m.role }}|{{ m.content }}|{{ m.name or '' }}CALLS]{% endfor %}{# 'tool' tool_calls #}"


@pytest.mark.parametrize(
    "calls, shown",
    [
        ("{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}", 'search {"query": "x"}'),
        ("{% for c in m.tool_calls or [] %}{{ c.function.name + c.function.arguments }}{% endfor %}", 'search{"query": "x"}'),
        ("{% for c in m.tool_calls or [] %}{{ c.function.arguments }}{% endfor %}", '{"query": "x"}'),
        ("{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments | items %}{{ k }}={{ v }}{% endfor %}{% endfor %}", "query=x"),
    ],
)
def test_templates_get_arguments_as_they_take_them(smollm2, tmp_path, calls, shown):
    tools = "{% for tool in tools or [] %}{{ tool.function.name }};{% endfor %}"
    prompt = prompt_of(smollm2, tmp_path, tools + LOOP.replace("CALLS", calls), OPENAI_TOOLS)
    assert prompt == f"get_weather;search;[user|hi|][assistant||{shown}][tool|found|search]"


def calls_of(*arguments):
    return [{"id": f"a{i}", "type": "function", "function": {"name": "search", "arguments": text}} for i, text in enumerate(arguments)]


SHOWN = "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}"


@pytest.mark.parametrize("limit", ["{% if (m.tool_calls or []) | length > 1 %}{{ raise_exception('one call') }}{% endif %}", "only the first"])
def test_calls_one_by_one_where_a_message_may_have_only_one(smollm2, tmp_path, limit):
    """A template that refuses a second call or leaves it out gets a message for each, with its result behind it."""
    shown = "{% for c in (m.tool_calls or [])[:1] %}{{ c.function.arguments | tojson }}{% endfor %}" if limit == "only the first" else limit + SHOWN
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Wait.", "tool_calls": calls_of('{"q": 1}', '{"q": 2}', '{"q": 3}')},
                {"role": "tool", "tool_call_id": "a2", "content": "three"}, {"role": "tool", "tool_call_id": "a0", "content": "one"},
                {"role": "tool", "tool_call_id": "a1", "content": "two"}, {"role": "user", "content": "so?"}]
    prompt = prompt_of(smollm2, tmp_path, "{# tools #}" + LOOP.replace("CALLS", shown), OPENAI_TOOLS, messages)
    assert prompt == ('[user|hi|][assistant|Wait.|{"q": 1}][tool|one|search][assistant||{"q": 2}][tool|two|search][assistant||{"q": 3}]'
                      "[tool|three|search][user|so?|]")


def test_user_behind_a_result(smollm2, tmp_path):
    """Where the template wants the assistant to speak first, it says nothing; elsewhere the messages stay as they are."""
    alternate = "{% if m.role == 'user' and loop.previtem and loop.previtem.role == 'tool' %}{{ raise_exception('alternate') }}{% endif %}"
    messages = [*HISTORY, {"role": "user", "content": "so?"}]
    plain = prompt_of(smollm2, tmp_path, "{# tools #}" + LOOP.replace("CALLS", SHOWN), OPENAI_TOOLS, messages)
    assert plain == '[user|hi|][assistant||{"query": "x"}][tool|found|search][user|so?|]'
    strict = prompt_of(smollm2, tmp_path, "{# tools #}" + LOOP.replace("CALLS", alternate + SHOWN), OPENAI_TOOLS, messages)
    assert strict == '[user|hi|][assistant||{"query": "x"}][tool|found|search][assistant||][user|so?|]'


def test_arguments_that_were_cut_off(smollm2, tmp_path):
    """They stand as they are, or as a text within an object where the template takes nothing else."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": calls_of('{"query": "x')}]
    as_text = prompt_of(smollm2, tmp_path, "{# tools #}" + LOOP.replace("CALLS", SHOWN), OPENAI_TOOLS, messages)
    assert as_text == '[user|hi|][assistant||"{\\"query\\": \\"x"]'
    items = "{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments | items %}{{ k }}={{ v }}{% endfor %}{% endfor %}"
    assert prompt_of(smollm2, tmp_path, "{# tools #}" + LOOP.replace("CALLS", items), OPENAI_TOOLS, messages) == (
        '[user|hi|][assistant||arguments={"query": "x]')


def test_templates_without_a_place_for_tools(smollm2, tmp_path):
    prompt = prompt_of(smollm2, tmp_path, "{% for m in messages %}[{{ m.role }}|{{ m.content }}]{% endfor %}", OPENAI_TOOLS)
    system, rest = prompt.split("[user|", 1)
    assert "get_weather" in system and '"maxLength": 20' in system and "<tool_call>" in system
    call = '<tool_call>\n{"name": "search", "arguments": {"query": "x"}}\n</tool_call>'
    result = '<tool_response>\n{"name": "search", "content": "found"}\n</tool_response>'
    assert rest == f"hi][assistant|{call}][user|{result}]"


def test_templates_with_tools_in_the_system_message(smollm2, tmp_path):
    template = "{% for message in messages %}[{{ message.role }}|{{ message['tools'] or '' }}]{% endfor %}{# 'tool' tool_calls #}"
    prompt = prompt_of(smollm2, tmp_path, template, OPENAI_TOOLS[1:])
    system = prompt.split("][user|")[0]
    assert json.loads(system.removeprefix("[system|")) == OPENAI_TOOLS[1:]


@pytest.mark.parametrize("opened", ["<think>\n", ""], ids=["opened", "may-open"])
def test_calls_behind_reasoning(smollm2, tmp_path, opened):
    """Thinking first, within its budget; then nothing but calls."""
    template = tmp_path / "thinking.jinja"
    template.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
        + opened + "{# </think> 'tool' tool_calls tools #}"
    )
    with serving(smollm2, "--max-seq-len", 1024, "--chat-template-file", template) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)
        for seed in range(3):
            reply = client.chat.completions.create(
                model="any", messages=QUESTION, tools=OPENAI_TOOLS, tool_choice="required", parallel_tool_calls=False, seed=seed,
                temperature=1.0, max_tokens=200, extra_body={"reasoning_budget": 12},
            )
            (choice,) = reply.choices
            (call,) = choice.message.tool_calls
            assert choice.finish_reason == "tool_calls" and choice.message.content is None
            assert_valid(call.function.name, json.loads(call.function.arguments))
            if opened:
                assert reply.usage.completion_tokens_details.reasoning_tokens > 0
