"""Answers that are what was asked for: through the official clients, and through imp-cli."""

import concurrent.futures
import json
import re
import sys
from typing import Literal

import jsonschema
import openai
import pydantic
import pytest

from conftest import ROOT, run_cli
from server import serving


class Person(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(max_length=24)
    age: int = pydantic.Field(ge=0, le=130)
    mood: Literal["happy", "sad"]
    friends: list[str] = pydantic.Field(max_length=2)


@pytest.fixture(scope="module")
def client(smollm2):
    with serving(smollm2, "--max-seq-len", 2048) as running:
        yield openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("seed", range(6))
def test_pydantic_models(client, seed):
    reply = client.chat.completions.parse(
        model="any",
        messages=[{"role": "user", "content": "Describe a person as JSON."}],
        response_format=Person,
        temperature=1.2,
        seed=seed,
        max_tokens=400,
    )
    choice = reply.choices[0]
    if choice.finish_reason == "stop":
        assert isinstance(choice.message.parsed, Person)


def test_random_schemas_at_a_high_temperature(client):
    """tests/constraint/generate.py, small."""
    sys.path.insert(0, str(ROOT / "tests/constraint"))
    from generate import Schemas

    def one(seed):
        schema = Schemas(5000 + seed).schema()
        reply = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Give me an example as JSON."}], temperature=1.5, seed=seed, max_tokens=900,
            response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        )
        return schema, reply.choices[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for schema, choice in pool.map(one, range(12)):
            assert choice.finish_reason == "stop", choice.message.content
            judge = jsonschema.Draft202012Validator
            judge(schema, format_checker=judge.FORMAT_CHECKER).validate(json.loads(choice.message.content))


def test_json_objects_regex_and_grammar(client):
    request = dict(model="any", messages=[{"role": "user", "content": "Say something."}], temperature=1.0, seed=4, max_tokens=120)
    reply = client.chat.completions.create(extra_body={"regex": r"[A-Z][a-z]{2,8} is \d{2} years old\."}, **request)
    assert re.fullmatch(r"[A-Z][a-z]{2,8} is \d{2} years old\.", reply.choices[0].message.content)
    assert reply.choices[0].finish_reason == "stop"
    reply = client.chat.completions.create(extra_body={"grammar": 'root ::= "<" [a-c]+ ">"'}, **request)
    assert re.fullmatch("<[a-c]+>?", reply.choices[0].message.content)
    for seed in range(3):
        request["seed"] = seed
        reply = client.chat.completions.create(response_format={"type": "json_object"}, **request)
        if reply.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(reply.choices[0].message.content), dict)


def test_streams_say_the_same(client):
    request = dict(
        model="any", messages=[{"role": "user", "content": "Describe a person as JSON."}], temperature=0.7, seed=2, max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}},
    )
    whole = client.chat.completions.create(**request).choices[0].message.content
    pieces = [c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **request)]
    assert "".join(pieces) == whole


@pytest.mark.parametrize(
    "body, field, word",
    [
        ({"response_format": {"type": "xml"}}, "response_format", "type"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "strnig"}}}}, "response_format", "type"),
        ({"regex": "("}, "regex", ""),
        ({"grammar": "root ::= nothing"}, "grammar", "nothing"),
        ({"regex": "a", "grammar": 'root ::= "a"'}, "grammar", "only one"),
    ],
)
def test_what_cannot_be_enforced_is_refused(client, body, field, word):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "x"}], extra_body=body)
    assert caught.value.param == field
    assert word in caught.value.message


def test_on_the_command_line(smollm2, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text("\ufeff" + json.dumps(Person.model_json_schema()))  # as some editors write it
    result = run_cli("-m", smollm2, "-q", "--json-schema", schema, "-p", "Describe a person.", "--seed", 5, "--temperature", 0.7, "-n", 900)
    assert result.returncode == 0, result.stderr
    Person.model_validate_json(result.stdout)
    result = run_cli("-m", smollm2, "-q", "--regex", "[01]{8}", "-p", "A byte?")
    assert re.fullmatch(rb"[01]{8}\s*", result.stdout)
    schema.write_text('{"type": "object", "unheardOf": 1, "minLength": "x"}')
    result = run_cli("-m", smollm2, "--json-schema", schema, "-p", "x")
    assert result.returncode == 1 and b"minLength" in result.stderr
