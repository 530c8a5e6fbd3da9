"""Random programs about what the grammar of compare_jinja.py seldom reaches: every filter and method with all its arguments,
by position and by keyword; format specifications; slices; scopes of set in loops and blocks; what macros know of their
calls; white space control; chains of undefined values.
"""

TEXTS = ["''", "'a'", "'abc'", "' a b '", "'Hello World foo'", "x", "uni", "text", "html", "'1'", "'-2.5e3'", "'0x1f'", "'a,b,,c'", "'ß'", "'ǆ ŉ'", "'éa\\u0301'", "'%'",
         "'line one\\nline two\\r\\nthree'", "'<b>x</b>  <i>'", "'a\\tb'", "'日本語 text'", "'_x1'", "'ABC def'", "'{}'", "'😀'", "words[1]", "('<a>'|safe)", "('a <b> {} %s'|safe)", "('<i>'|e)", "'x' * 70", "'/a?b=c&d=é'"]
INTEGERS = ["0", "1", "2", "3", "5", "-1", "-2", "7", "10", "100", "-7", "n", "true", "false", "255", "-100"]
FLOATS = ["0.0", "1.5", "-2.5", "0.1", "2.675", "1e16", "1e15", "123456.789", "1e-5", "0.0001", "f", "1e22", "3.0", "-0.0", "1e300", "0.5", "1.5e-7", "99.99"]
LISTS = ["[]", "items", "words", "users", "[1, 2, 3, 4, 5]", "['b', 'a', 'B', 'A']", "[1, 1.0, true]", "[[1, 2], [0, 3]]", "(3, 1)", "range(7)", "'hello'", "[none, 1]", "user", "user.items()",
         "[0.1, 0.2, 0.3]", "users|map(attribute='age')|list", "[{'a': {'b': 1}}, {'a': {'b': 0}}]", "['x', 1]", "tree", "messages", "[missing]", "[('a', 1), ('b', 2)]", "text.split()"]
DICTS = ["user", "{}", "{'b': 1, 'a': 2}", "{'B': 'x', 'a': 'Y', 'c': 3}", "{1: 'x', 'a': none}", "{'class': 'my', 'id': none, 'x': missing, 'n': 1.5}", "dict(a=1, b=[1])", "messages[0]", "{'a b': 1}",
         "{'k': {'z': 1, 'é': ['\\u2028', '<']}}"]
MISC = ["none", "missing", "missing.x", "true", "namespace(a=1)", "user.nope", "loop", "x.nope", "[].x", "1 .x", "none.x", "()", "range(3)", "(1, 'a')"]
PATHS = ["'name'", "'age'", "'city'", "'name,age'", "'a.b'", "'0'", "0", "1", "'nope'", "'address.city'", "'role'", "'v'", "'c.0.v'", "none", "'age,name'", "'1.0'", "''"]
FLAGS = ["true", "false", "1", "0", "none", "'x'"]
FILTER_NAMES = ["'upper'", "'int'", "'length'", "'tojson'", "'default'", "'trim'", "'string'", "'abs'", "'nope'", "'round'", "'first'", "'join'", "'replace'", "'list'", "'float'", "'title'"]
TEST_NAMES = ["'odd'", "'string'", "'defined'", "'eq'", "'gt'", "'in'", "'nope'", "'none'", "'mapping'", "'divisibleby'", "'lower'", "'sameas'", "'number'", "'ge'", "'undefined'", "'equalto'", "'=='", "'<'"]
ANY = TEXTS + INTEGERS + FLOATS + LISTS + DICTS + MISC

# name, what it is applied to, its parameters: (name, values)
FILTERS = [
    ("abs", INTEGERS + FLOATS, []), ("attr", ANY, [("name", ["'name'", "'a'", "'upper'", "'__class__'", "'items'"])]), ("batch", LISTS, [("linecount", INTEGERS), ("fill_with", TEXTS)]),
    ("capitalize", TEXTS, []), ("center", TEXTS, [("width", INTEGERS)]), ("default", ANY, [("default_value", ANY), ("boolean", FLAGS)]), ("d", MISC, [("default_value", ANY), ("boolean", FLAGS)]),
    ("dictsort", DICTS, [("case_sensitive", FLAGS), ("by", ["'key'", "'value'", "'x'"]), ("reverse", FLAGS)]), ("escape", ANY, []), ("filesizeformat", INTEGERS + FLOATS + ["'1500'"], [("binary", FLAGS)]),
    ("first", LISTS, []), ("last", LISTS, []), ("float", ANY, [("default", FLOATS)]), ("int", ANY, [("default", INTEGERS), ("base", ["2", "8", "10", "16", "36", "0"])]), ("forceescape", ANY, []),
    ("groupby", LISTS, [("attribute", PATHS), ("default", ANY), ("case_sensitive", FLAGS)]), ("indent", TEXTS, [("width", INTEGERS[:8] + ["'> '", "'--'"]), ("first", FLAGS), ("blank", FLAGS)]),
    ("items", DICTS + MISC, []), ("join", LISTS, [("d", TEXTS + ["1"]), ("attribute", PATHS)]), ("length", ANY, []), ("list", ANY, []), ("lower", ANY, []), ("max", LISTS, [("case_sensitive", FLAGS), ("attribute", PATHS)]),
    ("min", LISTS, [("case_sensitive", FLAGS), ("attribute", PATHS)]), ("pprint", [v for v in LISTS + DICTS if "users" not in v], []), ("reject", LISTS, [(None, TEST_NAMES), (None, ANY)]), ("rejectattr", LISTS, [(None, PATHS), (None, TEST_NAMES), (None, ANY)]),
    ("replace", TEXTS, [("old", TEXTS), ("new", TEXTS), ("count", INTEGERS)]), ("reverse", LISTS + TEXTS, []), ("round", INTEGERS + FLOATS, [("precision", ["0", "1", "2", "3", "-1", "-2", "5"]), ("method", ["'common'", "'ceil'", "'floor'", "'x'"])]),
    ("safe", ANY, []), ("select", LISTS, [(None, TEST_NAMES), (None, ANY)]), ("selectattr", LISTS, [(None, PATHS), (None, TEST_NAMES), (None, ANY)]), ("slice", LISTS, [("slices", INTEGERS[:8]), ("fill_with", TEXTS)]),
    ("sort", LISTS, [("reverse", FLAGS), ("case_sensitive", FLAGS), ("attribute", PATHS)]), ("string", ANY, []), ("striptags", TEXTS, []), ("sum", LISTS, [("attribute", PATHS), ("start", INTEGERS + FLOATS + ["[]"])]),
    ("title", TEXTS, []), ("tojson", ANY, [("ensure_ascii", FLAGS), ("indent", ["none", "0", "1", "2", "4", "'\\t'", "-1", "'> '"]), ("separators", ["none", "(',', ':')", "(' , ', ' = ')", "('a',)"]), ("sort_keys", FLAGS)]),
    ("trim", TEXTS, [("chars", TEXTS + ["none"])]), ("truncate", TEXTS, [("length", INTEGERS), ("killwords", FLAGS), ("end", TEXTS), ("leeway", ["0", "1", "5", "none"])]), ("unique", LISTS, [("case_sensitive", FLAGS), ("attribute", PATHS)]),
    ("upper", ANY, []), ("urlencode", TEXTS + DICTS + LISTS, []), ("urlize", ["'see www.a.org and http://x.y/z.'", "'mail me@x.com, ok'", "'(https://a.b)'", "'no links'"], [("trim_url_limit", INTEGERS[:8]), ("nofollow", FLAGS)]),
    ("wordcount", TEXTS, []), ("wordwrap", TEXTS, [("width", ["1", "5", "10", "79", "3"]), ("break_long_words", FLAGS), ("wrapstring", TEXTS[:4] + ["none"]), ("break_on_hyphens", FLAGS)]), ("xmlattr", DICTS, [("autospace", FLAGS)]),
    ("format", ["'%s-%s'", "'%d'", "'%(a)s'", "'%5.1f|'"], [(None, ANY), (None, ANY)]), ("map", LISTS, [(None, FILTER_NAMES), (None, ANY)]), ("map", LISTS, [("attribute", PATHS), ("default", ANY)]),
]
METHODS = [
    (TEXTS, "capitalize", []), (TEXTS, "casefold", []), (TEXTS, "center", [(None, INTEGERS), (None, ["' '", "'*'", "'ab'", "'é'"])]), (TEXTS, "count", [(None, TEXTS), (None, INTEGERS), (None, INTEGERS)]), (TEXTS, "endswith", [(None, TEXTS + ["('a', 'b')", "('d',)"]), (None, INTEGERS), (None, INTEGERS)]),
    (TEXTS, "expandtabs", [("tabsize", INTEGERS[:6])]), (TEXTS, "find", [(None, TEXTS), (None, INTEGERS), (None, INTEGERS)]), (TEXTS, "index", [(None, TEXTS), (None, INTEGERS)]), (TEXTS, "isalnum", []), (TEXTS, "isalpha", []), (TEXTS, "isascii", []),
    (TEXTS, "isdecimal", []), (TEXTS, "isdigit", []), (TEXTS, "isidentifier", []), (TEXTS, "islower", []), (TEXTS, "isnumeric", []), (TEXTS, "isprintable", []), (TEXTS, "isspace", []), (TEXTS, "istitle", []), (TEXTS, "isupper", []),
    (TEXTS, "join", [(None, LISTS + TEXTS)]), (TEXTS, "ljust", [(None, INTEGERS), (None, ["' '", "'-'", "'--'"])]), (TEXTS, "lower", []), (TEXTS, "lstrip", [(None, TEXTS + ["none"])]), (TEXTS, "partition", [(None, TEXTS)]), (TEXTS, "removeprefix", [(None, TEXTS)]),
    (TEXTS, "removesuffix", [(None, TEXTS)]), (TEXTS, "replace", [(None, TEXTS), (None, TEXTS), (None, INTEGERS)]), (TEXTS, "rfind", [(None, TEXTS), (None, INTEGERS)]), (TEXTS, "rindex", [(None, TEXTS)]), (TEXTS, "rjust", [(None, INTEGERS)]), (TEXTS, "rpartition", [(None, TEXTS)]),
    (TEXTS, "rsplit", [("sep", TEXTS + ["none"]), ("maxsplit", INTEGERS)]), (TEXTS, "rstrip", [(None, TEXTS + ["none"])]), (TEXTS, "split", [("sep", TEXTS + ["none"]), ("maxsplit", INTEGERS)]), (TEXTS, "splitlines", [("keepends", FLAGS)]), (TEXTS, "startswith", [(None, TEXTS + ["('a', 'H')"]), (None, INTEGERS)]),
    (TEXTS, "strip", [(None, TEXTS + ["none"])]), (TEXTS, "swapcase", []), (TEXTS, "title", []), (TEXTS, "translate", [(None, ["{97: 'x'}", "{97: none}"])]), (TEXTS, "upper", []), (TEXTS, "zfill", [(None, INTEGERS)]), (TEXTS, "encode", []),
    (DICTS, "get", [(None, TEXTS + INTEGERS), (None, ANY)]), (DICTS, "items", []), (DICTS, "keys", []), (DICTS, "values", []), (DICTS, "copy", []), (DICTS, "update", [(None, DICTS)]), (DICTS, "pop", [(None, TEXTS)]), (DICTS, "setdefault", [(None, TEXTS)]), (DICTS, "fromkeys", [(None, LISTS)]),
    (LISTS, "index", [(None, ANY), (None, INTEGERS)]), (LISTS, "count", [(None, ANY)]), (LISTS, "copy", []), (LISTS, "append", [(None, ANY)]), (LISTS, "sort", []), (LISTS, "reverse", []), (INTEGERS, "bit_length", []), (FLOATS, "is_integer", []), (INTEGERS, "conjugate", []),
    (INTEGERS, "real", None), (MISC, "x", None), (LISTS, "0", None), (DICTS, "a", None), (INTEGERS, "numerator", None), (FLOATS, "imag", None),
]
SIMPLE = TEXTS + INTEGERS + FLOATS + ["items", "user", "none", "missing", "words", "(1, 2)", "true", "{}", "range(3)"]


class Corners:
    """`generator` gives pick, chance and data."""

    def __init__(self, generator):
        self.g = generator
        self.random = generator.random

    def arguments(self, parameters):
        out, keyword = [], False
        for name, values in parameters:
            if self.g.chance(0.45):
                if name is None:
                    break
                keyword = True
                continue
            value = self.g.pick(values) if self.g.chance(0.93) else self.g.pick(ANY)
            keyword = keyword or (name is not None and self.g.chance(0.3))
            out.append(f"{name}={value}" if keyword and name is not None else value)
        if self.g.chance(0.03):
            out.append(self.g.pick(["1", "zz=1", "*items", "**user", "*[]", "**{}"]))
        return ", ".join(out)

    def value(self, values):
        return self.g.pick(values) if self.g.chance(0.9) else self.g.pick(ANY)

    def filtered(self, values=None):
        name, subjects, parameters = self.g.pick(FILTERS)
        subject = self.value(values or subjects)
        arguments = self.arguments(parameters)
        return f"{subject}|{name}" + (f"({arguments})" if arguments or self.g.chance(0.1) else "") + self.g.pick(["", "", "|list", "|string", "|length", "|tojson", "|join('/')", "|first", "|upper"])

    def method(self):
        subjects, name, parameters = self.g.pick(METHODS)
        subject = self.value(subjects)
        if parameters is None:
            return f"({subject}).{name}"
        return f"({subject}).{name}({self.arguments(parameters)})" + self.g.pick(["", "", "|string", "[0]", "[-1]", "[1:]", "|list"])

    def specification(self):
        g = self.g
        return (g.pick(["", "", "*", "é", "0", " ", "_"]) + g.pick(["<", ">", "^", "="]) if g.chance(0.5) else "") + g.pick(["", "", "+", "-", " "]) + g.pick(["", "", "#", "z"]) + g.pick(["", "", "0"]) + \
            g.pick(["", "5", "12", "1", "3"]) + g.pick(["", "", ",", "_"]) + g.pick(["", "", ".0", ".2", ".5", ".10", "."]) + g.pick(["", "", "s", "d", "f", "e", "g", "x", "X", "o", "b", "c", "n", "%", "G", "E", "F", "y"])

    def formatted(self):
        g = self.g
        values = ", ".join(g.pick(SIMPLE) for _ in range(3))
        field = lambda: g.pick(["", "0", "1", "2", "a", "a.b", "0[0]", "0[x]", "a[name]", "3", "0.real"]) + g.pick(["", "", "", "!r", "!s", "!a", "!x"]) + (":" + self.specification() if g.chance(0.7) else "")  # noqa: E731
        if g.chance(0.5):
            return "'" + g.pick(["", "{{", "}}", "é "]) + "{" + field() + "}" + g.pick(["", "|{" + field() + "}", "}", "{", "{:{}}"]) + f"'.format({values}, a={g.pick(SIMPLE)})"
        percent = lambda: "%" + g.pick(["", "", "(a)", "(name)"]) + g.pick(["", "-", "+", " ", "0", "#", "-0", "+ ", "0#"]) + g.pick(["", "", "5", "12", "*", "1"]) + g.pick(["", "", ".2", ".0", ".", ".*", ".10"]) + \
            g.pick(["", "", "l"]) + g.pick("ssdifeEgGxXorac%y")  # noqa: E731
        right = g.pick([f"({values})", g.pick(SIMPLE), f"({g.pick(SIMPLE)}, {g.pick(SIMPLE)})", f"({g.pick(SIMPLE)},)", "{'a': 1, 'name': 'é'}", "user", "items", "{'a': 2.5}"])
        return f"'{percent()}{g.pick(['', ' %% ', percent()])}' % {right}"

    def slice(self):
        subject = self.g.pick(LISTS + TEXTS)
        odd = ["1.5", "'a'", "missing"] if subject.isalpha() else []  # Jinja2 folds constants by other rules
        bound = lambda: self.g.pick(["", "", "0", "1", "-1", "2", "-3", "100", "-100", "none", "true", "n"] + odd)  # noqa: E731
        step = self.g.pick(["", "", ":", ":1", ":-1", ":2", ":-2", ":0", ":none", ":100"])
        return f"({subject})[{bound()}:{bound()}{step}]" + self.g.pick(["", "|list", "[0]", "|join"])

    def undefined(self):
        return self.g.pick(["missing", "user.nope", "user['nope']", "items[9]", "x.nope", "none.a", "(1).a", "users[0].zz", "missing_fn()", "user.nope()", "loop", "self.x", "caller", "varargs", "''.a.b"]) + \
            self.g.pick(["", ".a", "['a']", "[0]", "()", ".a.b", "|length", "|list", "|default('d')", "|default", "|first", " is defined", "|upper", "|int", "|join", "|sum", "|tojson", "|sort", "|string", " + 1", " ~ 'x'", "[1:]", " in items", " == missing", " < 1", "|map('upper')|list", " and 1", " or 2", "|d(1)|d(2)", "|trim", "|replace('a','b')", "|items|list", "|round", "|abs", "|min", "|indent", "|attr('x')"])

    def number(self):
        g = self.g
        return f"({g.pick(INTEGERS + FLOATS)}) {g.pick(['+', '-', '*', '/', '//', '%', '**', '==', '<', '>=', '~'])} ({g.pick(INTEGERS + FLOATS)})" + g.pick(["", "", "|round(2)", "|int", "|string|length", " * 3", "|float"])

    def test(self):
        g = self.g
        name = g.pick(["boolean", "callable", "defined", "divisibleby(3)", "eq(1)", "escaped", "even", "false", "filter", "float", "ge(2)", "gt 1", "in([1, 2])", "integer", "iterable", "le(2)", "lower", "lt(1)", "mapping", "ne 1", "none", "number", "odd",
                       "sameas(none)", "sequence", "string", "test", "true", "undefined", "upper", "equalto 2", "divisibleby 0", "in 'abc'", "greaterthan(1)", "lessthan 3", "odd()", "divisibleby", "eq", "nope"])
        return f"({g.pick(ANY)}) is {g.pick(['', '', 'not '])}{name}"

    def expression(self):
        return self.g.pick([self.filtered, self.filtered, self.filtered, self.method, self.method, self.formatted, self.slice, self.undefined, self.number, self.test,
                            lambda: f"({self.filtered()}) {self.g.pick(['~', '+', 'in', '==', 'and', 'or', '<'])} ({self.method()})",
                            lambda: f"({self.method()})|{self.g.pick(FILTERS)[0]}"])()

    # ---- statements ----

    def scopes(self):
        g = self.g
        loop = g.pick(["for i in items", "for i in items if i > 1", "for i in range(3)", "for i in users", "for k, v in user.items()", "for i in []", "for i in words recursive", "for (a, b) in [(1, 2)]", "for i in missing", "for i in items|batch(2)"])
        touch = lambda: g.pick(["{% set a = i %}", "{% set a = loop.index %}", "{% set ns.a = ns.a ~ i %}", "{{ a }}", "{{ loop.index }}/{{ loop.length }}", "{% set b %}[{{ i }}]{% endset %}{{ b }}", "{{ loop.previtem }}", "{{ loop.nextitem|default('-') }}",  # noqa: E731
                                "{{ loop.cycle('p', 'q') }}", "{{ loop.changed(i) }}", "{{ loop.first }}{{ loop.last }}", "{{ loop }}", "{% if loop.index > 1 %}{% break %}{% endif %}", "{% if loop.first %}{% continue %}{% endif %}", "{{ loop.revindex0 }}{{ loop.depth0 }}",
                                "{% for i in 'xy' %}{{ i }}{{ loop.index }}{% endfor %}{{ i }}", "{% set i = 5 %}{{ i }}", "{% with a = i, c = a %}{{ a }}{{ c }}{% endwith %}", "{% set ns.b = i %}", "{{ ns.a }}{{ ns.b }}", "{% set outer = loop %}{% for j in [1] %}{{ outer.index }}{% endfor %}"])
        return "{% set a = 0 %}{% set ns = namespace(a='') %}" + g.data() + g.tag(loop) + g.data() + touch() + touch() + g.data() + touch() + (g.tag("else") + "E{{ a }}" if g.chance(0.3) else "") + g.tag("endfor") + "{{ a }}{{ i }}{{ ns.a }}{{ b }}{{ k }}"

    def recursion(self):
        g = self.g
        inner = g.pick(["{{ loop(node.c) }}", "({{ loop(node.c)|trim }})", "{% if node.c %}{{ loop(node.c) }}{% endif %}", "{{ loop(node.c) if node.c }}", "{% set inside = loop(node.c) %}<{{ inside }}>"])
        before = g.pick(["{{ node.v }}", "{{ loop.depth }}", "{{ loop.index }}{{ loop.depth0 }}", "{{ loop.first }}", "{% set s = node.v %}{{ s }}", "{{ loop.previtem.v }}", "{{ loop.length }}", "{{ loop.changed(node.v) }}"])
        return g.tag("for node in tree" + g.pick(["", " if node.v != 3"]) + " recursive") + before + g.data() + inner + g.pick(["", "{{ s }}", "{{ node.v }}", "{{ loop.index }}"]) + g.pick(["", g.tag("else") + "-"]) + g.tag("endfor")

    def macro(self):
        g = self.g
        signature = g.pick(["", "a", "a, b=1", "a, b=a", "a=x, b=missing", "a, b=2, c=3", "caller", "caller=none", "a, caller=1", "a=[], b={}", "a, a"])
        body = "".join(g.pick(["{{ a }}", "{{ b }}", "{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller('p', 2) }}", "{{ caller is defined }}", "{{ kwargs|length }}", "{{ varargs|join('+') }}", "{{ x }}", "{% set x = 'inner' %}", "{{ c }}", "{{ caller.name }}", "{{ caller.arguments }}", "{{ caller|string|length }}",
                                 "{{ kwargs.q }}", "{% for k in kwargs %}{{ k }}{% endfor %}", " ", "\n", "{{ m is callable }}", "{% if a is number and a > 0 %}{{ m(a - 5) }}{% endif %}", "{{ outer }}"]) for _ in range(g.random.randrange(1, 6)))
        call = lambda: "m(" + g.pick(["", "1", "1, 2", "1, 2, 3, 4", "a=1", "b=2", "b=2, a=1", "1, a=2", "q=1", "1, q=2, r=3", "*items", "**{'a': 1}", "*[1], **{'b': 2}", "caller=none", "missing", "x, b=x", "a=none", "1, 2, caller=m"]) + ")"  # noqa: E731
        use = g.pick(["{{ %s }}" % call(), "{{ %s|upper }}" % call(), "{{ m.name }}{{ m.arguments }}", "{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}{{ m.defaults }}", "{{ m }}"[:0] + "{{ m is callable }}", "{% set r = " + call() + " %}{{ r }}{{ r|length }}",
                      g.tag("call" + g.pick(["", "(u)", "(u, w=5)", "(u, w)", "(caller)"]) + " " + call()) + g.pick(["{{ u }}{{ w }}", "body", "{{ a }}", "{% set x = 9 %}{{ x }}", "{{ varargs }}", "{{ caller is defined }}"]) + g.tag("endcall"), "{{ m(m(1)) }}"])
        return g.pick(["", "{% set outer = 'o' %}"]) + g.tag(f"macro m({signature})") + body + g.tag("endmacro") + g.data() + use + g.pick(["", "{{ x }}", "{{ a }}"]) + g.pick(["", "{% set outer = 'p' %}{{ " + call() + " }}"])

    def blocks(self):
        g = self.g
        head, end = g.pick([("set a", "set"), ("set a | upper", "set"), ("set a | replace('o', '0') | trim", "set"), ("filter upper", "filter"), ("filter trim | title", "filter"), ("filter indent(width=2, first=true)", "filter"), ("filter replace('a', 'b')", "filter"), ("filter join('.')", "filter"),
                            ("with", "with"), ("with a = 1, b = a", "with"), ("with a = x", "with"), ("block content", "block"), ("block content scoped", "block"), ("generation", "generation"), ("autoescape true", "autoescape"), ("autoescape x == 1", "autoescape"), ("call m()", "call"),
                            ("set ns.a", "set"), ("if true", "if"), ("for q in 'ab'", "for"), ("filter tojson", "filter"), ("filter nope", "filter"), ("set a, b", "set")])
        inner = "".join(g.pick([g.data(), "{{ x }}", "{{ a }}", "{% set z = 1 %}", "{{ '<' }}", "{{ '<'|safe }}", "{{ b }}", "{{ self.content is defined }}", "{{ q }}{{ loop.index }}", "{{ '<' ~ x }}", "{{ html }}", "{{ super() }}"]) for _ in range(g.random.randrange(1, 5)))
        return g.pick(["", "{% set a = 'A' %}", "{% set ns = namespace() %}", "{% macro m() %}({{ caller() }}){% endmacro %}"]) + g.data() + g.tag(head) + inner + g.tag("end" + end) + g.pick(["", "{{ a }}", "{{ a|length }}", "{{ z }}", "{{ ns.a }}", "{{ self.content() }}", "{{ a ~ '<' }}"])

    def odd_syntax(self):
        g = self.g
        return g.pick(["{% include 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends 'x' %}", "{% include 'x' ignore missing %}", "{% include ['a', 'b'] %}", "{% do 1 %}", "{% trans %}a{% endtrans %}", "{% break %}", "{% continue %}", "{% endfor %}", "{% else %}",
                       "{% raw %} {{ x }} {% endraw -%}  y", "{%- raw -%}  {% if %} {%- endraw %} z", "{# a {{ b }} #}x", "{#- c -#}  y", "{# {# nested #} #}", "{{ 'a' if x }}{{ 'b' if no else }}", "{% if x %}{% elif %}{% endif %}", "{% for i in %}{% endfor %}", "{{ [1, 2,] }}{{ (1,) }}{{ {'a': 1,} }}",
                       "{{ {1, 2} }}", "{{ x if }}", "{{ not }}", "{{ 1 if 2 else 3 if 4 else 5 }}", "{{ a.b.c }}", "{{ x|upper|lower|title }}", "{{ x is not defined and not x is string }}", "{{ 1 < 2 > 1 == 1 }}", "{{ -1 ** 2 }}{{ 2 ** -1 }}", "{{ 1.__class__ }}", "{{ 1.e }}", "{{ 1_0.5 }}{{ 0xF_F }}", "{{ '\\x41\\u0042' }}",
                       "{{ x[1:2, 3] }}", "{{ x[1, 2] }}", "{{ x[:] }}{{ x[::] }}", "{{ user.0 }}{{ items.0 }}{{ items.0.1 }}", "{{ user.name.upper()[0] }}", "{% set (a, b) = (1, 2) %}{{ a }}{{ b }}", "{% set a.b = 1 %}", "{% set a = b = 1 %}", "{% set 1 = 2 %}", "{% set true = 1 %}", "{% for true in items %}{% endfor %}",
                       "{% macro true() %}{% endmacro %}", "{{ x(1)(2) }}", "{{ range(3)[1] }}{{ range(1, 10, 2)|list }}{{ range(0) }}", "{{ lipsum }}"[:0], "{{ dict(a=1, **{'b': 2}) }}{{ dict([('a', 1)]) }}", "{{ joiner(', ')() }}", "{% set j = joiner('|') %}{{ j() }}{{ j() }}", "{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}",
                       "{{ namespace(a=1).a }}{{ namespace({'b': 2}, c=3).b }}", "{{ raise_exception('m' ~ x) }}", "{{ raise_exception() }}", "{{ strftime_now('%d %b %Y %H:%M:%S %j %p %a') }}", "{% if x -%}   a   {%- endif +%}  \n b", "  {%+ if x %}a{% endif %}\n  {%- if x %}b{% endif -%}\n  c", "{% block a %}{% block b %}x{% endblock %}{% endblock a %}{{ self.b() }}",
                       "{{ true }}{{ True }}{{ TRUE }}", "{{ none }}{{ None }}{{ NONE }}", "{{ x.__len__() }}", "{{ x._a }}", "{{ ''.__class__ }}", "{{ x|attr('__class__') }}", "{{ items.__add__ }}", "{{ 'a' is in 'abc' }}", "{{ 1 is divisibleby 1 is true }}", "{{ (x for x in y) }}", "{{ lambda: 1 }}", "{{ x == 'a' == 'b' }}", "{{ 5 // 2 ** 2 }}{{ -5 // 2 }}{{ -5 % 3 }}"])

    def program(self):
        g = self.g
        out = ""
        for _ in range(g.random.randrange(1, 4)):
            out += g.data() + g.pick([lambda: "{{ " + self.expression() + " }}", lambda: "{{- " + self.expression() + " -}}", lambda: "{{ " + self.expression() + " }}", self.scopes, self.recursion, self.macro, self.blocks, self.odd_syntax,
                                      lambda: g.tag("if " + self.expression()) + "T" + g.tag("else") + "F" + g.tag("endif"), lambda: g.tag("for i in " + self.expression()) + "{{ i }}," + g.tag("endfor"), lambda: g.tag("set a = " + self.expression()) + "{{ a }}"])()
        return out + g.data()
