"""Writes tests/oracle/jinja_goldens.json: what Jinja2 makes of each program, and of each model's template.

Run with Jinja2 3.1: python3 tests/oracle/make_jinja_goldens.py
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "text"))

import jinja_reference  # noqa: E402
from conversations import all_variables  # noqa: E402
from jinja_programs import PROGRAMS, VARIABLES  # noqa: E402


def golden(source):
    result = {"template": source}
    rendered = jinja_reference.render(source, VARIABLES)
    if "out" in rendered:
        result["out"] = rendered["out"]
    else:
        result["error"] = rendered["error"]
        if rendered["line"] is not None:
            result["line"] = rendered["line"]
    return result


# Conversations that each model's template is rendered with for the goldens; compare_templates.py goes through all.
CHOSEN = ["user/generation", "system_turns/plain", "turns/tools", "calls_answered/tools", "two_calls/thinking", "calls_text/no_generation",
          "thinking/no_thinking", "think_tag/generation", "system_parts/generation", "two_users/generation", "result_object/documents",
          "developer/tools_first", "no_messages/generation"]


def expectation(source, variables):
    rendered = jinja_reference.render(source, variables)
    if "out" in rendered:
        return {"out": rendered["out"]}
    return {"error": rendered["error"], "line": rendered["line"]}


def chat_template_goldens():
    templates = {path.stem: path.read_text() for path in sorted((HERE / "chat_templates").glob("*.jinja"))}
    conversations = {name: variables for name, variables in all_variables() if name in CHOSEN}
    renderings = [{"template": template, "conversation": conversation, **expectation(source, variables)}
                  for template, source in templates.items() for conversation, variables in conversations.items()]
    text = ('{"templates": ' + json.dumps(templates, indent=0) + ',\n"conversations": ' + json.dumps(conversations) + ',\n"renderings": [\n'
            + ",\n".join(json.dumps(rendering) for rendering in renderings) + "\n]}\n")
    (HERE / "chat_template_goldens.json").write_text(text)
    print(len(templates), "templates,", len(renderings), "renderings,", sum("error" in r for r in renderings), "of them errors")


def main():
    chat_template_goldens()
    programs = [golden(source) for source in dict.fromkeys(PROGRAMS)]
    lines = ",\n".join(json.dumps(program, ensure_ascii=True) for program in programs)
    text = '{"variables": ' + json.dumps(VARIABLES) + ',\n"programs": [\n' + lines + "\n]}\n"
    (HERE / "jinja_goldens.json").write_text(text)
    print(len(programs), "programs,", sum("error" in p for p in programs), "of them errors")


main()
