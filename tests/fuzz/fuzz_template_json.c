/*
 * fuzz_template_json.c - any bytes as the variables of a template. What jansson reads is read, and written again it is
 * the same to jansson; what jansson refuses is refused, but for numbers that it cannot hold.
 */
#include "text/template/chat_template.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const json_t *json, const StrBuf *text)
{
    json_t *again = json_loadb(text->data, text->length, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    if (!json_equal((json_t *)(uintptr_t)json, again)) abort();
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char source[] = "{{ v|tojson }}";
    static ChatTemplate *chat_template;
    if (chat_template == NULL && chat_template_compile(source, sizeof source - 1, &chat_template) != IMP_OK) abort();
    if (size > 0 && memchr(data, '\0', size) != NULL) return 0; /* jansson reads over them */
    char *text = malloc(size + 6);
    if (text == NULL) return 0;
    memcpy(text, "{\"v\":", 5);
    memcpy(text + 5, data, size);
    text[size + 5] = '}';
    TemplateValues *values;
    json_error_t error;
    json_t *json = json_loadb(text, size + 6, JSON_ALLOW_NUL, &error);
    const ImpStatus status = template_values_read(chat_template, text, size + 6, &values);
    if (json != NULL && status != IMP_OK && status != IMP_ERR_LIMIT) abort();
    if (json == NULL && status == IMP_OK && json_error_code(&error) != json_error_numeric_overflow) abort();
    const size_t members = json_object_size(json);
    StrBuf out = {0};
    if (status == IMP_OK && chat_template_render(values, NULL, &out) == IMP_OK && json != NULL && members == 1) {
        compare(json_object_get(json, "v"), &out);
    }
    strbuf_free(&out);
    template_values_free(values);
    json_decref(json);
    free(text);
    return 0;
}
