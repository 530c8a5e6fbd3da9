/* added_tokens.c - leftmost-longest search, then the conditions and the white space that a token brings along. */
#include "text/tokenizer/added_tokens.h"

#include "text/tokenizer/utf8.h"

#include <stdlib.h>

ImpStatus added_tokens_index(AddedTokens *added, Arena *arena)
{
    TrieEntry *entries = calloc(added->count + 1, sizeof *entries);
    if (entries == NULL) return imp_fail_memory(added->count * sizeof *entries);
    ImpStatus status = IMP_OK;
    for (int normalized = 0; normalized < 2 && status == IMP_OK; normalized++) {
        size_t n = 0;
        for (size_t i = 0; i < added->count; i++) {
            const AddedToken *token = &added->tokens[i];
            if (token->normalized != (normalized != 0) || token->length == 0) continue;
            entries[n++] = (TrieEntry){token->content, token->length, (int32_t)i};
        }
        status = trie_build(arena, entries, n, &added->tries[normalized]);
    }
    free(entries);
    return status;
}

const AddedToken *added_tokens_find(const AddedTokens *added, int32_t id)
{
    for (size_t i = added->count; i > 0; i--) {
        if (added->tokens[i - 1].id == id) return &added->tokens[i - 1];
    }
    return NULL;
}

static bool is_word(const AddedTokens *added, const char *text, size_t at)
{
    size_t width;
    return (unicode_flags(added->unicode, utf8_decode(text + at, &width)) & UC_RUST_WORD) != 0;
}

static bool stands_alone(const AddedTokens *added, const char *text, size_t length, size_t start, size_t end)
{
    if (start > 0 && is_word(added, text, utf8_previous(text, start))) return false;
    return end == length || !is_word(added, text, end);
}

static bool is_space(const AddedTokens *added, const char *text, size_t at, size_t *width)
{
    return (unicode_flags(added->unicode, utf8_decode(text + at, width)) & UC_SPACE) != 0;
}

ImpStatus added_tokens_split(const AddedTokens *added, bool normalized, bool parse_special, const char *text,
                             size_t length, AddedSink *sink, void *user)
{
    const Trie *trie = &added->tries[normalized ? 1 : 0];
    if (trie->nodes == NULL) return length == 0 ? IMP_OK : sink(user, text, length, 0, -1);
    size_t done = 0; /* everything before has been handed on */
    for (size_t at = 0; at < length;) {
        int32_t index = 0;
        const size_t matched =
            trie->root[(unsigned char)text[at]] < 0 ? 0 : trie_longest(trie, text + at, length - at, &index);
        if (matched == 0) {
            at++;
            continue;
        }
        const AddedToken *token = &added->tokens[index];
        size_t start = at, end = at + matched;
        at = end;
        if (token->special && !parse_special) continue;
        if (token->single_word && !stands_alone(added, text, length, start, end)) continue;
        size_t width;
        if (token->strip_left) {
            while (start > 0 && is_space(added, text, utf8_previous(text, start), &width))
                start = utf8_previous(text, start);
            if (start < done) start = done;
        }
        if (token->strip_right) {
            while (end < length && is_space(added, text, end, &width)) end += width;
        }
        if (start >= end) continue; /* white space that the token before has taken */
        if (done < start) IMP_TRY(sink(user, text + done, start - done, done, -1));
        IMP_TRY(sink(user, text + start, end - start, start, token->id));
        done = end;
    }
    return done < length ? sink(user, text + done, length - done, done, -1) : IMP_OK;
}
