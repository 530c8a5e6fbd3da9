"""Random Jinja programs, rendered by Jinja2 and by imp (through jinja_driver), compared to the byte.

    python3 tests/text/compare_jinja.py BUILD/jinja_driver [COUNT] [SEED]

Errors must come with the same message. (Lines are compared in jinja_goldens.json: Jinja2's own are off by a statement now
and then.) What Jinja2 leaves open (addresses, random choices) is not generated. Exits 1 when something differs.
"""

import json
import pathlib
import random
import re
import subprocess
import sys
import warnings

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "oracle"))

import jinja_corners  # noqa: E402
import jinja_reference  # noqa: E402
from jinja_programs import PROGRAMS, VARIABLES  # noqa: E402

NAMES = list(VARIABLES) + ["missing", "a", "b", "i", "k", "v", "ns", "loop", "m"]
STRINGS = ["", "a", "abc", "Hello World", "x,y,z", " pad ", "é", "日本", "1", "2.5", "name", "role", "line\\nbreak", "%s", "{}",
           "<b>", "a-b", "UPPER", "\\t", "it's", "ß", "user", "😀 ok"]
FILTERS = ["abs", "batch(2)|list", "capitalize", "center(9)", "count", "d('z')", "default('q', true)", "dictsort", "e", "first",
           "float", "format(1)", "indent", "indent(2, true)", "int", "int(5)", "items|list", "join", "join(', ')", "last", "length", "list",
           "lower", "map('string')|list", "map(attribute='name')|list", "map('upper')|join('-')", "max", "min", "reject('odd')|list",
           "rejectattr('age')|list", "replace('a', 'bb')", "replace('', '.')", "reverse|list", "round", "round(1)", "round(1, 'floor')", "safe",
           "select|list", "select('string')|list", "selectattr('name')|list", "selectattr('age', '>', 26)|list", "slice(2)|list",
           "sort", "sort(reverse=true)", "sort(attribute='name')", "string", "striptags", "sum", "title", "tojson", "tojson(indent=2)",
           "tojson(sort_keys=true)", "trim", "trim('a')", "truncate(5)", "truncate(5, true, '')", "unique|list", "upper", "urlencode", "wordcount",
           "wordwrap(6)", "xmlattr", "groupby('age')|list", "groupby(0)|list", "filesizeformat", "pprint", "escape", "attr('name')", "forceescape"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "mapping", "sequence", "iterable", "boolean", "true",
         "false", "odd", "even", "divisibleby(3)", "lower", "upper", "callable", "eq 1", "gt 0", "in 'abc'", "in [1, 2]", "sameas none",
         "ne 'a'", "escaped", "filter", "test", "le 3"]
METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip('a ')", "rstrip()", "split()", "split(',')",
           "split(' ', 1)", "rsplit(',', 1)", "splitlines()", "startswith('a')", "endswith('b')", "find('b')", "rfind('l')", "count('a')",
           "replace('a', 'z')", "join(['p', 'q'])", "partition(',')", "rpartition('l')", "removeprefix('a')", "removesuffix('d')", "center(8, '*')",
           "ljust(6)", "rjust(6)", "zfill(5)", "isdigit()", "isalpha()", "isspace()", "isupper()", "islower()", "istitle()", "index('a')",
           "format(1, 2)", "items()", "keys()", "values()", "get('name')", "get('zz', 1)", "copy()", "append(1)", "update({})", "casefold()",
           "expandtabs()", "isalnum()", "isidentifier()"]
NUMBER_FILTERS = ["abs", "int", "float", "round", "round(1)", "round(2, 'ceil')"]
LIST_FILTERS = ["reverse|list", "list", "map('string')|list", "select|list", "batch(2)|list", "slice(3)|list", "map('tojson')|list",
                "reject('string')|list"]
JOINS = ["", "', '", "'-'"]
SPLITS = ["", "' '", "','"]
USER_FILTERS = ["map(attribute='name')", "selectattr('age', '>', 26)", "rejectattr('city', 'equalto', 'Paris')", "sort(attribute='city,name')",
                "groupby('age')", "selectattr('age', '<', n)"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.corners = jinja_corners.Corners(self)

    def pick(self, items):
        return self.random.choice(items)

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        return self.pick(["1", "1.5", "true", "none", "'a'", "'name'", "'é'", "(1, 2)", "x", "n"])

    def literal(self):
        kind = self.random.randrange(8)
        if kind < 2:
            return str(self.random.randrange(-3, 12))
        if kind == 2:
            return self.pick(["1.5", "0.1", "2.0", "1e3", "3.25", "1e-7", "1e17", "0.5"])
        if kind < 6:
            return "'" + self.pick(STRINGS).replace("'", "\\'") + "'"
        return self.pick(["true", "false", "none", "[]", "{}", "()"])

    def expression(self, depth):
        if depth <= 0 or self.chance(0.15):
            return self.literal() if self.chance(0.4) else self.pick(NAMES)
        sub = lambda: self.expression(depth - 1)  # noqa: E731
        kind = self.random.randrange(22)
        if kind < 4:
            return f"{sub()} {self.pick(BINARY)} {sub()}"
        if kind < 5:
            return f"({sub()} {self.pick(BINARY)} {sub()}) {self.pick(BINARY)} {sub()}"
        if kind < 8:
            return f"({sub()})|{self.pick(FILTERS)}" if self.chance(0.5) else f"{self.pick(NAMES)}|{self.pick(FILTERS)}"
        if kind < 10:
            return f"({sub()}).{self.pick(METHODS)}" if self.chance(0.3) else f"{self.pick(['x', 'uni', 'text', 'user', 'items'])}.{self.pick(METHODS)}"
        if kind < 11:
            return f"({sub()}) is {self.pick(['', 'not '])}{self.pick(TESTS)}"
        if kind < 13:
            return f"{self.pick(['x', 'uni', 'items', 'words', 'messages', 'users', 'text'])}{self.subscript(depth)}"
        if kind < 14:
            return f"({self.pick(NAMES)}){self.subscript(depth)}"
        if kind < 15:
            return f"{sub()} if {sub()} else {sub()}" if self.chance(0.7) else f"({sub()} if {sub()})"
        if kind < 16:
            return "[" + ", ".join(sub() for _ in range(self.random.randrange(4))) + "]"
        if kind < 17:
            return "{" + ", ".join(f"{self.key()}: {sub()}" for _ in range(self.random.randrange(3))) + "}"
        if kind < 18:
            return f"({sub()}, {sub()})"
        if kind < 19:
            return f"not {sub()}" if self.chance(0.5) else f"-{sub()}"
        if kind < 20:
            return self.pick(["range(4)", "range(1, 9, 3)|list", "namespace(a=1)", "dict(a=1, b=x)", "user.name", "user.address.city",
                              "messages[1].content", "users|map(attribute='age')|sum", "user['tags']", "cycler('a', 'b').next()", "m(1)", "m()",
                              "ns.a", "loop.index", "loop.last", "loop.length", "loop.previtem", "loop.nextitem", "loop.revindex", "loop.cycle('p', 'q')",
                              "loop.changed(i)", "'%s-%s' % (n, x)", "'{}|{:>5}'.format(x, n)", "strftime_now('%Y')"])
        if kind < 21:
            return f"{sub()} < {sub()} <= {sub()}"
        return f"{self.pick(NAMES)}.{self.pick(['name', 'age', 'content', 'role', 'nope', 'items', '0', 'a'])}"

    def subscript(self, depth):
        if self.chance(0.5):
            return "[" + self.pick(["0", "-1", "1", "5", "n", "'name'", "'role'", "'nope'", "i"]) + "]"
        bounds = [self.pick(["", "1", "-2", "2", "100", "-100", "n"]) for _ in range(2)]
        step = self.pick(["", "", ":2", ":-1", ":-2", ":"])
        return f"[{bounds[0]}:{bounds[1]}{step}]"

    def tag(self, text):
        left = self.pick(["", "", "", "-", "+"])
        right = self.pick(["", "", "", "-", "+"])
        return "{%" + left + " " + text + " " + right + "%}"

    def output(self, depth):
        left, right = self.pick(["", "", "", "-"]), self.pick(["", "", "", "-"])
        return "{{" + left + " " + self.expression(depth) + " " + right + "}}"

    def data(self):
        return self.pick(["", "text", " ", "\n", "  \n  ", "a\n", "\n\n", "  x", "end.\n  ", "\t", "{# note #}", "{#- c -#}", "\n{# c #}\n",
                          "{% raw %}{{ r }}{% endraw %}"])

    def body(self, depth):
        return "".join(self.data() + self.statement(depth) for _ in range(self.random.randrange(1, 4))) + self.data()

    def statement(self, depth):
        if depth <= 0:
            return self.output(2)
        kind = self.random.randrange(16)
        inner = lambda: self.body(depth - 1)  # noqa: E731
        if kind < 5:
            return self.output(self.random.randrange(1, 4))
        if kind < 7:
            source = self.tag(f"if {self.expression(2)}") + inner()
            if self.chance(0.4):
                source += self.tag(f"elif {self.expression(1)}") + inner()
            if self.chance(0.5):
                source += self.tag("else") + inner()
            return source + self.tag("endif")
        if kind < 10:
            target = self.pick(["i", "i", "i", "v", "k, v"])
            iterable = self.pick(["items", "words", "users", "messages", "range(3)", "user.items()", "user", "x", "[]", "missing", "tree", "text.split()",
                                  self.expression(1)])
            test = f" if {self.expression(1)}" if self.chance(0.25) else ""
            recursive = " recursive" if self.chance(0.05) else ""
            source = self.tag(f"for {target} in {iterable}{test}{recursive}") + inner()
            if self.chance(0.2):
                source += self.tag(f"if {self.expression(1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif") + inner()
            if self.chance(0.2):
                source += self.tag("else") + inner()
            return source + self.tag("endfor")
        if kind < 12:
            target = self.pick(["a", "b", "k", "x", "ns.a", "a, b"])
            return self.tag(f"set {target} = {self.expression(2)}")
        if kind == 12:
            head = self.pick(["set a", "set a | upper", "filter upper", "filter trim|replace('a', 'b')", "with a = 1, b = x", f"with a = {self.expression(1)}",
                              "generation", "autoescape false", "autoescape true"])
            return self.tag(head) + inner() + self.tag("end" + head.split()[0])
        if kind == 13:
            signature = self.pick(["", "a", "a, b=2", "a=1", "a, b=x"])
            source = self.tag(f"macro m({signature})") + inner()
            if self.chance(0.3):
                source += self.pick(["{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller is defined }}"])
            source += self.tag("endmacro")
            if self.chance(0.7):
                source += "{{ m(" + self.pick(["", "1", "1, 2", "a=5", "b=2", "x, q=1"]) + ") }}"
            return source
        if kind == 14:
            return self.tag("call m(" + self.pick(["", "1"]) + ")") + inner() + self.tag("endcall")
        return self.tag("set ns = namespace(a=" + self.expression(1) + ")")

    # ---- expressions that seldom fail: each of a known type ----

    def number(self, depth):
        if depth <= 0:
            return self.pick(["0", "1", "2", "3", "7", "n", "f", "2.5", "10", "user.age", "items[0]", "items|length"])
        sub = lambda: self.number(depth - 1)  # noqa: E731
        return self.pick([
            lambda: f"({sub()} {self.pick(['+', '-', '*'])} {sub()})", lambda: f"({sub()} {self.pick(['/', '//', '%'])} {self.pick(['2', '3', '-2', '7.5'])})",
            lambda: f"({sub()})|{self.pick(NUMBER_FILTERS)}", lambda: f"({self.string(depth - 1)})|length",
            lambda: f"({self.list(depth - 1)})|{self.pick(['length', 'count'])}", lambda: f"({self.string(depth - 1)}).{self.pick(['find', 'rfind', 'count'])}('a')",
            lambda: f"({sub()} if {self.boolean(depth - 1)} else {sub()})", lambda: f"-{sub()}", lambda: f"({self.string(depth - 1)})|int", lambda: "items|sum", lambda: "items|max"])()

    def string(self, depth):
        if depth <= 0:
            return self.pick(["x", "uni", "text", "html", "user.name", "words[0]", "messages[1].content", "messages[-1]['role']",
                              "'" + self.pick(STRINGS).replace("'", "\\'") + "'"])
        sub = lambda: self.string(depth - 1)  # noqa: E731
        methods = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip('a ')", "rstrip('\\n')", "replace('a', 'z')",
                   "replace('o', '', 1)", "removeprefix('h')", "removesuffix('d')", "center(12, '*')", "ljust(9)", "zfill(8)", "split('o')[0]",
                   "rsplit(' ', 1)[-1]", "partition(' ')[2]", "casefold()", "split()|join('_')", "splitlines()[0]"]
        filters = ["upper", "lower", "title", "capitalize", "trim", "replace('l', 'LL')", "indent(2)", "indent(3, true)", "truncate(9)", "truncate(6, true)",
                   "wordwrap(8)", "center(15)", "e", "string", "reverse", "urlencode", "tojson", "striptags", "list|join('.')", "default('q')", "sort|join"]
        return self.pick([
            lambda: f"({sub()} {self.pick(['+', '~'])} {sub()})", lambda: f"({sub()} ~ {self.number(depth - 1)} ~ {self.boolean(depth - 1)})",
            lambda: f"({sub()}).{self.pick(methods)}", lambda: f"({sub()})|{self.pick(filters)}", lambda: f"({self.list(depth - 1)})|join({self.pick(JOINS)})",
            lambda: f"({sub()}){self.subscript_slice()}", lambda: f"({sub()} if {self.boolean(depth - 1)} else {sub()})", lambda: f"({self.any(depth - 1)})|tojson",
            lambda: f"({self.any(depth - 1)})|tojson(indent={self.pick('124')})", lambda: f"('%s|%5s|%-4s' % ({sub()}, {sub()}, {self.number(depth - 1)}))",
            lambda: f"'{{}}:{{:>8}}'.format({self.any(depth - 1)}, {sub()})", lambda: f"({self.any(depth - 1)})|string", lambda: f"({sub()} * 2)",
            lambda: f"({sub()} or {sub()})", lambda: f"({sub()} and {sub()})"])()

    def list(self, depth):
        if depth <= 0:
            return self.pick(["items", "words", "users", "messages", "empty", "tree", "user.tags", "[1, 'a', none]", "range(4)|list", "user|list"])
        sub = lambda: self.list(depth - 1)  # noqa: E731
        return self.pick([
            lambda: f"({sub()} + {sub()})", lambda: f"({sub()}){self.subscript_slice()}", lambda: f"({sub()})|{self.pick(LIST_FILTERS)}",
            lambda: f"[{self.any(depth - 1)}, {self.any(depth - 1)}]", lambda: f"({self.string(depth - 1)}).split({self.pick(SPLITS)})",
            lambda: f"users|{self.pick(USER_FILTERS)}|list",
            lambda: "words|sort", lambda: "user.items()|list", lambda: f"({sub()} if {self.boolean(depth - 1)} else {sub()})", lambda: "user|dictsort", lambda: f"({self.string(depth - 1)}).splitlines()"])()

    def boolean(self, depth):
        if depth <= 0:
            return self.pick(["true", "false", "yes", "no", "missing", "x is string", "user.nope is defined", "n > 3", "nothing is none"])
        sub = lambda: self.boolean(depth - 1)  # noqa: E731
        return self.pick([
            lambda: f"({self.number(depth - 1)} {self.pick(['<', '<=', '>', '>=', '==', '!='])} {self.number(depth - 1)})", lambda: f"({self.string(depth - 1)} {self.pick(['<', '==', '!=', 'in', 'not in'])} {self.string(depth - 1)})",
            lambda: f"({self.any(depth - 1)} {self.pick(['in', 'not in', '==', '!='])} {self.list(depth - 1)})", lambda: f"(not {sub()})", lambda: f"({sub()} {self.pick(['and', 'or'])} {sub()})",
            lambda: f"(({self.any(depth - 1)}) is {self.pick(['string', 'number', 'mapping', 'sequence', 'iterable', 'none', 'defined', 'boolean', 'not true', 'integer', 'float'])})",
            lambda: f"(({self.string(depth - 1)}).{self.pick(['startswith', 'endswith'])}({self.string(0)}))", lambda: f"(({self.string(depth - 1)}).{self.pick(['isdigit', 'isalpha', 'isupper', 'islower', 'isspace', 'istitle', 'isalnum'])}())",
            lambda: f"({self.number(0)} < {self.number(0)} <= {self.number(0)})"])()

    def mapping(self, depth):
        return self.pick(["user", "messages[0]", "users[1]", "dict(a=1, b=x)", "{}", f"{{{self.key()}: {self.number(depth - 1)}, 'k': {self.string(depth - 1)}}}"])

    def any(self, depth):
        return self.pick([self.number, self.string, self.list, self.boolean, self.mapping])(depth)

    def subscript_slice(self):
        return f"[{self.pick(['', '1', '-3', '2', '-100'])}:{self.pick(['', '1', '-1', '4', '100'])}{self.pick(['', '', ':2', ':-1', ':-2'])}]"

    def calm_statement(self, depth):
        inner = lambda: self.calm_body(depth - 1)  # noqa: E731
        plain = lambda: "{{" + self.pick(["", "", "-"]) + " " + self.any(2) + " " + self.pick(["", "", "-"]) + "}}"  # noqa: E731
        if depth <= 0:
            return plain()
        return self.pick([
            plain, plain, plain,
            lambda: self.tag(f"if {self.boolean(2)}") + inner() + (self.tag(f"elif {self.boolean(1)}") + inner() if self.chance(0.4) else "") + (self.tag("else") + inner() if self.chance(0.6) else "") + self.tag("endif"),
            lambda: self.tag(f"for i in {self.list(1)}" + self.pick(["", "", "", f" if {self.boolean(1)}", " if i is string", " if i != words[1]", " if loop_test|default(i)"])) + inner() + "{{ loop." + self.pick(["index", "index0", "revindex", "first", "last", "length", "depth", "previtem", "nextitem"]) + " }}{{ i }}" + (self.tag(f"if {self.boolean(1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif") if self.chance(0.2) else "") + (self.tag("else") + inner() if self.chance(0.2) else "") + self.tag("endfor"),
            lambda: self.tag(f"for k, v in {self.pick(['user.items()', 'user|items', 'messages[0].items()', 'user|dictsort'])}") + "{{ k }}={{ v }}" + inner() + self.tag("endfor"),
            lambda: self.tag(f"set {self.pick(['x', 'words', 'n'])} = {self.pick(['x', 'words', 'n'])}") + inner(),
            lambda: self.tag(f"set ns = namespace(t='', c=0)") + self.tag(f"for i in {self.list(1)}") + self.tag(f"set ns.t = ns.t ~ {self.string(1)}") + self.tag("set ns.c = ns.c + 1") + inner() + self.tag("endfor") + "{{ ns.t }}{{ ns.c }}",
            lambda: self.tag(f"set x = {self.string(2)}") + inner(), lambda: self.tag(f"set n = {self.number(2)}") + inner(), lambda: self.tag("set x") + inner() + self.tag("endset") + "[{{ x }}]",
            lambda: self.tag(self.pick(["filter upper", "filter trim", "filter replace('a', 'bb')|title", "filter indent(2)"])) + inner() + self.tag("endfilter"),
            lambda: self.tag(f"with x = {self.string(1)}, n = {self.number(1)}") + inner() + self.tag("endwith"), lambda: self.tag("generation") + inner() + self.tag("endgeneration"),
            lambda: self.tag(f"macro m(p, q={self.number(1)})") + inner() + "{{ p }}{{ q }}" + self.tag("endmacro") + f"{{{{ m({self.string(1)}) }}}}{{{{ m(q=1, p=x)|upper }}}}",
            lambda: self.tag("macro c(p='d')") + "<{{ caller(p, n) }}>" + self.tag("endmacro") + self.tag(f"call(s, t) c({self.string(1)})") + "{{ s }}{{ t }}" + inner() + self.tag("endcall"),
            lambda: self.tag("for node in tree recursive") + "{{ node.v }}{{ loop.depth }}" + inner() + "{% if node.c %}({{ loop(node.c) }}){% endif %}" + self.tag("endfor")])()

    def calm_body(self, depth):
        return "".join(self.data() + self.calm_statement(depth) for _ in range(self.random.randrange(1, 4))) + self.data()

    # ---- programs with a slip of the pen ----

    def mutated(self):
        source = self.pick(PROGRAMS)
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(source) + 1)
            end = at + self.random.randrange(1, 4)
            source = self.pick([
                lambda: source[:at] + source[end:], lambda: source[:at] + source[at:end] * 2 + source[end:],
                lambda: source[:at] + self.pick(list("{}%#-+()[]'\"|.,:=~*/<>!_ \n\\aé1")) + source[at:],
                lambda: source[:at] + self.pick(["{{ ", " }}", "{% ", " %}", "{#", "#}", "-%}", "{%- ", "{% endif %}", "{% if x %}", " not ", " is ", "in ",
                                                 " if ", " else ", "**", "//", "\r\n", "\u00a0", "{% raw %}", "{% endraw %}", "loop."]) + source[at:]])()
        return source

    def program(self):
        if self.chance(0.35):
            return self.corners.program()
        if self.chance(0.25):
            return self.mutated()
        if self.chance(0.6):
            return self.calm_body(self.random.randrange(0, 4))
        return self.body(self.random.randrange(0, 4))


# Differences that no template can rely on.
UNSTABLE = re.compile(r"'dict_(?:keys|items)' and|0x[0-9a-f]{6,}|complex|object at|\bencode\b|_frozen|loader|Too many decimal digits|Markup\.|<,g|name 'inf'", re.IGNORECASE)


# Powers that keep Jinja2 busy for minutes; nothing bounds it.
HUGE_POWER = re.compile(r"\*\*[^|}%]{0,16}?(?:0[xob]\w|\d[\d_]{4}|\de\+?\d)", re.IGNORECASE)


def comparable(source, expected, got):
    if expected.get("type") == "MemoryError":  # imp stops at a bound of its own
        return False
    texts = [expected.get("out", ""), expected.get("error", ""), got.get("out", ""), got.get("error", "")]
    return not any(UNSTABLE.search(text) for text in texts) and "surrogates" not in texts[3]


def shown(message):
    """A message as imp_last_error gives it: no control characters, cut before 1 KiB."""
    return "".join("?" if ord(c) < 32 or ord(c) == 127 else c for c in message)


def same(expected, got):
    if "out" in expected:
        return got.get("out") == expected["out"]
    if "error" not in got:
        return False
    if expected["error"].startswith("maximum recursion depth exceeded"):
        return "maximum recursion depth exceeded" in got["error"]
    wanted, message = shown(expected["error"]), re.sub(r"^template line \d+: ", "", got["error"])
    # Here Python names a function inside of Jinja2, which one depends on how Jinja2 compiles the call.
    unpacked = " argument after ** must be a mapping, not "
    if unpacked in wanted and unpacked in message:
        return wanted.split(unpacked)[1] == message.split(unpacked)[1]
    return message == wanted or (len(wanted.encode()) > 900 and message[:800] == wanted[:800])


def run_driver(driver, sources):
    requests = "".join(json.dumps(source) + "\t" + json.dumps(VARIABLES) + "\n" for source in sources)
    done = subprocess.run([driver], input=requests, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(sources):
        print("driver ended with", done.returncode, "after", len(answers), "of", len(sources), done.stderr[-2000:])
        if len(answers) < len(sources):
            print("at", repr(sources[len(answers)]))
        sys.exit(1)
    return answers


def main():
    warnings.simplefilter("ignore", SyntaxWarning)
    driver = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    generator = Generator(seed)
    different = skipped = errors = done = 0
    while done < count:
        sources = [generator.program() for _ in range(min(1000, count - done))]
        for source, got in zip(sources, run_driver(driver, sources)):
            if HUGE_POWER.search(source):
                skipped += 1
                continue
            expected = jinja_reference.render(source, VARIABLES)
            errors += "error" in expected
            if same(expected, got):
                continue
            if not comparable(source, expected, got):
                skipped += 1
                continue
            different += 1
            if different <= 60:
                print("TEMPLATE", repr(source), "\n  jinja2", expected, "\n  imp   ", got)
        done += len(sources)
    print(f"{done} programs ({errors} errors), {different} different, {skipped} not comparable")
    sys.exit(different != 0)


if __name__ == "__main__":
    main()
