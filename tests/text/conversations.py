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
