/*
 * tokenize_driver.c - a batch of strings through a tokenizer, for the comparison with the `tokenizers` package.
 *
 *     tokenize_driver MODEL [--detokenize] [--skip-special] [--add-special] [--no-parse-special] [--stream] [--time] <
 * in > out
 *
 * In: records of a 32-bit little-endian length and so many bytes of text. Out: a line of space-separated ids for each.
 * With --detokenize in is such lines, out such records; --stream detokenizes one id at a time. With --time out is the
 * number of seconds of processor time that all the encoding took and the number of ids.
 */
#include "text/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, imp_last_error());
    return 1;
}

static int tokenize(const Tokenizer *tokenizer, unsigned flags, bool only_time)
{
    clock_t spent = 0;
    size_t n_ids = 0;
    StrBuf text = {0};
    TokenList ids = {0};
    uint32_t length;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        strbuf_clear(&text);
        if (!strbuf_reserve(&text, length) || fread(text.data, 1, length, stdin) != length) return 1;
        ids.count = 0;
        const clock_t start = clock();
        if (tokenizer_encode(tokenizer, text.data, length, flags, &ids) != IMP_OK) return fail("encode");
        spent += clock() - start;
        n_ids += ids.count;
        if (only_time) continue;
        for (size_t i = 0; i < ids.count; i++) printf(i == 0 ? "%d" : " %d", (int)ids.ids[i]);
        putchar('\n');
    }
    if (only_time) printf("%.6f %zu\n", (double)spent / CLOCKS_PER_SEC, n_ids);
    strbuf_free(&text);
    token_list_free(&ids);
    return 0;
}

static ImpStatus decode(const Tokenizer *tokenizer, const TokenList *ids, bool keep_special, bool stream, StrBuf *out)
{
    if (!stream) return tokenizer_decode(tokenizer, ids->ids, ids->count, keep_special, out);
    Detokenizer *detokenizer;
    IMP_TRY(detokenizer_create(tokenizer, keep_special, &detokenizer));
    ImpStatus status = IMP_OK;
    for (size_t i = 0; i < ids->count && status == IMP_OK; i++)
        status = detokenizer_push(detokenizer, ids->ids[i], out);
    if (status == IMP_OK) status = detokenizer_finish(detokenizer, out);
    detokenizer_free(detokenizer);
    return status;
}

static int detokenize(const Tokenizer *tokenizer, bool keep_special, bool stream)
{
    char *line = NULL;
    size_t capacity = 0;
    TokenList ids = {0};
    StrBuf text = {0};
    while (getline(&line, &capacity, stdin) >= 0) {
        ids.count = 0;
        char *at = line, *end;
        for (long id; id = strtol(at, &end, 10), end != at; at = end) {
            if (token_list_push(&ids, (int32_t)id) != IMP_OK) return fail("ids");
        }
        strbuf_clear(&text);
        if (decode(tokenizer, &ids, keep_special, stream, &text) != IMP_OK) return fail("decode");
        const uint32_t length = (uint32_t)text.length;
        fwrite(&length, sizeof length, 1, stdout);
        if (length > 0) fwrite(text.data, 1, length, stdout);
    }
    free(line);
    token_list_free(&ids);
    strbuf_free(&text);
    return 0;
}

int main(int argc, char **argv)
{
    bool back = false, keep_special = true, stream = false, only_time = false;
    unsigned flags = TOKENIZE_PARSE_SPECIAL;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--detokenize") == 0) back = true;
        if (strcmp(argv[i], "--stream") == 0) stream = true;
        if (strcmp(argv[i], "--time") == 0) only_time = true;
        if (strcmp(argv[i], "--skip-special") == 0) keep_special = false;
        if (strcmp(argv[i], "--add-special") == 0) flags |= TOKENIZE_ADD_SPECIAL;
        if (strcmp(argv[i], "--no-parse-special") == 0) flags &= ~(unsigned)TOKENIZE_PARSE_SPECIAL;
    }
    if (argc < 2) return 2;
    ModelFile *file;
    Tokenizer *tokenizer;
    if (model_file_open(argv[1], MODEL_FORMAT_AUTO, &file) != IMP_OK) return fail("open");
    if (tokenizer_load(file, &tokenizer) != IMP_OK) return fail("load");
    if (tokenizer == NULL) return fail("the model has no vocabulary");
    const int result = back ? detokenize(tokenizer, keep_special, stream) : tokenize(tokenizer, flags, only_time);
    tokenizer_free(tokenizer);
    model_file_close(file);
    return result;
}
