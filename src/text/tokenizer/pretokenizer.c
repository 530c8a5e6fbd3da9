/*
 * pretokenizer.c - each step hands its pieces to the next one at once, so that a text is walked through once, in order,
 * and nothing is collected: the last step's pieces go to the model.
 */
#include "text/tokenizer/pretokenizer.h"

#include "text/tokenizer/utf8.h"
#include "text/tokenizer/vocab.h"

#include <string.h>

typedef struct Run {
    const PreTokenizer *pre;
    PreScratch *scratch;
    WordSink *sink;
    void *user;
} Run;

static ImpStatus run_step(const Run *run, size_t step, Piece piece);

PreStep *pre_add_step(PreTokenizer *pre, PreStepKind kind)
{
    if (pre->count == PRE_MAX_STEPS) {
        (void)imp_fail(IMP_ERR_LIMIT, "the pre-tokenizer has more than %d steps", PRE_MAX_STEPS);
        return NULL;
    }
    pre->steps[pre->count] = (PreStep){.kind = kind};
    return &pre->steps[pre->count++];
}

void pretokenizer_free(PreTokenizer *pre)
{
    for (size_t i = 0; i < pre->count; i++) pattern_free(&pre->steps[i].pattern);
    pre->count = 0;
}

void pre_scratch_free(PreScratch *scratch)
{
    for (size_t i = 0; i < PRE_MAX_STEPS; i++) strbuf_free(&scratch->texts[i]);
    regex_scratch_free(scratch->regex);
}

/* The part [start, end) of a piece to the next step; empty parts vanish. */
static ImpStatus emit(const Run *run, size_t step, Piece piece, size_t start, size_t end)
{
    if (start == end) return IMP_OK;
    return run_step(run, step + 1, (Piece){piece.text + start, end - start, piece.first && start == 0});
}

/* Matches and the stretches between them, merged as the step's behavior says. */
typedef struct Merger {
    const Run *run;
    size_t step;
    Piece piece;
    SplitBehavior behavior;
    size_t start, end; /* the part held back, nothing when equal */
    bool held, held_match, after_match;
} Merger;

static ImpStatus release(Merger *merger)
{
    if (!merger->held) return IMP_OK;
    merger->held = false;
    return emit(merger->run, merger->step, merger->piece, merger->start, merger->end);
}

static ImpStatus hold(Merger *merger, size_t start, size_t end, bool match)
{
    IMP_TRY(release(merger));
    merger->held = true;
    merger->held_match = match;
    merger->start = start;
    merger->end = end;
    return IMP_OK;
}

static ImpStatus merge_part(Merger *merger, size_t start, size_t end, bool match)
{
    bool joins = false; /* this part becomes the end of the one held back */
    switch (merger->behavior) {
    case SPLIT_REMOVED:
        return match ? IMP_OK : emit(merger->run, merger->step, merger->piece, start, end);
    case SPLIT_ISOLATED:
        return emit(merger->run, merger->step, merger->piece, start, end);
    case SPLIT_CONTIGUOUS:
        joins = merger->held_match == match;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        joins = match && !merger->after_match;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        joins = !match && merger->held_match;
        break;
    }
    merger->after_match = match;
    if (!joins || !merger->held) return hold(merger, start, end, match);
    merger->end = end;
    merger->held_match = match;
    return IMP_OK;
}

static ImpStatus split(const Run *run, size_t step, Piece piece)
{
    const PreStep *split_step = &run->pre->steps[step];
    Merger merger = {.run = run, .step = step, .piece = piece, .behavior = split_step->behavior};
    PatternWalk walk = {0};
    size_t done = 0;
    for (;;) {
        bool found;
        size_t start = 0, end = 0;
        IMP_TRY(pattern_next(&split_step->pattern, &run->scratch->regex, piece.text, piece.length, &walk, &found,
                             &start, &end));
        if (!found) break;
        if (start > done) IMP_TRY(merge_part(&merger, done, start, split_step->invert));
        IMP_TRY(merge_part(&merger, start, end, !split_step->invert));
        done = end;
    }
    if (done < piece.length) IMP_TRY(merge_part(&merger, done, piece.length, split_step->invert));
    return release(&merger);
}

/* The step's own buffer as the piece that goes on. */
static ImpStatus emit_text(const Run *run, size_t step, bool first)
{
    StrBuf *text = &run->scratch->texts[step];
    IMP_TRY(strbuf_check(text));
    return emit(run, step, (Piece){text->data, text->length, first}, 0, text->length);
}

static ImpStatus metaspace(const Run *run, size_t step, Piece piece)
{
    const PreStep *meta = &run->pre->steps[step];
    const size_t width = strlen(meta->replacement);
    StrBuf *text = &run->scratch->texts[step];
    strbuf_clear(text);
    const bool marked =
        piece.text[0] == ' ' || (piece.length >= width && memcmp(piece.text, meta->replacement, width) == 0);
    if (!marked && (meta->prepend == PREPEND_ALWAYS || (meta->prepend == PREPEND_FIRST && piece.first))) {
        strbuf_append(text, meta->replacement, width);
    }
    for (size_t at = 0; at < piece.length;) {
        const char *space = memchr(piece.text + at, ' ', piece.length - at);
        const size_t end = space == NULL ? piece.length : (size_t)(space - piece.text);
        strbuf_append(text, piece.text + at, end - at);
        if (space != NULL) strbuf_append(text, meta->replacement, width);
        at = end + 1;
    }
    return emit_text(run, step, piece.first);
}

static ImpStatus fixed_length(const Run *run, size_t step, Piece piece)
{
    const size_t count = run->pre->steps[step].length;
    size_t start = 0;
    while (start < piece.length) {
        size_t end = start;
        for (size_t i = 0; i < count && end < piece.length; i++) end += utf8_width(piece.text[end]);
        IMP_TRY(emit(run, step, piece, start, end));
        start = end;
    }
    return IMP_OK;
}

/* A piece begins with each character of another script; what stands before the first one that has any is lost, as in
 * the reference. */
static ImpStatus scripts(const Run *run, size_t step, Piece piece)
{
    unsigned last = 0;
    size_t start = 0;
    for (size_t at = 0, width; at < piece.length; at += width) {
        const unsigned script = unicode_script(utf8_decode(piece.text + at, &width));
        if (script == 0 || script == last) continue;
        if (last != 0) IMP_TRY(emit(run, step, piece, start, at));
        last = script;
        start = at;
    }
    return last == 0 ? IMP_OK : emit(run, step, piece, start, piece.length);
}

static ImpStatus digit_groups(const Run *run, size_t step, Piece piece)
{
    const UnicodeTable *unicode = run->pre->steps[step].unicode;
    size_t done = 0, at = 0, width;
    while (at < piece.length) {
        const size_t start = at;
        size_t digits = 0;
        for (; at < piece.length; at += width, digits++) {
            if (!unicode_in(unicode_flags(unicode, utf8_decode(piece.text + at, &width)), GC_BIT(GC_ND))) break;
        }
        if (digits == 0) {
            at += width;
            continue;
        }
        IMP_TRY(emit(run, step, piece, done, start));
        for (size_t end = done = start; digits > 0; digits--) {
            end += utf8_width(piece.text[end]);
            if (digits % 3 != 1) continue;
            IMP_TRY(emit(run, step, piece, done, end));
            done = end;
        }
    }
    return emit(run, step, piece, done, piece.length);
}

static ImpStatus run_step(const Run *run, size_t step, Piece piece)
{
    if (step == run->pre->count) return run->sink(run->user, piece.text, piece.length);
    StrBuf *text = &run->scratch->texts[step];
    switch (run->pre->steps[step].kind) {
    case PRE_SPLIT:
        return split(run, step, piece);
    case PRE_METASPACE:
        return metaspace(run, step, piece);
    case PRE_FIXED_LENGTH:
        return fixed_length(run, step, piece);
    case PRE_SCRIPTS:
        return scripts(run, step, piece);
    case PRE_DIGIT_GROUPS:
        return digit_groups(run, step, piece);
    case PRE_PREFIX_SPACE:
        if (piece.text[0] == ' ') return emit(run, step, piece, 0, piece.length);
        strbuf_clear(text);
        strbuf_putc(text, ' ');
        strbuf_append(text, piece.text, piece.length);
        return emit_text(run, step, piece.first);
    case PRE_BYTE_CHARS:
        strbuf_clear(text);
        byte_level_encode(piece.text, piece.length, text);
        return emit_text(run, step, piece.first);
    }
    return imp_fail(IMP_ERR_INTERNAL, "unknown pre-tokenizer step");
}

ImpStatus pretokenize(const PreTokenizer *pre, PreScratch *scratch, Piece piece, WordSink *sink, void *user)
{
    if (piece.length == 0) return IMP_OK;
    const Run run = {pre, scratch, sink, user};
    return run_step(&run, 0, piece);
}
