/*
 * vocab.c - an array by id and an open-addressing hash table by text.
 *
 * The hash is seeded with an address, so that nobody can prepare a file whose texts all fall into one slot.
 */
#include "text/tokenizer/vocab.h"

#include "text/tokenizer/utf8.h"

#include <string.h>

__extension__ typedef unsigned __int128 Wide;

ImpStatus vocab_create(Arena *arena, size_t count, Vocab *out)
{
    if (count == 0) return imp_fail(IMP_ERR_FORMAT, "the vocabulary is empty");
    if (count > VOCAB_MAX_IDS)
        return imp_fail(IMP_ERR_LIMIT, "a vocabulary of %zu ids is larger than %d", count, VOCAB_MAX_IDS);
    *out = (Vocab){.count = (int32_t)count};
    out->tokens = arena_alloc(arena, count, sizeof *out->tokens);
    if (out->tokens == NULL) return imp_fail_memory(count * sizeof *out->tokens);
    out->seed = (uint64_t)(uintptr_t)out->tokens * 0x9E3779B97F4A7C15u;
    return IMP_OK;
}

ImpStatus vocab_set(Vocab *vocab, Arena *arena, int32_t id, const char *text, size_t length, unsigned flags)
{
    if (id < 0 || id >= vocab->count) {
        return imp_fail(IMP_ERR_FORMAT, "token id %d is outside the vocabulary of %d", (int)id, (int)vocab->count);
    }
    if (length > VOCAB_MAX_TOKEN_BYTES) {
        return imp_fail(IMP_ERR_LIMIT, "token %d is %zu bytes long, more than %d", (int)id, length,
                        VOCAB_MAX_TOKEN_BYTES);
    }
    ImpStatus status = IMP_OK;
    StrBuf repaired = {0};
    if (utf8_valid_prefix(text, length) != length) {
        utf8_repair(text, length, &repaired);
        IMP_GOTO(strbuf_check(&repaired));
        text = repaired.data;
        length = repaired.length;
    }
    VocabToken *token = &vocab->tokens[id];
    const char *copy = arena_string(arena, text, length);
    if (copy == NULL) IMP_GOTO(imp_fail_memory(length));
    token->text = copy;
    token->text_length = (uint32_t)length;
    token->flags |= (uint8_t)flags;
fail:
    strbuf_free(&repaired);
    return status;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    const Wide product = (Wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint32_t load32(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

uint64_t vocab_hash(const Vocab *vocab, const char *key, size_t length)
{
    uint64_t hash = vocab->seed ^ length * 0xA0761D6478BD642Fu;
    size_t left = length;
    while (left > 8) {
        hash = mix(hash ^ load64(key), 0xE7037ED1A0B428DBu);
        key += 8;
        left -= 8;
    }
    uint64_t tail = 0;
    if (left == 8) {
        tail = load64(key);
    } else if (left >= 4) {
        tail = (uint64_t)load32(key) << 32 | load32(key + left - 4);
    } else if (left > 0) {
        tail = (uint64_t)(unsigned char)key[0] << 16 | (uint64_t)(unsigned char)key[left / 2] << 8 |
               (unsigned char)key[left - 1];
    }
    return mix(hash ^ tail, 0x8EBC6AF09C88C6E3u);
}

static inline const char *key_of(const Vocab *vocab, const VocabToken *token, size_t *length)
{
    *length = vocab->keyed_by_bytes ? token->bytes_length : token->text_length;
    return vocab->keyed_by_bytes ? token->bytes : token->text;
}

int32_t vocab_lookup_hashed(const Vocab *vocab, const char *key, size_t length, uint64_t hash)
{
    const uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t i = hash & vocab->mask;; i = (i + 1) & vocab->mask) {
        const VocabSlot slot = vocab->slots[i];
        if (slot.id < 0) return -1;
        if (slot.tag != tag) continue;
        size_t token_length;
        const char *token_key = key_of(vocab, &vocab->tokens[slot.id], &token_length);
        if (token_length == length && memcmp(token_key, key, length) == 0) return slot.id;
    }
}

int32_t vocab_lookup(const Vocab *vocab, const char *key, size_t length)
{
    return vocab_lookup_hashed(vocab, key, length, vocab_hash(vocab, key, length));
}

/* Gives every model token its raw bytes where its text is in the alphabet. */
static ImpStatus decode_bytes(Vocab *vocab, Arena *arena)
{
    for (int32_t id = 0; id < vocab->count; id++) {
        VocabToken *token = &vocab->tokens[id];
        if (token->text == NULL || (token->flags & VOCAB_MODEL) == 0) continue;
        char *bytes = arena_alloc(arena, token->text_length + 1u, 1);
        if (bytes == NULL) return imp_fail_memory(token->text_length);
        size_t length;
        if (!byte_level_decode(token->text, token->text_length, bytes, &length)) continue;
        token->bytes = bytes;
        token->bytes_length = (uint32_t)length;
    }
    return IMP_OK;
}

/* A table with room for `count` tokens, half empty. */
static ImpStatus new_slots(Arena *arena, size_t count, VocabSlot **slots, uint64_t *mask)
{
    size_t size = 16;
    while (size < count * 2) size *= 2;
    *slots = arena_alloc(arena, size, sizeof **slots);
    if (*slots == NULL) return imp_fail_memory(size * sizeof **slots);
    *mask = size - 1;
    for (size_t i = 0; i < size; i++) (*slots)[i].id = -1;
    return IMP_OK;
}

static void insert(VocabSlot *slots, uint64_t mask, uint64_t hash, int32_t id)
{
    uint64_t i = hash & mask;
    while (slots[i].id >= 0) i = (i + 1) & mask;
    slots[i] = (VocabSlot){(uint32_t)(hash >> 32), id};
}

static bool is_foreign(const VocabToken *token)
{
    return (token->flags & VOCAB_MODEL) != 0 && token->text != NULL && token->bytes == NULL;
}

static int32_t find_foreign(const Vocab *vocab, const char *text, size_t length)
{
    const uint64_t hash = vocab_hash(vocab, text, length);
    for (uint64_t i = hash & vocab->foreign_mask;; i = (i + 1) & vocab->foreign_mask) {
        const VocabSlot slot = vocab->foreign[i];
        if (slot.id < 0) return -1;
        const VocabToken *token = &vocab->tokens[slot.id];
        if (slot.tag == (uint32_t)(hash >> 32) && token->text_length == length &&
            memcmp(token->text, text, length) == 0)
            return slot.id;
    }
}

static ImpStatus index_foreign(Vocab *vocab, Arena *arena)
{
    size_t n = 0;
    for (int32_t id = 0; id < vocab->count; id++) n += is_foreign(&vocab->tokens[id]);
    if (n == 0) return IMP_OK;
    IMP_TRY(new_slots(arena, n, &vocab->foreign, &vocab->foreign_mask));
    for (int32_t id = vocab->count - 1; id >= 0; id--) {
        const VocabToken *token = &vocab->tokens[id];
        if (!is_foreign(token) || find_foreign(vocab, token->text, token->text_length) >= 0) continue;
        insert(vocab->foreign, vocab->foreign_mask, vocab_hash(vocab, token->text, token->text_length), id);
    }
    return IMP_OK;
}

ImpStatus vocab_index(Vocab *vocab, Arena *arena, bool by_bytes)
{
    vocab->keyed_by_bytes = by_bytes;
    if (by_bytes) {
        IMP_TRY(decode_bytes(vocab, arena));
        IMP_TRY(index_foreign(vocab, arena));
    }
    IMP_TRY(new_slots(arena, (size_t)vocab->count, &vocab->slots, &vocab->mask));
    for (int32_t id = vocab->count - 1; id >= 0; id--) {
        const VocabToken *token = &vocab->tokens[id];
        if ((token->flags & VOCAB_MODEL) == 0 || token->text == NULL) continue;
        size_t length;
        const char *key = key_of(vocab, token, &length);
        if (key == NULL) continue;
        const uint64_t hash = vocab_hash(vocab, key, length);
        if (vocab_lookup_hashed(vocab, key, length, hash) < 0) insert(vocab->slots, vocab->mask, hash, id);
    }
    return IMP_OK;
}

int32_t vocab_find(const Vocab *vocab, const char *text, size_t length)
{
    if (!vocab->keyed_by_bytes) return vocab_lookup(vocab, text, length);
    if (length > VOCAB_MAX_TOKEN_BYTES || utf8_valid_prefix(text, length) != length) return -1;
    StrBuf key = {0};
    int32_t id = -1;
    size_t key_length;
    if (strbuf_reserve(&key, length)) {
        if (byte_level_decode(text, length, key.data, &key_length)) {
            id = vocab_lookup(vocab, key.data, key_length);
        } else if (vocab->foreign != NULL) {
            id = find_foreign(vocab, text, length);
        }
    }
    strbuf_free(&key);
    return id;
}

int vocab_byte_of(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Printable bytes are themselves; the 68 others follow from U+0100 on, in order. */
uint32_t byte_level_char(unsigned char byte)
{
    if (byte <= 0x20) return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0) return 0x121u + (byte - 0x7Fu);
    return byte == 0xAD ? 0x143u : byte;
}

static int byte_of_char(uint32_t code_point)
{
    if (code_point < 0x100) {
        const unsigned char byte = (unsigned char)code_point;
        return byte_level_char(byte) == code_point ? byte : -1;
    }
    if (code_point <= 0x120) return (int)(code_point - 0x100);
    if (code_point <= 0x142) return (int)(code_point - 0x121 + 0x7F);
    return code_point == 0x143 ? 0xAD : -1;
}

void byte_level_encode(const char *bytes, size_t length, StrBuf *out)
{
    if (!strbuf_reserve(out, length * 2)) return;
    for (size_t i = 0; i < length; i++) {
        const uint32_t code_point = byte_level_char((unsigned char)bytes[i]);
        out->length += utf8_encode(code_point, out->data + out->length);
    }
    out->data[out->length] = '\0';
}

bool byte_level_decode(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t n = 0;
    for (size_t i = 0; i < length;) {
        size_t width;
        const int byte = byte_of_char(utf8_decode(text + i, &width));
        if (byte < 0) return false;
        out[n++] = (char)byte;
        i += width;
    }
    *out_length = n;
    return true;
}
