"""What templates must render to: Jinja2 under the settings of transformers' apply_chat_template."""

import copy
import datetime
import functools
import json
import re

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1767225599  # strftime_now in comparisons


class Generation(jinja2.ext.Extension):
    """{% generation %} as transformers renders it when nobody tracks the assistant's tokens."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(lineno)

    def _render(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(format):
    return datetime.datetime.fromtimestamp(NOW).strftime(format)


def make_environment():
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


ENVIRONMENT = make_environment()


def error_text(error):
    """The message that imp must give, without the line."""
    text = error.message if isinstance(error, jinja2.TemplateSyntaxError) else str(error)
    if isinstance(error, SyntaxError):
        text = re.sub(r" \(<template>, line \d+\)$", "", text)
    return text


@functools.lru_cache(maxsize=1)
def compiled(source):
    return ENVIRONMENT.from_string(source)


def render(source, variables):
    """{"out": text} or {"error": message, "type": class, "line": number or None}."""
    try:
        return {"out": compiled(source).render(**copy.deepcopy(variables))}
    except Exception as error:
        line = getattr(error, "lineno", None) if isinstance(error, jinja2.TemplateSyntaxError) else None
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == "<template>":
                line = traceback.tb_lineno
            traceback = traceback.tb_next
        return {"error": error_text(error), "type": type(error).__name__, "line": line}
