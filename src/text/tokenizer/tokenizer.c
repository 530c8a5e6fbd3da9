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

ImpStatus tokenizer_load(const ModelFile *file, Tokenizer **out)
{
    *out = NULL;
    const GgufMeta *meta = model_file_gguf(file);
    if (meta == NULL || gguf_find(meta, "tokenizer.ggml.tokens") == NULL) return IMP_OK;
    Tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) return imp_fail_memory(sizeof *tokenizer);
    tokenizer->bos = tokenizer->eos = -1;
    ImpStatus status = unicode_table_create(&tokenizer->arena, &tokenizer->unicode);
    tokenizer->added.unicode = tokenizer->unicode;
    if (status == IMP_OK) status = tokenizer_load_gguf(tokenizer, meta);
    if (status == IMP_OK) status = tokenizer_complete(tokenizer);
    if (status != IMP_OK) {
        tokenizer_free(tokenizer);
        return imp_fail_prefix(status, "%s: tokenizer", model_file_path(file));
    }
    *out = tokenizer;
    return IMP_OK;
}

void tokenizer_free(Tokenizer *tokenizer)
{
    if (tokenizer == NULL) return;
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
    PreScratch pre;
    BpeScratch *bpe;
} Encoder;

static ImpStatus encode_word(void *user, const char *word, size_t length)
{
    Encoder *encoder = user;
    return bpe_encode(&encoder->tokenizer->bpe, encoder->bpe, word, length, encoder->out);
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
    return added_tokens_split(&encoder->tokenizer->added, true, encoder->parse_special, text, length, encode_normalized, encoder);
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
    encoder.bpe = bpe_scratch_create(&tokenizer->bpe, length);
    if (encoder.bpe == NULL) IMP_GOTO(imp_fail_memory(length));
    if ((flags & TOKENIZE_ADD_SPECIAL) != 0) IMP_GOTO(push_ids(out, tokenizer->before, tokenizer->n_before));
    IMP_GOTO(added_tokens_split(&tokenizer->added, false, encoder.parse_special, text, length, encode_part, &encoder));
    if ((flags & TOKENIZE_ADD_SPECIAL) != 0) IMP_GOTO(push_ids(out, tokenizer->after, tokenizer->n_after));
fail:
    bpe_scratch_free(encoder.bpe);
    pre_scratch_free(&encoder.pre);
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

int32_t tokenizer_find(const Tokenizer *tokenizer, const char *text, size_t length)
{
    for (int normalized = 0; normalized < 2; normalized++) {
        int32_t index = 0;
        if (length > 0 && tokenizer->added.tries[normalized].nodes != NULL &&
            trie_longest(&tokenizer->added.tries[normalized], text, length, &index) == length) {
            return tokenizer->added.tokens[index].id;
        }
    }
    if (!tokenizer->vocab.keyed_by_bytes) return vocab_lookup(&tokenizer->vocab, text, length);
    if (length > VOCAB_MAX_TOKEN_BYTES || utf8_valid_prefix(text, length) != length) return -1;
    StrBuf key = {0};
    int32_t id = -1;
    size_t key_length;
    if (strbuf_reserve(&key, length) && byte_level_decode(text, length, key.data, &key_length)) {
        id = vocab_lookup(&tokenizer->vocab, key.data, key_length);
    }
    strbuf_free(&key);
    return id;
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
