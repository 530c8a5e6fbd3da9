/* imp/tools.h: formats, readers, constraints and what they refuse. */
#include "api_test.h"

#include "imp/constrain.h"
#include "imp/tools.h"

#include <string.h>

static const char tools_json[] = "[{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": {\"type\": \"object\", "
                                 "\"properties\": {\"city\": {\"type\": \"string\"}}, \"required\": [\"city\"]}}}]";

static ImpTools make_tools(ImpModel model, const char *json, const char *chat_template, const char *format)
{
    ImpTools tools = NULL;
    if (imp_tools_create(model, json, IMP_NUL_TERMINATED, chat_template, format, &tools) != IMP_OK) fail_msg("%s", imp_last_error());
    return tools;
}

static void test_formats_and_templates(void **state)
{
    ImpModel model = *state;
    ImpTools tools = make_tools(model, tools_json, "{% for m in messages %}{{ tools }}<tool_call>{% endfor %}", NULL);
    assert_string_equal(imp_tools_format(tools), "hermes");
    assert_int_equal(imp_tools_missing(tools), IMP_TOOLS_NO_CALLS | IMP_TOOLS_NO_RESULTS);
    assert_false(imp_tools_always_read(tools));
    assert_false(imp_tools_have_short_ids(tools));
    imp_tools_free(tools);
    tools = make_tools(model, NULL, "{{ 'tool' }}{{ tool_calls }}{{ tools }}", "harmony");
    assert_string_equal(imp_tools_format(tools), "harmony");
    assert_int_equal(imp_tools_missing(tools), 0);
    assert_true(imp_tools_always_read(tools));
    imp_tools_free(tools);
    assert_int_equal(imp_tools_create(model, NULL, 0, NULL, "morse", &tools), IMP_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(imp_last_error(), "morse"));
    assert_null(tools);
    assert_string_equal(imp_tool_format_name(0), "harmony");
    assert_null(imp_tool_format_name(1000));
}

static void count_calls(void *user, const ImpToolEvent *event)
{
    if (event->kind == IMP_TOOL_CALL) {
        assert_string_equal(event->name, "look");
        ++*(int *)user;
    }
}

static void test_reader(void **state)
{
    static const char text[] = "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";
    ImpTools tools = make_tools(*state, tools_json, NULL, "hermes");
    ImpToolReader reader = NULL;
    int n_calls = 0;
    assert_int_equal(imp_tool_reader_create(tools, 1, count_calls, &n_calls, &reader), IMP_OK);
    assert_int_equal(imp_tool_reader_push(reader, text, 20, false), IMP_OK);
    assert_int_equal(imp_tool_reader_push(reader, text + 20, IMP_NUL_TERMINATED, true), IMP_OK);
    assert_int_equal(n_calls, 1);
    imp_tool_reader_free(reader);
    imp_tools_free(tools);
}

static void test_rules(void **state)
{
    ImpTools tools = make_tools(*state, tools_json, NULL, "hermes");
    ImpConstraint constraint = NULL;
    ImpToolRules rules = {.size = sizeof rules};
    assert_int_equal(imp_tools_constrain(tools, &rules, &constraint), IMP_OK);
    assert_null(constraint);
    rules.strict = true;
    assert_int_equal(imp_tools_constrain(tools, &rules, &constraint), IMP_OK);
    assert_non_null(constraint);
    imp_constraint_free(constraint);
    rules.choice = IMP_TOOL_CHOICE_REQUIRED;
    rules.only = "listen";
    assert_int_equal(imp_tools_constrain(tools, &rules, &constraint), IMP_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(imp_last_error(), "listen"));
    imp_tools_free(tools);
    tools = make_tools(*state, "[{\"name\": \"odd\", \"parameters\": {\"type\": \"object\", \"pattern\": 3}}]", NULL, "hermes");
    rules.only = NULL;
    assert_int_not_equal(imp_tools_constrain(tools, &rules, &constraint), IMP_OK);
    assert_non_null(strstr(imp_last_error(), "odd"));
    imp_tools_free(tools);
}

static void test_written_call(void **state)
{
    char text[128];
    size_t length = 0;
    ImpTools tools = make_tools(*state, tools_json, NULL, "lfm2");
    assert_int_equal(imp_tools_write_call(tools, "look", "{\"city\": \"Oslo\", \"now\": true}", text, sizeof text, &length), IMP_OK);
    assert_string_equal(text, "<|tool_call_start|>[look(city=\"Oslo\", now=True)]<|tool_call_end|>");
    assert_int_equal(imp_tools_write_call(tools, "look", "[1]", text, sizeof text, &length), IMP_ERR_FORMAT);
    imp_tools_free(tools);
}

static void test_null_handles(void **state)
{
    ImpTools tools = NULL;
    (void)state;
    assert_int_equal(imp_tools_create(NULL, NULL, 0, NULL, NULL, &tools), IMP_ERR_INVALID_ARGUMENT);
    assert_int_equal(imp_tool_reader_push(NULL, "", 0, true), IMP_ERR_INVALID_ARGUMENT);
    assert_string_equal(imp_tools_format(NULL), "");
    imp_tools_free(NULL);
    imp_tool_reader_free(NULL);
}

static int open_tiny(void **state)
{
    *state = open_model(TINY_MODEL);
    return 0;
}

static int close_tiny(void **state)
{
    imp_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats_and_templates), cmocka_unit_test(test_reader),       cmocka_unit_test(test_rules),
        cmocka_unit_test(test_written_call),          cmocka_unit_test(test_null_handles),
    };
    return cmocka_run_group_tests(tests, open_tiny, close_tiny);
}
