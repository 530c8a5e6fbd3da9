"""Instances of JSON Schemas as they are met in use: values that have a good chance to be valid, and spoiled copies of them."""

import copy
import json
import random

try:
    from re import _constants as sre, _parser as sre_parse
except ImportError:  # before Python 3.11
    import sre_constants as sre
    import sre_parse

WORDS = ["", "a", "main", "x-1", "Alpha", "build", "test_2", "1.0.0", "10", "é", "name with spaces", "http://example.com/a?b=c",
         "src/**/*.py", "*", "/", "#fff", "latest", "ubuntu-22.04", "\"quoted\"", "tab\t", "${{ x }}", "true", "中文", "😀"]
FORMATS = {
    "date": ["2024-02-29", "1999-12-31"],
    "time": ["12:34:56Z", "00:00:00.25+01:00"],
    "date-time": ["2024-05-06T07:08:09Z", "2020-01-01T00:00:00.123+02:00"],
    "duration": ["P1D", "PT5M", "P1Y2M3DT4H5M6S", "P3W"],
    "email": ["a@example.com", "first.last+tag@mail.example.org"],
    "idn-email": ["a@example.com"],
    "hostname": ["example.com", "localhost", "a-b.c"],
    "idn-hostname": ["example.com"],
    "ipv4": ["127.0.0.1", "10.20.30.40"],
    "ipv6": ["::1", "2001:db8::8a2e:370:7334"],
    "uri": ["https://example.com/a?b=c#d", "urn:isbn:0451450523", "mailto:a@b.c"],
    "uri-reference": ["../a/b", "https://example.com/", "#frag"],
    "iri": ["https://example.com/é"],
    "iri-reference": ["/é"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
    "uri-template": ["/a/{b}", "https://example.com/{?x,y}"],
    "json-pointer": ["", "/a/b~1c"],
    "relative-json-pointer": ["0/a", "1#"],
    "regex": ["^a+$", "[a-z]{2,3}", "\\d+(foo|bar)?", "(?:x)"],
}
VALUES = [None, True, False, 0, 1, -1, 2.5, 100, "", "a", "x", [], {}, ["a"], [1, 2], {"a": 1}, 1e3, "2024-01-01", [None], [{}]]


class Filler:
    def __init__(self, root, random_source):
        self.root = root
        self.r = random_source
        self.anchors = {}
        self.index(root)

    def index(self, node):
        """Resources and anchors by name, for references that are no pointers."""
        if isinstance(node, dict):
            for keyword in ("$id", "id", "$anchor", "$dynamicAnchor"):
                if isinstance(node.get(keyword), str):
                    self.anchors.setdefault(node[keyword].lstrip("#"), node)
            for value in node.values():
                self.index(value)
        elif isinstance(node, list):
            for value in node:
                self.index(value)

    def chance(self, probability):
        return self.r.random() < probability

    def resolve(self, reference):
        base, _, fragment = reference.partition("#")
        node = self.root if base == "" else self.anchors.get(base, self.root)
        if fragment and not fragment.startswith("/"):
            return self.anchors.get(fragment, True)
        for part in fragment.split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~").replace("%24", "$").replace("%25", "%")
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (KeyError, IndexError, ValueError, TypeError):
                return True
        return node

    def merged(self, schema, depth=0):
        """The schema with its references, one alternative of each choice and all conjuncts drawn in."""
        if not isinstance(schema, dict) or depth > 8:
            return {} if not isinstance(schema, dict) else schema
        out = {}

        def add(more):
            for key, value in more.items():
                if key in ("properties", "patternProperties") and isinstance(out.get(key), dict):
                    out[key] = {**out[key], **value}
                elif key == "required" and isinstance(value, list) and isinstance(out.get(key), list):
                    out[key] = out[key] + value
                else:
                    out[key] = value

        add({key: value for key, value in schema.items()
             if key not in ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "then", "else")})
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(schema.get(keyword), str):
                add(self.merged(self.resolve(schema[keyword]), depth + 1))
        for part in schema.get("allOf", []):
            add(self.merged(part, depth + 1))
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                add(self.merged(self.r.choice(schema[keyword]), depth + 1))
        if "if" in schema:
            if self.chance(0.5):
                add(self.merged(schema["if"], depth + 1))
                add(self.merged(schema.get("then", {}), depth + 1))
            else:
                add(self.merged(schema.get("else", {}), depth + 1))
        return out

    def value(self, schema, depth=6):
        if schema is True or schema == {}:
            return self.r.choice(VALUES)
        if schema is False:
            return None
        schema = self.merged(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.r.choice(schema["enum"])
        for keyword in ("examples", "default"):
            if keyword in schema and self.chance(0.1):
                return schema["default"] if keyword == "default" else self.r.choice(schema["examples"] or [None])
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = self.r.choice(kind)
        if kind is None:
            kind = self.guess(schema)
        if kind == "object":
            return self.object(schema, depth)
        if kind == "array":
            return self.array(schema, depth)
        if kind == "string":
            return self.string(schema)
        if kind in ("number", "integer"):
            return self.number(schema, kind)
        return self.chance(0.5) if kind == "boolean" else None if kind == "null" else self.r.choice(VALUES)

    def guess(self, schema):
        for keywords, kind in ((("properties", "required", "additionalProperties", "patternProperties"), "object"),
                               (("items", "minItems", "prefixItems", "contains"), "array"),
                               (("pattern", "format", "minLength", "maxLength"), "string"),
                               (("minimum", "maximum", "multipleOf"), "number")):
            if any(keyword in schema for keyword in keywords):
                return kind
        return self.r.choice(["string", "boolean", "integer", "object", "array"])

    def number(self, schema, kind):
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        low = -1000 if low is None or isinstance(low, bool) else low
        high = low + 2000 if high is None or isinstance(high, bool) else high
        step = schema.get("multipleOf")
        if step:
            first = -(-low // step)
            return (first + self.r.randint(0, max(0, min(50, int((high - low) / step))))) * step
        if kind == "integer" or self.chance(0.5):
            low, high = int(-(-low // 1)), int(high // 1)
            return self.r.choice([low, high, self.r.randint(low, max(low, high)), low + 1])
        return self.r.choice([low, high, round(self.r.uniform(low, high), 3), self.r.uniform(low, high)])

    def string(self, schema):
        pattern, form = schema.get("pattern"), schema.get("format")
        if isinstance(pattern, str):
            try:
                return self.matching(pattern)
            except Exception:  # what this cannot spell is left to chance
                return self.r.choice(WORDS)
        if form in FORMATS:
            return self.r.choice(FORMATS[form])
        text = self.r.choice(WORDS)
        low = schema.get("minLength", 0)
        high = schema.get("maxLength", max(low, 40))
        while len(text) < low:
            text += self.r.choice("abcxyz-")
        return text[:high]

    def matching(self, pattern):
        return "".join(self.spell(node) for node in sre_parse.parse(pattern))

    def spell(self, node):
        kind, value = node
        if kind is sre.LITERAL:
            return chr(value)
        if kind is sre.NOT_LITERAL:
            return self.r.choice([c for c in "abxyz 1-" if ord(c) != value])
        if kind is sre.ANY:
            return self.r.choice("abc xyz-1é")
        if kind is sre.IN:
            return self.member(value)
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, inner = value
            count = self.r.choice([low, min(int(high), low + 1), min(int(high), low + self.r.randint(0, 5)), min(int(high), 60)])
            return "".join(self.spell(part) for _ in range(count) for part in inner)
        if kind is sre.SUBPATTERN:
            return "".join(self.spell(part) for part in value[-1])
        if kind is sre.BRANCH:
            return "".join(self.spell(part) for part in self.r.choice(value[1]))
        if kind is sre.AT or kind in (sre.ASSERT, sre.ASSERT_NOT):
            return ""
        raise ValueError(kind)

    def member(self, items):
        classes = {sre.CATEGORY_DIGIT: "0123456789", sre.CATEGORY_WORD: "abz_09AZ", sre.CATEGORY_SPACE: " \t",
                   sre.CATEGORY_NOT_SPACE: "ab-1$", sre.CATEGORY_NOT_DIGIT: "ab- ", sre.CATEGORY_NOT_WORD: "- ./"}
        if items[0][0] is sre.NEGATE:
            refused = self.expand(items[1:], classes)
            return self.r.choice([c for c in "abcxyzABC0129-_ ./:@$#é" if c not in refused])
        return self.r.choice(sorted(self.expand(items, classes)))

    def expand(self, items, classes):
        out = set()
        for kind, value in items:
            if kind is sre.LITERAL:
                out.add(chr(value))
            elif kind is sre.RANGE:
                out.update(chr(c) for c in (range(value[0], value[1] + 1) if value[1] - value[0] < 128 else
                                            (value[0], value[1], (value[0] + value[1]) // 2)) if not 0xd800 <= c < 0xe000)
            elif kind is sre.CATEGORY:
                out.update(classes[value])
        return out

    def array(self, schema, depth):
        items = schema.get("items", True)
        prefix = schema.get("prefixItems", items if isinstance(items, list) else [])
        rest = schema.get("additionalItems", True) if isinstance(items, list) else items
        low = schema.get("minItems", 0)
        high = schema.get("maxItems", max(low, len(prefix)) + 3)
        if rest is False:
            high = min(high, len(prefix))
        out = []
        for i in range(self.r.randint(low, max(low, min(high, low + 3))) if depth > 0 else low):
            part = prefix[i] if i < len(prefix) else rest
            if "contains" in schema and self.chance(0.5):
                part = schema["contains"]
            item = self.value(part, depth - 1)
            if not (schema.get("uniqueItems") and item in out):
                out.append(item)
        return out

    def object(self, schema, depth):
        properties = schema.get("properties") or {}
        names = [name for name in schema.get("required") or [] if isinstance(name, str)]
        optional = [name for name in properties if name not in names]
        if depth > 0 and optional:
            names = names + self.r.sample(optional, self.r.randint(0, min(len(optional), 4)))
        patterns = schema.get("patternProperties") or {}
        additional = schema.get("additionalProperties", True)
        out = {}
        for name in names:
            out[name] = self.value(properties.get(name, additional if isinstance(additional, dict) else True), depth - 1)
        for pattern, part in patterns.items():
            if self.chance(0.5) and depth > 0:
                try:
                    out[self.matching(pattern)] = self.value(part, depth - 1)
                except Exception:
                    pass
        wanted = schema.get("minProperties", 0)
        while additional is not False and depth > 0 and (len(out) < wanted or self.chance(0.2)):
            name = self.value(schema.get("propertyNames", {"type": "string"}), 1)
            out[name if isinstance(name, str) else "k"] = self.value(additional, depth - 1)
            if len(out) >= wanted and self.chance(0.5):
                break
        items = list(out.items())
        self.r.shuffle(items)
        return dict(items)

    def spoil(self, value):
        """A copy with one place changed."""
        value = copy.deepcopy(value)
        if isinstance(value, dict) and value and self.chance(0.85):
            key = self.r.choice(list(value))
            pick = self.r.random()
            if pick < 0.6:
                value[key] = self.spoil(value[key])
            elif pick < 0.75:
                del value[key]
            elif pick < 0.9:
                value[self.r.choice(["extra", "x-extra", "name", "a", key + "s", ""])] = self.r.choice(VALUES)
            else:
                value[key.upper() if key.upper() != key else key + "1"] = value.pop(key)
            return value
        if isinstance(value, list) and value and self.chance(0.85):
            pick = self.r.random()
            i = self.r.randrange(len(value))
            if pick < 0.5:
                value[i] = self.spoil(value[i])
            elif pick < 0.65:
                value.append(copy.deepcopy(value[i]))
            elif pick < 0.8:
                del value[i]
            else:
                value.insert(i, self.r.choice(VALUES))
            return value
        if isinstance(value, bool) or value is None:
            return self.r.choice(VALUES)
        if isinstance(value, (int, float)) and self.chance(0.7):
            return self.r.choice([value + 1, value - 1, -value, value + 0.5, value * 1000, str(value)])
        if isinstance(value, str) and self.chance(0.7):
            return self.r.choice([value + "x", value[1:], value[:-1], value.upper(), " " + value, value * 2, value + "\n", "é" + value])
        return self.r.choice(VALUES)


def spell_json(value, source):
    """The value as JSON text in one of the usual styles."""
    style = source.randrange(4)
    if style == 0:
        return json.dumps(value)
    if style == 1:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if style == 2:
        return json.dumps(value, indent=source.choice([1, 2, 4]), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def instances(schema, seed, count):
    """`count` values and as many spoiled ones, none of them judged."""
    source = random.Random(seed)
    filler = Filler(schema, source)
    out = []
    for _ in range(count):
        try:
            value = filler.value(schema)
        except (RecursionError, ValueError, TypeError, OverflowError, AttributeError):
            continue
        out += [value, filler.spoil(value)]
    return out
