/*
 * decoder.c - the chain of decoding steps as a pipe.
 *
 * What flows are fragments of strings: a fragment may begin a string, end it, both, or neither. Before a step that
 * fuses there are whole strings only; after it there is one string, which comes in fragments. Steps that need a whole
 * string hold its fragments until its end.
 */
#include "text/tokenizer/decoder.h"

#include "text/tokenizer/utf8.h"
#include "text/tokenizer/vocab.h"

#include <string.h>

enum { BEGIN = 1, END = 2, WHOLE = BEGIN | END };

static ImpStatus put(DecodeRun *run, size_t step, const char *text, size_t length, unsigned part);

DecodeStep *decoder_add_step(Decoder *decoder, DecodeKind kind)
{
    if (decoder->count == DECODE_MAX_STEPS) {
        (void)imp_fail(IMP_ERR_LIMIT, "the decoder has more than %d steps", DECODE_MAX_STEPS);
        return NULL;
    }
    decoder->steps[decoder->count] = (DecodeStep){.kind = kind};
    return &decoder->steps[decoder->count++];
}

void decoder_free(Decoder *decoder)
{
    for (size_t i = 0; i < decoder->count; i++) pattern_free(&decoder->steps[i].pattern);
    decoder->count = 0;
}

void decode_run_free(DecodeRun *run)
{
    for (size_t i = 0; i < DECODE_MAX_STEPS; i++) {
        DecodeState *state = &run->states[i];
        strbuf_free(&state->held);
        strbuf_free(&state->work[0]);
        strbuf_free(&state->work[1]);
        strbuf_free(&state->whole);
    }
    regex_scratch_free(run->regex);
    run->regex = NULL;
}

/* A fragment of the one string that a fusing step makes. */
static ImpStatus put_fused(DecodeRun *run, size_t step, const char *text, size_t length, bool last)
{
    DecodeState *state = &run->states[step];
    const unsigned part = (state->open ? 0u : BEGIN) | (last ? END : 0u);
    state->open = true;
    return put(run, step + 1, text, length, part);
}

/* Passes on the characters of `held` that are certain, ill-formed ones as U+FFFD. */
static ImpStatus flush_utf8(DecodeRun *run, size_t step, bool last)
{
    StrBuf *held = &run->states[step].held;
    IMP_TRY(strbuf_check(held));
    size_t at = 0;
    while (at < held->length) {
        const size_t good = utf8_valid_prefix(held->data + at, held->length - at);
        if (good > 0) IMP_TRY(put_fused(run, step, held->data + at, good, false));
        at += good;
        if (at == held->length) break;
        const size_t bad = utf8_bad_length(held->data + at, held->length - at, !last);
        if (bad == SIZE_MAX) break; /* may become a character */
        IMP_TRY(put_fused(run, step, "\xEF\xBF\xBD", 3, false));
        at += bad;
    }
    memmove(held->data, held->data + at, held->length - at + 1);
    held->length -= at;
    return last ? put_fused(run, step, "", 0, true) : IMP_OK;
}

static ImpStatus byte_level(DecodeRun *run, size_t step, const char *text, size_t length)
{
    StrBuf *held = &run->states[step].held;
    if (!strbuf_reserve(held, length)) return strbuf_check(held);
    size_t n;
    if (byte_level_decode(text, length, held->data + held->length, &n)) {
        held->length += n;
        held->data[held->length] = '\0';
    } else {
        strbuf_append(held, text, length);
    }
    return flush_utf8(run, step, false);
}

static ImpStatus flush_fallback(DecodeRun *run, size_t step)
{
    StrBuf *held = &run->states[step].held;
    if (held->length == 0) return IMP_OK;
    IMP_TRY(strbuf_check(held));
    const size_t length = held->length;
    held->length = 0;
    if (utf8_valid_prefix(held->data, length) == length) return put(run, step + 1, held->data, length, WHOLE);
    for (size_t i = 0; i < length; i++) IMP_TRY(put(run, step + 1, "\xEF\xBF\xBD", 3, WHOLE));
    return IMP_OK;
}

static ImpStatus byte_fallback(DecodeRun *run, size_t step, const char *text, size_t length)
{
    const int byte = vocab_byte_of(text, length);
    if (byte >= 0) {
        strbuf_putc(&run->states[step].held, (char)byte);
        return IMP_OK;
    }
    IMP_TRY(flush_fallback(run, step));
    return put(run, step + 1, text, length, WHOLE);
}

static ImpStatus replace_all(DecodeRun *run, const Pattern *pattern, const char *text, size_t length,
                             const char *content, size_t content_length, StrBuf *out)
{
    PatternWalk walk = {0};
    size_t done = 0;
    strbuf_clear(out);
    for (;;) {
        bool found;
        size_t start, end;
        IMP_TRY(pattern_next(pattern, &run->regex, text, length, &walk, &found, &start, &end));
        if (!found) break;
        strbuf_append(out, text + done, start - done);
        strbuf_append(out, content, content_length);
        done = end;
    }
    strbuf_append(out, text + done, length - done);
    return strbuf_check(out);
}

/* Before every character and at the end. */
static ImpStatus put_between(const char *text, size_t length, const char *what, StrBuf *out)
{
    strbuf_clear(out);
    for (size_t at = 0, width; at < length; at += width) {
        width = utf8_width(text[at]);
        strbuf_puts(out, what);
        strbuf_append(out, text + at, width);
    }
    strbuf_puts(out, what);
    return strbuf_check(out);
}

/* Replaces a plain string everywhere; an empty one is between all characters. */
static ImpStatus replace_string(DecodeRun *run, const char *text, size_t length, const char *from, size_t from_length,
                                const char *to, StrBuf *out)
{
    if (from_length == 0) return put_between(text, length, to, out);
    const Pattern pattern = {.kind = PATTERN_LITERAL, .literal = from, .literal_length = from_length};
    return replace_all(run, &pattern, text, length, to, strlen(to), out);
}

/* BERT's rules for English spacing, in their order. */
static ImpStatus clean_up(DecodeRun *run, size_t step, const char **text, size_t *length)
{
    static const char *const rules[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (memmem(*text, *length, rules[i][0], strlen(rules[i][0])) == NULL) continue;
        StrBuf *work = run->states[step].work;
        StrBuf *out = &work[*text == work[0].data ? 1 : 0];
        IMP_TRY(replace_string(run, *text, *length, rules[i][0], strlen(rules[i][0]), rules[i][1], out));
        *text = out->data;
        *length = out->length;
    }
    return IMP_OK;
}

static ImpStatus metaspace(DecodeRun *run, size_t step, const char *text, size_t length)
{
    const DecodeStep *meta = &run->decoder->steps[step];
    const bool first = run->states[step].count++ == 0 && !run->middle;
    StrBuf *out = &run->states[step].work[0];
    IMP_TRY(replace_string(run, text, length, meta->content, meta->content_length, first && meta->drop_first ? "" : " ",
                           out));
    return put(run, step + 1, out->data, out->length, WHOLE);
}

static ImpStatus wordpiece(DecodeRun *run, size_t step, const char *text, size_t length)
{
    const DecodeStep *piece = &run->decoder->steps[step];
    if (run->states[step].count++ > 0 || run->middle) {
        if (length >= piece->content_length && memcmp(text, piece->content, piece->content_length) == 0) {
            text += piece->content_length;
            length -= piece->content_length;
        } else {
            StrBuf *spaced = &run->states[step].work[0];
            strbuf_clear(spaced);
            strbuf_putc(spaced, ' ');
            strbuf_append(spaced, text, length);
            IMP_TRY(strbuf_check(spaced));
            text = spaced->data;
            length = spaced->length;
        }
    }
    if (piece->clean_up) IMP_TRY(clean_up(run, step, &text, &length));
    return put(run, step + 1, text, length, WHOLE);
}

/* The last string is treated differently, so one is always held. */
static ImpStatus flush_suffix(DecodeRun *run, size_t step, const char *replacement)
{
    const DecodeStep *suffix = &run->decoder->steps[step];
    DecodeState *state = &run->states[step];
    if (!state->open) return IMP_OK;
    state->open = false;
    StrBuf *out = &run->states[step].work[0];
    IMP_TRY(strbuf_check(&state->held));
    IMP_TRY(replace_string(run, state->held.data, state->held.length, suffix->content, suffix->content_length,
                           replacement, out));
    return put(run, step + 1, out->data, out->length, WHOLE);
}

static ImpStatus suffix(DecodeRun *run, size_t step, const char *text, size_t length)
{
    DecodeState *state = &run->states[step];
    if (run->middle) {
        StrBuf *out = &run->states[step].work[0];
        const DecodeStep *mark = &run->decoder->steps[step];
        IMP_TRY(replace_string(run, text, length, mark->content, mark->content_length, " ", out));
        return put(run, step + 1, out->data, out->length, WHOLE);
    }
    IMP_TRY(flush_suffix(run, step, " "));
    strbuf_clear(&state->held);
    strbuf_append(&state->held, text, length);
    state->open = true;
    return IMP_OK;
}

static ImpStatus ctc(DecodeRun *run, size_t step, const char *text, size_t length)
{
    const DecodeStep *rules = &run->decoder->steps[step];
    DecodeState *state = &run->states[step];
    if (state->count++ > 0 && state->held.length == length && memcmp(state->held.data, text, length) == 0)
        return IMP_OK;
    strbuf_clear(&state->held);
    strbuf_append(&state->held, text, length);
    IMP_TRY(strbuf_check(&state->held));
    IMP_TRY(replace_string(run, text, length, rules->content, rules->content_length, "", &state->work[0]));
    const char *result = state->work[0].data;
    size_t result_length = state->work[0].length;
    if (rules->clean_up) {
        IMP_TRY(clean_up(run, step, &result, &result_length));
        StrBuf *out = &state->work[result == state->work[0].data ? 1 : 0];
        IMP_TRY(replace_string(run, result, result_length, rules->delimiter, strlen(rules->delimiter), " ", out));
        result = out->data;
        result_length = out->length;
    }
    return result_length == 0 ? IMP_OK : put(run, step + 1, result, result_length, WHOLE);
}

/* Characters at the string's start are dropped as they come; those that may be at its end wait for what follows. */
static ImpStatus strip(DecodeRun *run, size_t step, const char *text, size_t length, unsigned part)
{
    const DecodeStep *rules = &run->decoder->steps[step];
    DecodeState *state = &run->states[step];
    const size_t width = rules->content_length;
    if ((part & BEGIN) != 0) {
        state->in_start = !run->middle;
        state->stripped = state->trailing = 0;
        IMP_TRY(put(run, step + 1, "", 0, BEGIN));
    }
    size_t done = 0;
    for (size_t at = 0; at < length; at += utf8_width(text[at])) {
        const bool hit = length - at >= width && memcmp(text + at, rules->content, width) == 0;
        if (state->in_start && hit && state->stripped < rules->strip_start) {
            state->stripped++;
            done = at + width;
            continue;
        }
        state->in_start = false;
        if (rules->strip_stop == 0 || run->middle) break;
        if (hit) {
            if (done < at) IMP_TRY(put(run, step + 1, text + done, at - done, 0));
            done = at + width;
            if (state->trailing < rules->strip_stop) {
                state->trailing++;
            } else {
                IMP_TRY(put(run, step + 1, rules->content, width, 0));
            }
        } else {
            for (; state->trailing > 0; state->trailing--) IMP_TRY(put(run, step + 1, rules->content, width, 0));
        }
    }
    if (done < length) IMP_TRY(put(run, step + 1, text + done, length - done, 0));
    return (part & END) != 0 ? put(run, step + 1, "", 0, END) : IMP_OK;
}

static ImpStatus put_whole(DecodeRun *run, size_t step, const char *text, size_t length)
{
    const DecodeStep *rules = &run->decoder->steps[step];
    StrBuf *work = &run->states[step].work[0];
    switch (rules->kind) {
    case DECODE_BYTE_LEVEL:
        return byte_level(run, step, text, length);
    case DECODE_BYTE_FALLBACK:
        return byte_fallback(run, step, text, length);
    case DECODE_METASPACE:
        return metaspace(run, step, text, length);
    case DECODE_WORDPIECE:
        return wordpiece(run, step, text, length);
    case DECODE_SUFFIX:
        return suffix(run, step, text, length);
    case DECODE_CTC:
        return ctc(run, step, text, length);
    case DECODE_REPLACE:
        if (length == 0) return put(run, step + 1, "", 0, WHOLE); /* nothing is found in it, not even nothing */
        IMP_TRY(replace_all(run, &rules->pattern, text, length, rules->content, rules->content_length, work));
        return put(run, step + 1, work->data, work->length, WHOLE);
    case DECODE_SPACED:
        if (run->states[step].count++ > 0 && !run->middle) IMP_TRY(put(run, step + 1, " ", 1, WHOLE));
        return put(run, step + 1, text, length, WHOLE);
    case DECODE_FUSE:
    case DECODE_STRIP:
        break;
    }
    return imp_fail(IMP_ERR_INTERNAL, "unknown decoder step");
}

/* Only Fuse and Strip work on fragments; they are collected for the others. */
static ImpStatus put(DecodeRun *run, size_t step, const char *text, size_t length, unsigned part)
{
    if (step == run->decoder->count) {
        strbuf_append(run->out, text, length);
        return IMP_OK;
    }
    const DecodeKind kind = run->decoder->steps[step].kind;
    if (kind == DECODE_FUSE) return put_fused(run, step, text, length, false);
    if (kind == DECODE_STRIP) return strip(run, step, text, length, part);
    if (part == WHOLE) return put_whole(run, step, text, length);
    StrBuf *whole = &run->states[step].whole;
    if ((part & BEGIN) != 0) strbuf_clear(whole);
    strbuf_append(whole, text, length);
    if ((part & END) == 0) return IMP_OK;
    IMP_TRY(strbuf_check(whole));
    return put_whole(run, step, whole->data, whole->length);
}

static ImpStatus finish_step(DecodeRun *run, size_t step)
{
    switch (run->decoder->steps[step].kind) {
    case DECODE_BYTE_LEVEL:
        return flush_utf8(run, step, true);
    case DECODE_BYTE_FALLBACK:
        return flush_fallback(run, step);
    case DECODE_SUFFIX:
        return flush_suffix(run, step, "");
    case DECODE_FUSE:
        return put_fused(run, step, "", 0, true);
    default:
        return IMP_OK;
    }
}

ImpStatus decode_push(DecodeRun *run, const char *token, size_t length) { return put(run, 0, token, length, WHOLE); }

ImpStatus decode_finish(DecodeRun *run)
{
    ImpStatus status = IMP_OK;
    for (size_t step = 0; step < run->decoder->count && status == IMP_OK; step++) status = finish_step(run, step);
    for (size_t step = 0; step < run->decoder->count; step++) {
        DecodeState *state = &run->states[step];
        strbuf_clear(&state->held);
        *state = (DecodeState){.held = state->held, .work = {state->work[0], state->work[1]}, .whole = state->whole};
    }
    return status;
}
