"""Conversations that chat templates are tried with: turns, tools, reasoning, documents, parts, odd text."""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city, e.g. <b>Paris</b> & \"co\".",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city’s name"},
                    "days": {"type": "integer", "default": 1, "minimum": 1},
                    "units": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search things.\nOver two lines.",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": ["string", "null"]},
                    "filters": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"field": {"type": "string"}, "value": {"anyOf": [{"type": "number"}, {"type": "string"}]}}},
                    },
                    "nested": {"type": "object", "properties": {"deep": {"type": "boolean", "nullable": True}}, "additionalProperties": False},
                },
            },
            "return": {"type": "string"},
        },
    },
]


def call(name, arguments, identifier="call00001"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "You are  a helper.\n"}
USER = {"role": "user", "content": "Hello, how are you? "}
ASSISTANT = {"role": "assistant", "content": "Fine.\n\nAnd you?"}
AGAIN = {"role": "user", "content": "What's the weather in 東京? <tag> 😀"}
CALLS = {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "東京", "days": 2})]}
CALLS_NULL = {"role": "assistant", "content": None, "tool_calls": [call("get_weather", {"city": "Paris \"x\""}), call("search", {"query": None, "filters": [{"field": "a", "value": 1.5}], "flag": True}, "call00002")]}
CALLS_TEXT = {"role": "assistant", "content": "Let me look.", "tool_calls": [call("get_weather", "{\"city\": \"Rome\"}")]}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "{\"temperature\": 22}"}
RESULT_2 = {"role": "tool", "tool_call_id": "call00002", "name": "search", "content": "nothing\nfound"}
RESULT_OBJECT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": {"temperature": 22, "ok": True}}
ANSWER = {"role": "assistant", "content": "It is 22 degrees."}
THINKING = {"role": "assistant", "reasoning_content": "Simple sum.\n", "content": "4"}
THINK_TAG = {"role": "assistant", "content": "<think>\nLet me see.\n</think>\n\nThe answer is 5."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Describe"}, {"type": "image"}, {"type": "text", "text": " this."}]}
IMAGE_URL = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}, {"type": "text", "text": "And that?"}]}

MESSAGES = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, ASSISTANT, AGAIN],
    "system_turns": [SYSTEM, USER, ASSISTANT, AGAIN, ANSWER],
    "ends_with_assistant": [USER, ASSISTANT],
    "calls": [USER, CALLS, RESULT],
    "calls_answered": [SYSTEM, AGAIN, CALLS, RESULT, ANSWER, USER],
    "two_calls": [USER, CALLS_NULL, RESULT, RESULT_2],
    "calls_text": [SYSTEM, USER, CALLS_TEXT, RESULT, ANSWER],
    "result_object": [USER, CALLS, RESULT_OBJECT],
    "thinking": [SYSTEM, USER, THINKING, AGAIN],
    "thinking_calls": [USER, {**THINKING, "tool_calls": CALLS["tool_calls"]}, RESULT],
    "think_tag": [USER, THINK_TAG, AGAIN],
    "parts": [PARTS],
    "system_parts": [{"role": "system", "content": [{"type": "text", "text": "Sys."}]}, PARTS, ASSISTANT, IMAGE_URL],
    "two_users": [USER, AGAIN],
    "assistant_first": [ASSISTANT, USER],
    "developer": [{"role": "developer", "content": "Dev rules."}, USER],
    "unknown_role": [{"role": "narrator", "content": "Once."}, USER],
    "empty_content": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "no_messages": [],
    "late_system": [USER, ASSISTANT, SYSTEM, AGAIN],
    "extra_fields": [{"role": "user", "content": "x", "name": "bob", "thoughts": "t"}, {"role": "assistant", "content": "y", "thinking": "hm", "prefix": True}],
}

SETTINGS = {
    "plain": {},
    "generation": {"add_generation_prompt": True},
    "no_generation": {"add_generation_prompt": False},
    "tools": {"add_generation_prompt": True, "tools": TOOLS},
    "tools_first": {"tools": TOOLS[:1], "documents": None, "add_generation_prompt": False},
    "nulls": {"tools": None, "documents": None, "add_generation_prompt": True},
    "no_thinking": {"add_generation_prompt": True, "enable_thinking": False, "thinking": False, "reasoning_effort": "low", "reasoning": False},
    "thinking": {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "reasoning_effort": "high", "tools": TOOLS, "preserve_thinking": True,
                 "clear_thinking": False},
    "documents": {"add_generation_prompt": True, "documents": [{"title": "A", "text": "First."}, {"title": "B", "text": "Second.", "doc_id": 7}], "controls": {"length": "long"},
                  "citation_mode": "fast", "safety_mode": "NONE", "date_string": "26 Jul 2024", "builtin_tools": ["python", "browser"], "tools_in_user_message": False,
                  "custom_tools": TOOLS, "model_identity": "You are X.", "custom_instructions": "Be kind.", "xml_tools": ["<x/>"], "python_tools": ["def f(): pass"]},
}

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def all_variables():
    """(name, variables) of every conversation under every setting."""
    for message_name, messages in MESSAGES.items():
        for setting_name, setting in SETTINGS.items():
            yield f"{message_name}/{setting_name}", {"messages": messages, **TOKENS, **setting}


# ---- conversations by chance ----

TEXTS = ["", " ", "Hi", "Hello\n", "\n\nTwo lines\nand three ", "<think>a</think>b", "<think>\n\n</think>\n\nb", "</think>c", "<think>d", "{\"a\": 1}", "日本語 😀",
         "a < b & \"c\" 'd'", "<|im_start|>", "[INST] x [/INST]", "/no_think", "x /think", "é\u0301\u200b", "{{ x }}", "<tool_response>\nok\n</tool_response>",
         "<image>", "tab\there", "100%", "\\n \\u00e9", "\u2028", "<|channel|>final", "a</s>", "Paris|Rome", "[1, 2]", "null", "True"]
SCHEMAS = [{"type": "string"}, {"type": "integer", "minimum": -3, "maximum": 10}, {"type": "number", "default": 0.5}, {"type": "boolean", "description": "flag?"},
           {"type": "array", "items": {"type": "string"}, "description": "Some \"strings\""}, {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
           {"type": ["integer", "null"], "description": "maybe"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, {"enum": ["a", 1, None]}, {"$ref": "#/$defs/T"}, {},
           {"type": "string", "enum": ["x", "y"], "default": "x", "format": "date", "nullable": True}, {"oneOf": [{"type": "integer"}, {"const": 3}]},
           {"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "properties": {}}, {"type": "array"}, {"allOf": [{"type": "object"}]}]
VALUES = [0, 1, -7, 2.5, 1e-7, 1e22, 12345678901, True, False, None, "", "x", "a\nb", "é", "\"", [], {}, [1, "a", None], {"k": {"l": [1.0]}}, {"a b": "<c>"}, "<", "\u2028", "10"]
NAMES = ["get_weather", "search", "f", "a.b", "功能", "browser.open", "python"]
SWITCHES = ["enable_thinking", "thinking", "preserve_thinking", "clear_thinking", "keep_past_thinking", "add_vision_id", "tools_in_user_message", "reasoning", "truncate_history_thinking",
            "add_nl", "continue_final_message", "skip_think", "enable_citations", "json_response", "is_deterministic", "add_bos", "enable_reasoning", "render_assistant_message_raw"]


def random_tool(rng):
    properties = {rng.choice(["city", "days", "q", "path", "é", "type", "items", "name"]): dict(rng.choice(SCHEMAS)) for _ in range(rng.randrange(4))}
    for schema in properties.values():
        if rng.random() < 0.4:
            schema["description"] = rng.choice(TEXTS)
    parameters = {"type": "object", "properties": properties}
    if rng.random() < 0.6:
        parameters["required"] = rng.sample(sorted(properties), rng.randrange(len(properties) + 1))
    if rng.random() < 0.2:
        parameters["$defs"] = {"T": rng.choice(SCHEMAS)}
    function = {"name": rng.choice(NAMES), "description": rng.choice(TEXTS), "parameters": parameters}
    for optional in ("description", "parameters"):
        if rng.random() < 0.1:
            del function[optional]
    if rng.random() < 0.15:
        function["strict"] = rng.choice([True, False])
    if rng.random() < 0.15:
        function["return"] = rng.choice(SCHEMAS)
    return function if rng.random() < 0.1 else {"type": "function", "function": function}


def random_content(rng):
    kind = rng.random()
    if kind < 0.7:
        return rng.choice(TEXTS) + rng.choice(TEXTS)
    if kind < 0.76:
        return None
    if kind < 0.78:
        return rng.choice(VALUES)
    parts = [{"type": "text", "text": rng.choice(TEXTS)}, {"type": "image"}, {"type": "image", "image": "a.png"}, {"type": "image_url", "image_url": {"url": "data:x"}},
             {"type": "video", "video": "v.mp4"}, {"type": "audio", "audio_url": "a.wav"}, {"type": "input_audio"}, {"text": "untyped"}, {"type": "document"}, "plain", {"type": "thinking", "thinking": "hm"}]
    return [rng.choice(parts[:1] * 8 + parts) for _ in range(rng.randrange(4))]


def random_call(rng, number):
    arguments = {rng.choice(["city", "days", "q", "é", "a b"]): rng.choice(VALUES) for _ in range(rng.randrange(4))}
    if rng.random() < 0.25:
        arguments = rng.choice(["{}", "{\"city\": \"Rome\"}", "", "not json", None])
    function = {"name": rng.choice(NAMES), "arguments": arguments}
    kind = rng.random()
    if kind < 0.1:
        return function
    made = {"type": "function", "function": function}
    if kind < 0.85:
        made["id"] = rng.choice(["call%05d", "x%d", "functions.f:%d"]) % number
    return made


def random_message(rng, number):
    role = rng.choice(["user"] * 6 + ["assistant"] * 6 + ["tool"] * 3 + ["system", "developer", "function", "model", "ipython", "observation", "Tool", "tool_response"])
    message = {"role": role, "content": random_content(rng)}
    if role in ("assistant", "model"):
        if rng.random() < 0.3:
            message["tool_calls"] = rng.choice([None, [], *[[random_call(rng, number + i) for i in range(rng.choice([1, 1, 2, 3]))] for _ in range(6)]])
        for field in ("reasoning_content", "reasoning", "thinking", "thought", "thoughts"):
            if rng.random() < 0.12:
                message[field] = rng.choice([*TEXTS, None])
        if rng.random() < 0.1:
            message.update(rng.choice([{"prefix": True}, {"recipient": "all"}, {"phase": "final"}, {"name": "x"}, {"tool_plan": "plan"}, {"weight": 0}, {"channel": "final"}, {"citations": []}]))
    if role in ("tool", "function", "observation", "ipython", "Tool", "tool_response"):
        message["name"] = rng.choice(NAMES)
        if rng.random() < 0.8:
            message["tool_call_id"] = "call%05d" % (number - 1)
        if rng.random() < 0.2:
            message["content"] = rng.choice([*VALUES, [{"name": "f", "content": "r"}], [{"type": "text", "text": "r"}], {"output": "o"}])
    if rng.random() < 0.04:
        del message["content"]
    return message


def random_variables(rng):
    """The variables of one conversation, plausible or nearly so."""
    messages = [{"role": rng.choice(["system"] * 4 + ["developer"]), "content": random_content(rng)}] if rng.random() < 0.5 else []
    if messages and rng.random() < 0.1:
        messages[0]["tools"] = rng.choice([None, "[]", [random_tool(rng)]])
    for i in range(rng.choice([0, 1, 1, 2, 3, 3, 5, 7, 9])):
        turn = random_message(rng, i)
        if rng.random() < 0.6:  # users and assistants in turn, as most templates demand
            turn = {**turn, "role": ("user", "assistant")[i % 2]}
        messages.append(turn)
    variables = {"messages": messages, **TOKENS, "add_generation_prompt": rng.random() < 0.6}
    if rng.random() < 0.5:
        variables["tools"] = rng.choice([None, [], *[[random_tool(rng) for _ in range(rng.choice([1, 1, 2, 4]))] for _ in range(6)]])
    if rng.random() < 0.15:
        variables["documents"] = rng.choice([None, [], [{"title": rng.choice(TEXTS), "text": rng.choice(TEXTS)}], [{"doc_id": 3, "snippet": "s", "extra": rng.choice(VALUES)}]])
    for name in SWITCHES:
        if rng.random() < 0.1:
            variables[name] = rng.choice([True, False])
    for name, values in (("reasoning_effort", ["low", "medium", "high", "none", "max"]), ("date_string", ["26 Jul 2024"]), ("custom_tools", [[random_tool(rng)]]), ("model_identity", ["I"]),
                         ("builtin_tools", [[], ["python", "browser"]]), ("citation_mode", ["fast", "accurate", "off"]), ("safety_mode", ["NONE", "STRICT"]), ("thinking_budget", [0, 512, -1]),
                         ("system_message", ["S"]), ("controls", [{"length": "long"}]), ("thinking_mode", ["on", "off", "auto"]), ("bos_token", [None, ""]), ("eos_token", [None])):
        if rng.random() < 0.06:
            variables[name] = rng.choice(values)
    return variables
