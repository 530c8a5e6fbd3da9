/*
 * bpe.c - the tables of a byte-pair model.
 *
 * Besides ranks there is one more table, for models without a pre-tokenizer (Llama 2, Gemma), whose "word" is a whole
 * text: the pairs of neighbouring characters that occur inside any token. Between two characters that never are
 * neighbours inside a token no merge can reach, so the text may be cut there, and the pieces are as short as words.
 */
#include "text/tokenizer/bpe.h"

#include "text/tokenizer/bpe_internal.h"
#include "text/tokenizer/utf8.h"

#include <string.h>

enum { MAX_MERGES = 1 << 25 };

ImpStatus bpe_create(Arena *arena, const Vocab *vocab, size_t n_merges, const float *scores, Bpe *out)
{
    if (n_merges > MAX_MERGES) return imp_fail(IMP_ERR_LIMIT, "%zu merges are more than %d", n_merges, MAX_MERGES);
    *out = (Bpe){.vocab = vocab, .scores = scores, .bytes = vocab->keyed_by_bytes, .unknown = -1};
    if (scores == NULL) {
        size_t slots = 16;
        while (slots < n_merges * 2) slots *= 2;
        out->merges = arena_alloc(arena, slots, sizeof *out->merges);
        if (out->merges == NULL) return imp_fail_memory(slots * sizeof *out->merges);
        out->merge_mask = slots - 1;
        for (size_t i = 0; i < slots; i++) out->merges[i].pair = UINT64_MAX;
    }
    out->whole = arena_alloc(arena, (size_t)vocab->count, sizeof *out->whole);
    if (out->whole == NULL) return imp_fail_memory((size_t)vocab->count);
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        out->symbol_ids[i] = out->bytes || i < 0x80 ? vocab_lookup(vocab, &byte, 1) : -1;
        out->fallback_ids[i] = -1;
    }
    return IMP_OK;
}

/* The key of a text in the files' spelling, which for byte keys has to be decoded; false when no bytes can spell it. */
static bool key_of_text(const Bpe *bpe, const char *text, size_t length, char *buffer, size_t *key_length)
{
    if (bpe->bytes) {
        return utf8_valid_prefix(text, length) == length && byte_level_decode(text, length, buffer, key_length);
    }
    memcpy(buffer, text, length);
    *key_length = length;
    return true;
}

static ImpStatus no_token(const char *text, size_t length)
{
    return imp_fail(IMP_ERR_FORMAT, "the merges name \"%.*s\", which is no token", (int)(length < 100 ? length : 100),
                    text);
}

ImpStatus bpe_add_merge(Bpe *bpe, const char *left, size_t left_length, const char *right, size_t right_length,
                        uint32_t rank)
{
    enum { INLINE_BYTES = 512 };
    if (left_length + right_length > INLINE_BYTES) {
        if (left_length > VOCAB_MAX_TOKEN_BYTES || right_length > VOCAB_MAX_TOKEN_BYTES)
            return no_token(left, left_length);
    }
    char local[INLINE_BYTES];
    char *buffer = local;
    ImpStatus status = IMP_OK;
    StrBuf large = {0};
    if (left_length + right_length > INLINE_BYTES) {
        (void)strbuf_reserve(&large, left_length + right_length);
        IMP_GOTO(strbuf_check(&large));
        buffer = large.data;
    }
    size_t left_key, right_key;
    /* What bytes cannot spell never comes up in a text. */
    if (!key_of_text(bpe, left, left_length, buffer, &left_key) ||
        !key_of_text(bpe, right, right_length, buffer + left_key, &right_key)) {
        goto fail;
    }
    const int32_t left_id = vocab_lookup(bpe->vocab, buffer, left_key);
    const int32_t right_id = vocab_lookup(bpe->vocab, buffer + left_key, right_key);
    if (left_id < 0) IMP_GOTO(no_token(left, left_length));
    if (right_id < 0) IMP_GOTO(no_token(right, right_length));
    /* "##b" merges onto "a" as "ab". */
    const size_t prefix = bpe->word_prefix == NULL ? 0 : strlen(bpe->word_prefix);
    if (prefix > right_key) IMP_GOTO(no_token(right, right_length));
    memmove(buffer + left_key, buffer + left_key + prefix, right_key - prefix);
    const int32_t result = vocab_lookup(bpe->vocab, buffer, left_key + right_key - prefix);
    if (result < 0)
        IMP_GOTO(imp_fail(IMP_ERR_FORMAT, "the merge of \"%.*s\" and \"%.*s\" makes no token",
                          (int)(left_length < 100 ? left_length : 100), left,
                          (int)(right_length < 100 ? right_length : 100), right));
    const uint64_t pair = bpe_pair(left_id, right_id);
    uint64_t i = bpe_pair_hash(pair) & bpe->merge_mask;
    while (bpe->merges[i].pair != UINT64_MAX && bpe->merges[i].pair != pair) i = (i + 1) & bpe->merge_mask;
    bpe->merges[i] = (BpeMerge){pair, rank, result};
fail:
    strbuf_free(&large);
    return status;
}

static bool takes_part_in_merges(const Bpe *bpe, int32_t id)
{
    if (bpe->merges == NULL) return false;
    for (uint64_t i = 0; i <= bpe->merge_mask; i++) {
        const uint64_t pair = bpe->merges[i].pair;
        if (pair != UINT64_MAX && ((int32_t)(pair >> 32) == id || (int32_t)(uint32_t)pair == id)) return true;
    }
    return false;
}

static void find_fallback(Bpe *bpe)
{
    bpe->fallback_complete = bpe->byte_fallback;
    for (int byte = 0; byte < 256; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        const char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        bpe->fallback_ids[byte] = vocab_lookup(bpe->vocab, text, sizeof text);
        if (bpe->fallback_ids[byte] < 0) bpe->fallback_complete = false;
    }
    if (!bpe->fallback_complete || bpe->merges == NULL) return;
    for (uint64_t i = 0; i <= bpe->merge_mask && bpe->fallback_complete; i++) {
        const uint64_t pair = bpe->merges[i].pair;
        if (pair == UINT64_MAX) continue;
        const VocabToken *left = &bpe->vocab->tokens[pair >> 32], *right = &bpe->vocab->tokens[(uint32_t)pair];
        if (vocab_byte_of(left->text, left->text_length) >= 0 || vocab_byte_of(right->text, right->text_length) >= 0) {
            bpe->fallback_complete = false;
        }
    }
}

ImpStatus bpe_finish(Bpe *bpe, Arena *arena, bool whole_text)
{
    if (bpe->byte_fallback && !bpe->bytes) find_fallback(bpe);
    const bool plain = !bpe->bytes && bpe->word_prefix == NULL && bpe->word_suffix == NULL;
    if (!whole_text || !plain || (bpe->unknown >= 0 && takes_part_in_merges(bpe, bpe->unknown))) return IMP_OK;
    bpe->adjacent = arena_alloc(arena, BPE_ADJACENT_BITS / 64, sizeof *bpe->adjacent);
    if (bpe->adjacent == NULL) return imp_fail_memory(BPE_ADJACENT_BITS / 8);
    for (int32_t id = 0; id < bpe->vocab->count; id++) {
        const VocabToken *token = &bpe->vocab->tokens[id];
        if ((token->flags & VOCAB_MODEL) == 0 || token->text == NULL) continue;
        uint32_t previous = 0;
        for (size_t i = 0, width; i < token->text_length; i += width) {
            const uint32_t next = utf8_decode(token->text + i, &width);
            if (i > 0) {
                const uint32_t bit = bpe_adjacent_bit(previous, next);
                bpe->adjacent[bit / 64] |= UINT64_C(1) << (bit % 64);
            }
            previous = next;
        }
    }
    return IMP_OK;
}
