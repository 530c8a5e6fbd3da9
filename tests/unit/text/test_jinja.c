/* test_jinja.c - templates against what Jinja2 made of them, named formats, bounds, threads. */
#include "cmocka_all.h"

#include "text/template/chat_template.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static TemplateLimits fixed_limits(void)
{
    TemplateLimits limits = chat_template_default_limits();
    limits.now = 1767225599; /* as in tests/text/jinja_reference.py */
    return limits;
}

/* As chat_template_render, with the members of a JSON object. */
static ImpStatus render_json(const ChatTemplate *chat_template, const json_t *variables, const TemplateLimits *limits,
                             StrBuf *out)
{
    TemplateValues *values;
    char *json = json_dumps(variables, JSON_ENCODE_ANY);
    ImpStatus status = template_values_read(chat_template, json, strlen(json), &values);
    if (status == IMP_OK) status = chat_template_render(values, limits, out);
    template_values_free(values);
    free(json);
    return status;
}

/* The rendering, or the error's sentence behind "!". Free with strbuf_free. */
static StrBuf render(const char *source, size_t length, const json_t *variables, const TemplateLimits *limits)
{
    StrBuf text = {0};
    ChatTemplate *chat_template;
    ImpStatus status = chat_template_compile(source, length, &chat_template);
    if (status == IMP_OK) {
        status = render_json(chat_template, variables, limits, &text);
        chat_template_free(chat_template);
    }
    if (status != IMP_OK) {
        assert_int_equal(text.length, 0);
        strbuf_putc(&text, '!');
        strbuf_puts(&text, imp_last_error());
    }
    return text;
}

/* What imp_last_error says for Jinja2's message, on one line. Python's own compiler names no line of the template: 1.
 */
static void expected_error(const json_t *golden, StrBuf *out)
{
    const json_t *line = json_object_get(golden, "line");
    strbuf_printf(out, "!template line %d: ", json_is_integer(line) ? (int)json_integer_value(line) : 1);
    const char *message = json_string_value(json_object_get(golden, "error"));
    for (; *message != '\0'; message++) strbuf_putc(out, (unsigned char)*message < 32 ? '?' : *message);
}

static void check_golden(const json_t *golden, const char *source, const json_t *variables)
{
    const TemplateLimits limits = fixed_limits();
    StrBuf got = render(source, strlen(source), variables, &limits), wanted = {0};
    const json_t *out = json_object_get(golden, "out");
    if (out != NULL) {
        strbuf_append(&wanted, json_string_value(out), json_string_length(out));
    } else {
        expected_error(golden, &wanted);
    }
    if (got.length != wanted.length || memcmp(got.data, wanted.data, got.length) != 0) {
        print_error("template: %s\nwanted: %s\ngot: %s\n", source, wanted.data, got.data);
        fail();
    }
    strbuf_free(&got);
    strbuf_free(&wanted);
}

static json_t *load(const char *name)
{
    char path[1024];
    json_error_t error;
    (void)snprintf(path, sizeof path, "%s/oracle/%s", IMP_TEST_DATA, name);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    assert_non_null(root);
    return root;
}

static void programs_render_as_jinja2_does(void **state)
{
    (void)state;
    json_t *root = load("jinja_goldens.json");
    const json_t *programs = json_object_get(root, "programs"), *variables = json_object_get(root, "variables");
    assert_true(json_array_size(programs) >= 300);
    for (size_t i = 0; i < json_array_size(programs); i++) {
        const json_t *golden = json_array_get(programs, i);
        check_golden(golden, json_string_value(json_object_get(golden, "template")), variables);
    }
    json_decref(root);
}

static void model_templates_render_as_jinja2_does(void **state)
{
    (void)state;
    json_t *root = load("chat_template_goldens.json");
    const json_t *templates = json_object_get(root, "templates"),
                 *conversations = json_object_get(root, "conversations");
    assert_true(json_object_size(templates) >= 15);
    const json_t *renderings = json_object_get(root, "renderings");
    assert_true(json_array_size(renderings) > 100);
    for (size_t i = 0; i < json_array_size(renderings); i++) {
        const json_t *golden = json_array_get(renderings, i);
        const char *source =
            json_string_value(json_object_get(templates, json_string_value(json_object_get(golden, "template"))));
        check_golden(golden, source,
                     json_object_get(conversations, json_string_value(json_object_get(golden, "conversation"))));
    }
    json_decref(root);
}

/* ---- named formats ---- */

static void named_formats_are_the_models_own(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } formats[] = {
        {"chatml",
         "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
         "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n"},
        {"llama2", "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] V [/INST]"},
        {"llama3",
         "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user"
         "<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"nemotron", "<extra_id_0>System\nS\n\n<extra_id_1>User\nU\n<extra_id_1>Assistant\nA\n<extra_id_1>User\nV\n"
                     "<extra_id_1>Assistant\n"},
        {"gemma",
         "<bos><start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>user\nV"
         "<end_of_turn>\n<start_of_turn>model\n"},
        {"deepseek_r1",
         "<｜begin▁of▁sentence｜>S<｜User｜>U<｜Assistant｜>A<｜end▁of▁sentence｜><｜User｜>V<｜Assistant｜><think>\n"},
        {"phi",
         "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n"},
    };
    json_t *variables =
        json_pack("{s:[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:[{s:s,s:s}]}],s:b}", "messages", "role", "system",
                  "content", "S", "role", "user", "content", "U", "role", "assistant", "content", "A", "role", "user",
                  "content", "type", "text", "text", "V", "add_generation_prompt", 1);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        assert_string_equal(chat_template_name_at(i), formats[i].name);
        const char *source = chat_template_named(formats[i].name);
        StrBuf text = render(source, strlen(source), variables, NULL);
        assert_string_equal(text.data, formats[i].text);
        strbuf_free(&text);
    }
    assert_null(chat_template_name_at(sizeof formats / sizeof *formats));
    assert_null(chat_template_named("none"));
    json_decref(variables);
}

/* ---- bounds ---- */

static void assert_refused(const char *source, size_t length, ImpStatus wanted, const char *part)
{
    json_t *variables = json_object();
    TemplateLimits limits = chat_template_default_limits();
    limits.steps = 1000000;
    limits.memory_bytes = 8 << 20;
    limits.output_bytes = 1 << 20;
    ChatTemplate *chat_template;
    StrBuf text = {0};
    ImpStatus status = chat_template_compile(source, length, &chat_template);
    if (status == IMP_OK) {
        status = render_json(chat_template, variables, &limits, &text);
        chat_template_free(chat_template);
    }
    assert_int_equal(status, wanted);
    assert_non_null(strstr(imp_last_error(), part));
    strbuf_free(&text);
    json_decref(variables);
}

#define REFUSED(source, status, part) assert_refused(source, sizeof(source) - 1, status, part)

static void endless_work_is_stopped(void **state)
{
    (void)state;
    REFUSED("\n{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", IMP_ERR_LIMIT,
            "line 2");
    REFUSED("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", IMP_ERR_LIMIT, "recursion depth");
    REFUSED("{% set s = 'abcdefgh' * 100000 %}\n{% for i in range(1000) %}{% set t = s.upper() %}{% endfor %}",
            IMP_ERR_LIMIT, "line 2");
    REFUSED("{{ 'a' * 100000000000 }}", IMP_ERR_LIMIT, "line 1");
    REFUSED("{{ [0] * 100000000000 }}", IMP_ERR_LIMIT, "line 1");
    REFUSED("{{ '%1000000d' % 1 }}{{ '%1000000d' % 1 }}", IMP_ERR_LIMIT, "wrote more");
    REFUSED("{{ 'x'.center(2000000) }}", IMP_ERR_LIMIT, "line 1");
    REFUSED("{{ [1]|tojson(indent=99999999) }}", IMP_ERR_LIMIT, "line 1");
    REFUSED("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
            IMP_ERR_LIMIT, "recursion depth");
    REFUSED(
        "{% set ns = namespace(l=()) %}{% for i in range(9999) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}",
        IMP_ERR_FORMAT, "unhashable");
    REFUSED("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", IMP_ERR_LIMIT, "recursion depth");
    REFUSED("{{ 10 ** 10000000000 }}", IMP_ERR_LIMIT, "line 1");
    REFUSED("{{ 10 ** 5000 }}", IMP_ERR_FORMAT, "4300 digits");
    REFUSED("{% set ns = namespace(a=3) %}{% for i in range(99) %}{% set ns.a = ns.a * ns.a %}{% endfor %}",
            IMP_ERR_LIMIT, "line 1");
    REFUSED("{% for a in [[1, [2]]] recursive %}{{ loop([a]) }}{% endfor %}", IMP_ERR_LIMIT, "recursion depth");
}

static void deep_sources_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *open, *middle, *close;
    } nests[] = {{"(", "1", ")"},
                 {"[", "1", "]"},
                 {"not ", "1", ""},
                 {"-", "1", ""},
                 {"{1:", "1", "}"},
                 {"a[", "1", "]"},
                 {"f(", "1", ")"},
                 {"1 if 1 else ", "1", ""},
                 {"", "1", "+1"},
                 {"", "a", ".b"},
                 {"", "a", "|abs"},
                 {"", "a", "()"},
                 {"", "1", " is odd is b"},
                 {"{% if 1 %}", "", ""},
                 {"{% for a in b %}", "", ""},
                 {"", "1", " < 1"}};
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++) {
        StrBuf source = {0};
        const bool tags = nests[i].open[0] == '{' && nests[i].open[1] == '%';
        if (!tags) strbuf_puts(&source, "{{ ");
        for (int n = 0; n < 20000; n++) strbuf_puts(&source, nests[i].open);
        strbuf_puts(&source, nests[i].middle);
        for (int n = 0; n < 20000; n++) strbuf_puts(&source, nests[i].close);
        if (!tags) strbuf_puts(&source, " }}");
        assert_refused(source.data, source.length, IMP_ERR_FORMAT, "line 1");
        strbuf_free(&source);
    }
}

static void strange_bytes_are_refused_or_kept(void **state)
{
    (void)state;
    REFUSED("a\nb\xFF", IMP_ERR_FORMAT, "template line 2: the template is not UTF-8");
    json_t *variables = json_object();
    StrBuf text = render("a\0b{{ '\0' }}", 12, variables, NULL);
    json_decref(variables);
    assert_int_equal(text.length, 4);
    assert_memory_equal(text.data, "a\0b", 4);
    strbuf_free(&text);
}

/* ---- appending and sharing ---- */

/* The lexer's error is the last of the tokens, wherever the buffer that holds them ends: nothing is read behind it. */
static void nothing_is_read_behind_an_error(void **state)
{
    (void)state;
    static const char *const endings[] = {"{% for x in y %}{% endfor ! %}", "{% if x %}{% elif ! %}",
                                          "{% if x %}{% else ! %}", "{% include x ignore ! %}"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        StrBuf source = {0};
        for (size_t names = 0; names < 300; names++) {
            const size_t length = source.length;
            strbuf_puts(&source, endings[i]);
            assert_refused(source.data, source.length, IMP_ERR_FORMAT, "unexpected char '!'");
            source.length = length;
            strbuf_puts(&source, names % 2 == 0 ? "{{a}}" : "b");
        }
        strbuf_free(&source);
    }
}

static void rendering_appends_and_failure_takes_back(void **state)
{
    (void)state;
    json_t *variables = json_object();
    ChatTemplate *chat_template;
    StrBuf text = {0};
    strbuf_puts(&text, "kept ");
    assert_int_equal(chat_template_compile("more{{ missing.x }}", 19, &chat_template), IMP_OK);
    assert_int_equal(render_json(chat_template, variables, NULL, &text), IMP_ERR_FORMAT);
    assert_string_equal(text.data, "kept ");
    assert_string_equal(imp_last_error(), "template line 1: 'missing' is undefined");
    json_t *object = json_pack("{s:{s:i}}", "missing", "x", 5);
    assert_int_equal(render_json(chat_template, object, NULL, &text), IMP_OK);
    assert_string_equal(text.data, "kept more5");
    json_decref(object);
    chat_template_free(chat_template);
    strbuf_free(&text);
    json_decref(variables);
}

static void numbers_of_any_size_come_from_json(void **state)
{
    (void)state;
    static const char text[] = "{\"id\": 12345678901234567890, \"ids\": [-18446744073709551616, 9223372036854775807], "
                               "\"big\": 1e400}";
    static const char source[] =
        "{{ id }} {{ id + 1 }} {{ ids|tojson }} {{ ids[1] + 1 }} {{ big }} {{ id is integer }}";
    ChatTemplate *chat_template;
    TemplateValues *values;
    StrBuf out = {0};
    assert_int_equal(chat_template_compile(source, sizeof source - 1, &chat_template), IMP_OK);
    assert_int_equal(template_values_read(chat_template, text, sizeof text - 1, &values), IMP_OK);
    assert_int_equal(chat_template_render(values, NULL, &out), IMP_OK);
    assert_string_equal(out.data,
                        "12345678901234567890 12345678901234567891 [-18446744073709551616, 9223372036854775807] "
                        "9223372036854775808 inf True");
    strbuf_free(&out);
    template_values_free(values);
    chat_template_free(chat_template);
}

/* ---- variables ---- */

/* The rendering of `source` with these variables, or "!" and the sentence that refuses them. */
static void assert_read(const char *source, const char *json, size_t length, const char *wanted)
{
    ChatTemplate *chat_template;
    TemplateValues *values;
    StrBuf out = {0};
    assert_int_equal(chat_template_compile(source, strlen(source), &chat_template), IMP_OK);
    if (template_values_read(chat_template, json, length, &values) != IMP_OK) {
        strbuf_putc(&out, '!');
        strbuf_puts(&out, imp_last_error());
    } else {
        assert_int_equal(chat_template_render(values, NULL, &out), IMP_OK);
    }
    assert_string_equal(out.data, wanted);
    strbuf_free(&out);
    template_values_free(values);
    chat_template_free(chat_template);
}

#define READS(source, json, wanted) assert_read(source, json, sizeof(json) - 1, wanted)

static void variables_are_read_as_python_reads_json(void **state)
{
    (void)state;
    READS("{{ a }}", " {\"a\" : [ -0, 1.50, 1E3, true, false, null, {}, [], \"x\"] }\r\n\t",
          "[0, 1.5, 1000.0, True, False, None, {}, [], 'x']");
    READS("{{ a }}", "{\"a\": \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\uDE00 caf\xC3\xA9\"}",
          "\"\\/\b\f\n\r\t\xC3\xA9\xF0\x9F\x98\x80 caf\xC3\xA9");
    READS("{{ a|length }}", "{\"a\": \"0\\u0000\xF0\x9F\x98\x80 is longer than sixteen bytes \x7F\"}", "34");
    READS("{{ a.items()|list }}{{ a.k }}{{ a['k'] }}", "{\"a\": {\"k\": 1, \"l\": 2, \"k\": 3}}",
          "[('k', 3), ('l', 2)]33");
    READS("{{ a|length }}{{ a.c }}{{ a['d'] }}{{ a.j }}",
          "{\"a\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"c\":7}}", "10711");
    READS("{{ a }}", "[1]", "!not a JSON object");
    READS("{{ a }}", "", "!line 1, column 1: the text ends too early");
    READS("{{ a }}", "{\"a\":\n  01}", "!line 2, column 3: not a value");
    READS("{{ a }}", "{\"a\": 1.}", "!line 1, column 7: not a value");
    READS("{{ a }}", "{\"a\": NaN}", "!line 1, column 7: not a value");
    READS("{{ a }}", "{\"\xC3\xA9\": 1,}", "!line 1, column 9: a key is missing");
    READS("{{ a }}", "{\"a\": [1 2]}", "!line 1, column 10: ',' or ']' is missing");
    READS("{{ a }}", "{\"a\": [1", "!line 1, column 7: ',' or ']' is missing");
    READS("{{ a }}", "{\"a\" 1}", "!line 1, column 6: ':' is missing");
    READS("{{ a }}", "{\"a\": \"b}", "!line 1, column 7: a string has no end");
    READS("{{ a }}", "{\"a\": \"b\\", "!line 1, column 7: a string has no end");
    READS("{{ a }}", "{\"a\": \"\n\"}", "!line 1, column 8: a control character in a string must be escaped");
    READS("{{ a }}", "{\"a\": \"\xC3\"}", "!line 1, column 8: not UTF-8");
    READS("{{ a }}", "{\"a\": \"\\x\"}", "!line 1, column 8: invalid escape");
    READS("{{ a }}", "{\"a\": \"\\u12g4\"}", "!line 1, column 8: invalid escape");
    READS("{{ a }}", "{\"a\": \"\\ud800 \"}", "!line 1, column 8: half of a surrogate pair");
    READS("{{ a }}", "{\"a\": \"\\ude00\"}", "!line 1, column 8: half of a surrogate pair");
    READS("{{ a }}", "{\"a\": 1} 2", "!line 1, column 10: something follows the value");
    READS("{{ a }}", "{\"a\": tru}", "!line 1, column 7: not a value");
    StrBuf deep = {0};
    strbuf_puts(&deep, "{\"a\":");
    for (int i = 0; i < 100000; i++) strbuf_putc(&deep, '[');
    assert_read("{{ a }}", deep.data, deep.length, "!line 1, column 2053: nested too deeply");
    strbuf_clear(&deep);
    strbuf_puts(&deep, "{\"a\":");
    for (int i = 0; i < 4301; i++) strbuf_putc(&deep, '9');
    assert_read("{{ a }}", deep.data, deep.length, "!line 1, column 6: an integer has more than 4300 digits");
    strbuf_free(&deep);
}

/* The one assignment that Jinja2 lets through to a dictionary: a namespace's name that became one in the meantime. */
static void variables_stay_as_they_were_read(void **state)
{
    (void)state;
    static const char source[] = "{% set n = namespace() %}{% set n, n.k = a, 5 %}{{ a }}{{ a.k }}";
    static const char json[] = "{\"a\": {\"b\": 1, \"k\": 2}}";
    ChatTemplate *chat_template;
    TemplateValues *values;
    assert_int_equal(chat_template_compile(source, sizeof source - 1, &chat_template), IMP_OK);
    assert_int_equal(template_values_read(chat_template, json, sizeof json - 1, &values), IMP_OK);
    assert_int_equal(template_values_default(values, "a", "7", 1), IMP_OK);
    for (int i = 0; i < 3; i++) {
        StrBuf out = {0};
        assert_int_equal(chat_template_render(values, NULL, &out), IMP_OK);
        assert_string_equal(out.data, "{'b': 1, 'k': 5}5");
        strbuf_free(&out);
    }
    template_values_free(values);
    chat_template_free(chat_template);
}

static void defaults_join_the_variables(void **state)
{
    (void)state;
    static const char source[] = "{{ a }}{{ b.c }}{{ d is none }}{{ e }}";
    static const char json[] = "{\"a\": 1}";
    ChatTemplate *chat_template;
    TemplateValues *values;
    StrBuf out = {0};
    assert_int_equal(chat_template_compile(source, sizeof source - 1, &chat_template), IMP_OK);
    assert_int_equal(template_values_read(chat_template, json, sizeof json - 1, &values), IMP_OK);
    assert_int_equal(template_values_default(values, "a", "2", 1), IMP_OK);
    assert_int_equal(template_values_default(values, "b", "{\"c\": \"x\\ny\"}", 13), IMP_OK);
    assert_int_equal(template_values_default(values, "d", "null", 4), IMP_OK);
    assert_int_equal(template_values_default(values, "e", "[", 1), IMP_ERR_INVALID_ARGUMENT);
    template_values_free(values);
    assert_int_equal(template_values_read(chat_template, json, sizeof json - 1, &values), IMP_OK);
    assert_int_equal(template_values_default(values, "b", "{\"c\": \"x\\ny\"}", 13), IMP_OK);
    assert_int_equal(template_values_default(values, "d", "null", 4), IMP_OK);
    assert_int_equal(chat_template_render(values, NULL, &out), IMP_OK);
    assert_string_equal(out.data, "1x\nyTrue");
    strbuf_free(&out);
    template_values_free(values);
    chat_template_free(chat_template);
}

typedef struct ThreadJob {
    const ChatTemplate *chat_template;
    const json_t *variables;
    const char *wanted;
    int failures;
} ThreadJob;

static void *render_often(void *argument)
{
    ThreadJob *job = argument;
    for (int i = 0; i < 200; i++) {
        StrBuf text = {0};
        if (render_json(job->chat_template, job->variables, NULL, &text) != IMP_OK ||
            strcmp(text.data, job->wanted) != 0) {
            job->failures++;
        }
        strbuf_free(&text);
    }
    return NULL;
}

static void threads_share_a_template(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro m(x) %}<{{ x|upper }}>{% endmacro %}{% for w in words %}{{ m(w) ~ loop.index }}"
        "{{ 'é' in w }}{{ w|tojson }}{% endfor %}";
    json_t *variables = json_pack("{s:[s,s]}", "words", "één", "b");
    ChatTemplate *chat_template;
    assert_int_equal(chat_template_compile(source, sizeof source - 1, &chat_template), IMP_OK);
    pthread_t threads[4];
    ThreadJob jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (ThreadJob){chat_template, variables, "<ÉÉN>1True\"één\"<B>2False\"b\"", 0};
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].failures, 0);
    }
    chat_template_free(chat_template);
    json_decref(variables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_render_as_jinja2_does),
        cmocka_unit_test(model_templates_render_as_jinja2_does),
        cmocka_unit_test(named_formats_are_the_models_own),
        cmocka_unit_test(endless_work_is_stopped),
        cmocka_unit_test(deep_sources_are_refused),
        cmocka_unit_test(strange_bytes_are_refused_or_kept),
        cmocka_unit_test(nothing_is_read_behind_an_error),
        cmocka_unit_test(rendering_appends_and_failure_takes_back),
        cmocka_unit_test(numbers_of_any_size_come_from_json),
        cmocka_unit_test(variables_are_read_as_python_reads_json),
        cmocka_unit_test(variables_stay_as_they_were_read),
        cmocka_unit_test(defaults_join_the_variables),
        cmocka_unit_test(threads_share_a_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
