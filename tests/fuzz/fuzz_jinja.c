/*
 * fuzz_jinja.c - any bytes as a chat template over a fixed conversation: an error or a rendering, never more. Small
 * bounds keep a single input short; twice the same input must end the same way.
 */
#include "text/template/chat_template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char variables_text[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"h\\u00e9llo <b> "
    "\\ud83d\\ude00\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"arguments\":"
    "{\"x\":1,\"y\":[1.5,null,true]}}}]},{\"role\":\"tool\",\"content\":\"7\"}],\"tools\":[{\"type\":\"function\","
    "\"function\":"
    "{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}}}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"n\":7,\"x\":1.25,\"s\":\"a,b "
    "c\\n\\u00dfx\",\"items\":[3,1,2]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ChatTemplate *chat_template;
    TemplateValues *values;
    if (chat_template_compile((const char *)data, size, &chat_template) != IMP_OK) return 0;
    if (template_values_read(chat_template, variables_text, sizeof variables_text - 1, &values) != IMP_OK) abort();
    const TemplateLimits limits = {
        .steps = 200000, .depth = 50, .output_bytes = 1 << 18, .memory_bytes = 1 << 24, .now = 1700000000};
    StrBuf first = {0}, second = {0};
    const ImpStatus status = chat_template_render(values, &limits, &first);
    if (chat_template_render(values, &limits, &second) != status) abort();
    if (first.length != second.length || (first.length > 0 && memcmp(first.data, second.data, first.length) != 0))
        abort();
    strbuf_free(&first);
    strbuf_free(&second);
    template_values_free(values);
    chat_template_free(chat_template);
    return 0;
}
