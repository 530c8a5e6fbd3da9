/*
 * fuzz_tokenizer_json.c - any bytes as a tokenizer.json; what follows a NUL is a text for it.
 */
#include "fuzz_text.h"

#include "text/tokenizer/tokenizer_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char sample[] = "Hello, w\xC3\xB6rld  123 <s>ab\n\xE4\xB8\xAD\xF0\x9F\x98\x80 e\xCC\x81\xFF";
    const uint8_t *end = size == 0 ? NULL : memchr(data, 0, size);
    const size_t json_size = end == NULL ? size : (size_t)(end - data);
    json_t *json = json_loadb((const char *)data, json_size, JSON_ALLOW_NUL, NULL);
    Tokenizer *tokenizer = NULL;
    if (json != NULL && tokenizer_create_json(json, json, json, NULL, &tokenizer) == IMP_OK) {
        use_tokenizer(tokenizer, sample, sizeof sample - 1);
        if (end != NULL) use_tokenizer(tokenizer, (const char *)end + 1, size - json_size - 1);
    }
    tokenizer_free(tokenizer);
    json_decref(json);
    return 0;
}
