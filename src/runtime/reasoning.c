/*
 * reasoning.c - markers are looked for in bytes, because one may be cut over tokens anywhere; what the tokens before
 * ended with is kept as far as a marker could have begun in it.
 */
#include "runtime/reasoning.h"

#include <string.h>

/* The bytes of running text; special tokens, which have none there, by their name. */
static const char *bytes_of(const Tokenizer *tokenizer, int32_t token, size_t *length)
{
    const char *bytes = tokenizer_token_bytes(tokenizer, token, length);
    return *length > 0 ? bytes : tokenizer_token_text(tokenizer, token, length);
}

static bool is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

void reasoning_tags(const char *template_source, const char **open, const char **close)
{
    static const char *const known[][2] = {
        {"<think>", "</think>"}, {"<seed:think>", "</seed:think>"}, {"[THINK]", "[/THINK]"}};
    const size_t n_known = sizeof known / sizeof known[0];
    size_t i = 0;
    while (i < n_known && (template_source == NULL || strstr(template_source, known[i][1]) == NULL)) i++;
    *open = known[i < n_known ? i : 0][0];
    *close = known[i < n_known ? i : 0][1];
}

/* From the end on, as many bytes as the tag has. */
bool reasoning_opened(const char *open, const Tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens)
{
    size_t left = strlen(open);
    bool in_space = true;
    while (left > 0 && n_tokens > 0) {
        size_t length;
        const char *bytes = bytes_of(tokenizer, tokens[--n_tokens], &length);
        while (in_space && length > 0 && is_space(bytes[length - 1])) length--;
        if (length == 0) continue;
        in_space = false;
        const size_t part = length < left ? length : left;
        if (memcmp(bytes + length - part, open + left - part, part) != 0) return false;
        left -= part;
    }
    return left == 0;
}

/* Copies a marker; false when it does not fit. */
static bool keep_marker(char *out, const char *marker)
{
    const size_t length = strlen(marker);
    if (length == 0 || length > REASONING_MAX_MARKER) return false;
    memcpy(out, marker, length + 1);
    return true;
}

ImpStatus reasoning_begin(Reasoning *reasoning, const ReasoningRule *rule, const Tokenizer *tokenizer)
{
    TokenList list = {0};
    *reasoning = (Reasoning){.budget = rule->budget};
    if (rule->open == NULL || rule->close == NULL || tokenizer == NULL) return IMP_OK;
    if (!keep_marker(reasoning->open, rule->open) || !keep_marker(reasoning->close, rule->close))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a marker of reasoning must have 1 to %d bytes",
                        (int)REASONING_MAX_MARKER);
    ImpStatus status = tokenizer_encode(tokenizer, rule->close, strlen(rule->close), TOKENIZE_PARSE_SPECIAL, &list);
    if (status == IMP_OK && (list.count == 0 || list.count > REASONING_MAX_CLOSING))
        status =
            imp_fail(IMP_ERR_INVALID_ARGUMENT, "the marker %s cannot be written with this vocabulary", rule->close);
    if (status == IMP_OK) {
        memcpy(reasoning->closing, list.ids, list.count * sizeof *list.ids);
        reasoning->n_closing = (int32_t)list.count;
        reasoning->state = rule->inside ? REASONING_INSIDE : REASONING_BEFORE;
    }
    token_list_free(&list);
    return status;
}

int32_t reasoning_forced(const Reasoning *reasoning)
{
    if (reasoning->state != REASONING_INSIDE) return -1;
    const bool spent = reasoning->budget >= 0 && reasoning->n_tokens >= reasoning->budget;
    return spent || reasoning->must_close ? reasoning->closing[reasoning->n_closed] : -1;
}

void reasoning_end(Reasoning *reasoning) { reasoning->must_close = true; }

/* Where the marker ends in tail + bytes, counted from the start of the bytes; -1: it is not there. */
static ptrdiff_t find_end(const Reasoning *reasoning, const char *marker, const char *bytes, size_t length)
{
    const size_t n_marker = strlen(marker);
    for (size_t end = 1; end <= length; end++) {
        const size_t here = end < n_marker ? end : n_marker, before = n_marker - here;
        if (before <= reasoning->n_tail && memcmp(bytes + end - here, marker + before, here) == 0 &&
            memcmp(reasoning->tail + reasoning->n_tail - before, marker, before) == 0)
            return (ptrdiff_t)end;
    }
    return -1;
}

bool reasoning_spills(const Reasoning *reasoning, const Tokenizer *tokenizer, int32_t token)
{
    size_t length;
    const char *bytes = bytes_of(tokenizer, token, &length);
    ptrdiff_t end = find_end(reasoning, reasoning->close, bytes, length);
    if (end < 0) return false;
    while ((size_t)end < length && is_space(bytes[end])) end++;
    return (size_t)end < length;
}

static void keep_tail(Reasoning *reasoning, const char *bytes, size_t length)
{
    const size_t room = sizeof reasoning->tail;
    if (length >= room) {
        memcpy(reasoning->tail, bytes + length - room, room);
        reasoning->n_tail = room;
        return;
    }
    const size_t kept = reasoning->n_tail + length > room ? room - length : reasoning->n_tail;
    memmove(reasoning->tail, reasoning->tail + reasoning->n_tail - kept, kept);
    memcpy(reasoning->tail + kept, bytes, length);
    reasoning->n_tail = kept + length;
}

/* Before the block there may be white space, then the marker and nothing else. */
static void look_for_opening(Reasoning *reasoning)
{
    size_t space = 0;
    while (space < reasoning->n_tail && is_space(reasoning->tail[space])) space++;
    const size_t n_open = strlen(reasoning->open), n_text = reasoning->n_tail - space;
    if (memcmp(reasoning->tail + space, reasoning->open, n_text < n_open ? n_text : n_open) != 0)
        reasoning->state = REASONING_NONE;
    else if (n_text >= n_open)
        reasoning->state = REASONING_INSIDE;
}

void reasoning_accept(Reasoning *reasoning, const Tokenizer *tokenizer, int32_t token)
{
    size_t length;
    if (reasoning->state == REASONING_NONE) return;
    const char *bytes = bytes_of(tokenizer, token, &length);
    const bool forced = reasoning_forced(reasoning) == token;
    const bool closed =
        reasoning->state == REASONING_INSIDE && find_end(reasoning, reasoning->close, bytes, length) >= 0;
    keep_tail(reasoning, bytes, length);
    if (reasoning->state == REASONING_BEFORE) {
        look_for_opening(reasoning);
        return;
    }
    reasoning->n_closed += forced;
    reasoning->n_tokens += !forced;
    if (closed || reasoning->n_closed == reasoning->n_closing) reasoning->state = REASONING_NONE;
}
