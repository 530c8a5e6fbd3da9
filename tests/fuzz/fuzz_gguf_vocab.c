/*
 * fuzz_gguf_vocab.c - any bytes as a GGUF file's metadata: its tokenizer, used on a text that follows the metadata.
 */
#include "fuzz_text.h"

#include "format/gguf_file.h"
#include "text/tokenizer/tokenizer_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char sample[] = "Hello, w\xC3\xB6rld  123 <s>ab\n\xE4\xB8\xAD\xF0\x9F\x98\x80 e\xCC\x81\xFF";
    GgufCursor cursor = {.data = data, .size = size};
    GgufMeta *meta = NULL;
    uint64_t n_tensors;
    Tokenizer *tokenizer = NULL;
    if (gguf_meta_read(&cursor, &meta, &n_tensors) != IMP_OK) return 0;
    if (tokenizer_create_gguf(meta, &tokenizer) == IMP_OK) {
        use_tokenizer(tokenizer, sample, sizeof sample - 1);
        use_tokenizer(tokenizer, (const char *)data + cursor.at, size - cursor.at);
    }
    tokenizer_free(tokenizer);
    gguf_meta_free(meta);
    return 0;
}
