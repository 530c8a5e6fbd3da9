/*
 * tokenizer.c - the pipeline: repair, cut out added tokens, normalize, cut into words, model; and the way back.
 */
#include "text/tokenizer/tokenizer_internal.h"

#include "text/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

ImpStatus token_list_push(TokenList *list, int32_t id)
{
    if (list->count == list->capacity) {
        if (list->capacity > SIZE_MAX / 16) return imp_fail_memory(SIZE_MAX);
        const size_t capacity = list->capacity < 64 ? 64 : list->capacity * 2;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (ids == NULL) return imp_fail_memory(capacity * sizeof *ids);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return IMP_OK;
}

void token_list_free(TokenList *list)
{
    free(list->ids);
    *list = (TokenList){0};
}

static ImpStatus create(Tokenizer **out)
{
    Tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) return imp_fail_memory(sizeof *tokenizer);
    tokenizer->bos = tokenizer->eos = -1;
    const ImpStatus status = unicode_table_create(&tokenizer->arena, &tokenizer->unicode);
    tokenizer->patterns.unicode = tokenizer->added.unicode = tokenizer->normalizer.unicode = tokenizer->unicode;
    *out = tokenizer;
    return status;
}

/* Ends a creation: the tokenizer to the caller, or nothing and the failure. */
static ImpStatus created(ImpStatus status, Tokenizer *tokenizer, Tokenizer **out)
{
    if (status == IMP_OK) status = tokenizer_complete(tokenizer);
    if (tokenizer != NULL) category_cache_free(&tokenizer->patterns.categories);
    if (status != IMP_OK) tokenizer_free(tokenizer);
    *out = status == IMP_OK ? tokenizer : NULL;
    return status;
}

ImpStatus tokenizer_create_gguf(const GgufMeta *meta, Tokenizer **out)
{
    Tokenizer *tokenizer = NULL;
    ImpStatus status = create(&tokenizer);
    if (status == IMP_OK) status = tokenizer_load_gguf(tokenizer, meta);
    return created(status, tokenizer, out);
}

ImpStatus tokenizer_create_json(const json_t *json, const json_t *tokenizer_config, const json_t *config,
                                const json_t *generation_config, Tokenizer **out)
{
    Tokenizer *tokenizer = NULL;
    ImpStatus status = create(&tokenizer);
    if (status == IMP_OK) status = tokenizer_load_json(tokenizer, json, tokenizer_config, config, generation_config);
    return created(status, tokenizer, out);
}

ImpStatus tokenizer_load(const ModelFile *file, Tokenizer **out)
{
    ImpStatus status = IMP_OK;
    *out = NULL;
    const GgufMeta *meta = model_file_gguf(file);
    const json_t *json = model_file_tokenizer(file);
    if (meta != NULL && gguf_find(meta, "tokenizer.ggml.tokens") != NULL) {
        status = tokenizer_create_gguf(meta, out);
    } else if (json != NULL) {
        status = tokenizer_create_json(json, model_file_tokenizer_config(file), model_file_config(file),
                                       model_file_generation_config(file), out);
    }
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "%s: tokenizer", model_file_path(file));
}

ImpStatus tokenizer_create_vocab(Tokenizer *tokenizer, size_t count, size_t max_added)
{
    IMP_TRY(vocab_create(&tokenizer->arena, count, &tokenizer->vocab));
    tokenizer->ends = arena_alloc(&tokenizer->arena, count, 1);
    tokenizer->added.tokens = arena_alloc(&tokenizer->arena, max_added, sizeof *tokenizer->added.tokens);
    return tokenizer->ends == NULL || tokenizer->added.tokens == NULL ? imp_fail_memory(count) : IMP_OK;
}

ImpStatus tokenizer_index_added(Tokenizer *tokenizer)
{
    ImpStatus status = IMP_OK;
    NormalScratch scratch = {0};
    for (size_t i = 0; i < tokenizer->added.count && status == IMP_OK; i++) {
        AddedToken *token = &tokenizer->added.tokens[i];
        if (!token->normalized || tokenizer->normalizer.count == 0) continue;
        const char *text = token->content;
        size_t length = token->length;
        IMP_GOTO(normalize(&tokenizer->normalizer, &scratch, &text, &length));
        if (length == token->length && memcmp(text, token->content, length) == 0) continue;
        if (length > VOCAB_MAX_TOKEN_BYTES)
            IMP_GOTO(imp_fail(IMP_ERR_LIMIT, "an added token is too long when normalized"));
        token->content = arena_string(&tokenizer->arena, text, length);
        if (token->content == NULL) IMP_GOTO(imp_fail_memory(length));
        token->length = (uint32_t)length;
        tokenizer->vocab.tokens[token->id].flags |= VOCAB_RENAMED;
    }
    IMP_GOTO(added_tokens_index(&tokenizer->added, &tokenizer->arena));
fail:
    normal_scratch_free(&scratch);
    return status;
}

int32_t tokenizer_find_slow(const Tokenizer *tokenizer, const char *text, size_t length)
{
    for (int32_t id = 0; id < tokenizer->vocab.count; id++) {
        const VocabToken *token = &tokenizer->vocab.tokens[id];
        if (token->text != NULL && token->text_length == length && memcmp(token->text, text, length) == 0) return id;
    }
    return -1;
}

void tokenizer_free(Tokenizer *tokenizer)
{
    if (tokenizer == NULL) return;
    normalizer_free(&tokenizer->normalizer);
    pretokenizer_free(&tokenizer->pre);
    decoder_free(&tokenizer->decoder);
    arena_free(&tokenizer->arena);
    free(tokenizer);
}

ImpStatus tokenizer_set_template(Tokenizer *tokenizer, const TokenList *before, const TokenList *after)
{
    int32_t *ids = arena_alloc(&tokenizer->arena, before->count + after->count, sizeof *ids);
    if (ids == NULL) return imp_fail_memory((before->count + after->count) * sizeof *ids);
    if (before->count > 0) memcpy(ids, before->ids, before->count * sizeof *ids);
    if (after->count > 0) memcpy(ids + before->count, after->ids, after->count * sizeof *ids);
    tokenizer->before = ids;
    tokenizer->n_before = before->count;
    tokenizer->after = ids + before->count;
    tokenizer->n_after = after->count;
    return IMP_OK;
}

void tokenizer_add_end(Tokenizer *tokenizer, int64_t id)
{
    if (id >= 0 && id < tokenizer->vocab.count) tokenizer->ends[id] = 1;
}

static bool is_text(const AddedToken *token, const char *text)
{
    return strlen(text) == token->length && memcmp(text, token->content, token->length) == 0;
}

void tokenizer_add_known_ends(Tokenizer *tokenizer)
{
    static const char *const texts[] = {"<|eot_id|>",      "<|im_end|>", "<end_of_turn>",
                                        "<|endoftext|>",   "<|eom_id|>", "<EOT>",    "_<EOT>",
                                        "<|end_of_text|>", "<|return|>", "<|call|>", "<turn|>",
                                        "<|tool_response>", "<start_function_response>"};
    const AddedToken *message_end = NULL;
    bool has_return = false;
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        const AddedToken *token = &tokenizer->added.tokens[i];
        if (!token->special) continue;
        if (is_text(token, "<|end|>")) message_end = token;
        has_return = has_return || is_text(token, "<|return|>");
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
            if (is_text(token, texts[t])) tokenizer_add_end(tokenizer, token->id);
    }
    /* Where answers are several messages, one message's end is not the answer's. */
    if (message_end != NULL && !has_return) tokenizer_add_end(tokenizer, message_end->id);
}

/* What the token's text becomes in the middle of a decoded text. */
static ImpStatus token_bytes(DecodeRun *run, const VocabToken *token)
{
    for (size_t i = 0; i < run->decoder->count; i++) {
        const DecodeKind kind = run->decoder->steps[i].kind;
        if (kind == DECODE_BYTE_FALLBACK && vocab_byte_of(token->text, token->text_length) >= 0) {
            strbuf_putc(run->out, (char)vocab_byte_of(token->text, token->text_length));
            return IMP_OK;
        }
        if (kind == DECODE_BYTE_LEVEL) {
            size_t length;
            if (!strbuf_reserve(run->out, token->text_length)) return IMP_OK;
            if (byte_level_decode(token->text, token->text_length, run->out->data, &length)) {
                run->out->length = length;
                return IMP_OK;
            }
        }
    }
    IMP_TRY(decode_push(run, token->text, token->text_length));
    return decode_finish(run);
}

ImpStatus tokenizer_complete(Tokenizer *tokenizer)
{
    ImpStatus status = IMP_OK;
    StrBuf bytes = {0};
    DecodeRun run = {.decoder = &tokenizer->decoder, .out = &bytes, .middle = true};
    for (int32_t id = 0; id < tokenizer->vocab.count; id++) {
        VocabToken *token = &tokenizer->vocab.tokens[id];
        if (token->text == NULL || (token->flags & VOCAB_SPECIAL) != 0) continue;
        strbuf_clear(&bytes);
        IMP_GOTO(token_bytes(&run, token));
        IMP_GOTO(strbuf_check(&bytes));
        if (token->bytes != NULL && token->bytes_length == bytes.length) continue;
        const bool same = bytes.length == token->text_length && memcmp(bytes.data, token->text, bytes.length) == 0;
        token->bytes = same ? token->text : arena_string(&tokenizer->arena, bytes.data, bytes.length);
        if (token->bytes == NULL) IMP_GOTO(imp_fail_memory(bytes.length));
        token->bytes_length = (uint32_t)bytes.length;
    }
fail:
    decode_run_free(&run);
    strbuf_free(&bytes);
    return status;
}

/* One call of tokenizer_encode. */
typedef struct Encoder {
    const Tokenizer *tokenizer;
    TokenList *out;
    bool parse_special;
    bool first; /* the part at hand starts where the input starts */
    NormalScratch normal;
    PreScratch pre;
    BpeScratch *bpe;
    UnigramScratch unigram;
} Encoder;

static ImpStatus encode_word(void *user, const char *word, size_t length)
{
    Encoder *encoder = user;
    const Tokenizer *tokenizer = encoder->tokenizer;
    switch (tokenizer->kind) {
    case MODEL_BPE:
        return bpe_encode(&tokenizer->model.bpe, encoder->bpe, word, length, encoder->out);
    case MODEL_UNIGRAM:
        return unigram_encode(&tokenizer->model.unigram, &encoder->unigram, word, length, encoder->out);
    case MODEL_WORDPIECE:
        return wordpiece_encode(&tokenizer->model.wordpiece, word, length, encoder->out);
    }
    return imp_fail(IMP_ERR_INTERNAL, "unknown tokenizer model");
}

static ImpStatus encode_normalized(void *user, const char *text, size_t length, size_t offset, int32_t id)
{
    Encoder *encoder = user;
    if (id >= 0) return token_list_push(encoder->out, id);
    const Piece piece = {text, length, encoder->first && offset == 0};
    return pretokenize(&encoder->tokenizer->pre, &encoder->pre, piece, encode_word, encoder);
}

static ImpStatus encode_part(void *user, const char *text, size_t length, size_t offset, int32_t id)
{
    Encoder *encoder = user;
    if (id >= 0) return token_list_push(encoder->out, id);
    encoder->first = offset == 0;
    IMP_TRY(normalize(&encoder->tokenizer->normalizer, &encoder->normal, &text, &length));
    return added_tokens_split(&encoder->tokenizer->added, true, encoder->parse_special, text, length, encode_normalized,
                              encoder);
}

static ImpStatus push_ids(TokenList *out, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) IMP_TRY(token_list_push(out, ids[i]));
    return IMP_OK;
}

ImpStatus tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t length, unsigned flags, TokenList *out)
{
    ImpStatus status = IMP_OK;
    StrBuf repaired = {0};
    Encoder encoder = {.tokenizer = tokenizer, .out = out, .parse_special = (flags & TOKENIZE_PARSE_SPECIAL) != 0};
    if (utf8_valid_prefix(text, length) != length) {
        utf8_repair(text, length, &repaired);
        IMP_GOTO(strbuf_check(&repaired));
        text = repaired.data;
        length = repaired.length;
    }
    encoder.bpe = bpe_scratch_create(length);
    if (encoder.bpe == NULL) IMP_GOTO(imp_fail_memory(length));
    if ((flags & TOKENIZE_ADD_SPECIAL) != 0) IMP_GOTO(push_ids(out, tokenizer->before, tokenizer->n_before));
    IMP_GOTO(added_tokens_split(&tokenizer->added, false, encoder.parse_special, text, length, encode_part, &encoder));
    if ((flags & TOKENIZE_ADD_SPECIAL) != 0) IMP_GOTO(push_ids(out, tokenizer->after, tokenizer->n_after));
fail:
    bpe_scratch_free(encoder.bpe);
    unigram_scratch_free(&encoder.unigram);
    pre_scratch_free(&encoder.pre);
    normal_scratch_free(&encoder.normal);
    strbuf_free(&repaired);
    return status;
}

int32_t tokenizer_vocab_size(const Tokenizer *tokenizer) { return tokenizer->vocab.count; }

static const VocabToken *token_of(const Tokenizer *tokenizer, int32_t id)
{
    return id < 0 || id >= tokenizer->vocab.count ? NULL : &tokenizer->vocab.tokens[id];
}

const char *tokenizer_token_bytes(const Tokenizer *tokenizer, int32_t id, size_t *length)
{
    const VocabToken *token = token_of(tokenizer, id);
    const bool none = token == NULL || token->bytes == NULL || (token->flags & VOCAB_SPECIAL) != 0;
    *length = none ? 0 : token->bytes_length;
    return none ? "" : token->bytes;
}

const char *tokenizer_token_text(const Tokenizer *tokenizer, int32_t id, size_t *length)
{
    const VocabToken *token = token_of(tokenizer, id);
    const bool none = token == NULL || token->text == NULL;
    *length = none ? 0 : token->text_length;
    return none ? "" : token->text;
}

/* Among the added tokens by what is searched for; a renamed one is not found by that. */
static int32_t find_added(const Tokenizer *tokenizer, const char *text, size_t length)
{
    for (int normalized = 0; normalized < 2 && length > 0; normalized++) {
        int32_t index = 0;
        const Trie *trie = &tokenizer->added.tries[normalized];
        if (trie->nodes == NULL || trie_longest(trie, text, length, &index) != length) continue;
        const int32_t id = tokenizer->added.tokens[index].id;
        if ((tokenizer->vocab.tokens[id].flags & VOCAB_RENAMED) == 0) return id;
    }
    return -1;
}

int32_t tokenizer_find(const Tokenizer *tokenizer, const char *text, size_t length)
{
    const int32_t added = find_added(tokenizer, text, length);
    if (added >= 0) return added;
    return vocab_find(&tokenizer->vocab, text, length);
}

bool tokenizer_is_special(const Tokenizer *tokenizer, int32_t id)
{
    const VocabToken *token = token_of(tokenizer, id);
    return token != NULL && (token->flags & VOCAB_SPECIAL) != 0;
}

bool tokenizer_is_end(const Tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->vocab.count && tokenizer->ends[id] != 0;
}

int32_t tokenizer_bos(const Tokenizer *tokenizer) { return tokenizer->bos; }
int32_t tokenizer_eos(const Tokenizer *tokenizer) { return tokenizer->eos; }

bool tokenizer_adds_bos(const Tokenizer *tokenizer)
{
    return tokenizer->n_before > 0 && tokenizer->before[0] == tokenizer->bos;
}
