/*
 * normalizer.c - the steps one after the other, each from one buffer into the other.
 *
 * utf8proc does the normal forms, but only for the characters that change: the rest, nearly everything in practice, is
 * copied. Characters that are newer than the reference's tables are kept away from it.
 */
#include "text/tokenizer/normalizer.h"

#include "text/tokenizer/utf8.h"
#include "text/tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

NormalStep *normalizer_add_step(Normalizer *normalizer, NormalKind kind)
{
    if (normalizer->count == NORMAL_MAX_STEPS) {
        (void)imp_fail(IMP_ERR_LIMIT, "the normalizer has more than %d steps", NORMAL_MAX_STEPS);
        return NULL;
    }
    normalizer->steps[normalizer->count] = (NormalStep){.kind = kind};
    return &normalizer->steps[normalizer->count++];
}

void normalizer_free(Normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->count; i++) pattern_free(&normalizer->steps[i].pattern);
    normalizer->count = 0;
}

void normal_scratch_free(NormalScratch *scratch)
{
    strbuf_free(&scratch->buffers[0]);
    strbuf_free(&scratch->buffers[1]);
    regex_scratch_free(scratch->regex);
}

/* A text that is being rewritten. */
typedef struct Rewrite {
    const UnicodeTable *unicode;
    const char *text;
    size_t length;
    StrBuf *out;
} Rewrite;

static void put_character(StrBuf *out, uint32_t code_point)
{
    char bytes[4];
    strbuf_append(out, bytes, utf8_encode(code_point, bytes));
}

enum { LOCAL_POINTS = 256, MAX_DECOMPOSITION = 32 /* code points out of one; Unicode's longest has 18 */ };

/* Code points under way, in `local` until they are too many. */
typedef struct Points {
    utf8proc_int32_t *at;
    size_t n, room;
    utf8proc_int32_t local[LOCAL_POINTS];
} Points;

static void points_free(Points *points)
{
    if (points->at != points->local) free(points->at);
}

static ImpStatus points_grow(Points *points)
{
    const size_t room = points->room * 2, bytes = room * sizeof *points->at;
    utf8proc_int32_t *grown = points->at == points->local ? malloc(bytes) : realloc(points->at, bytes);
    if (grown == NULL) return imp_fail_memory(bytes);
    if (points->at == points->local) memcpy(grown, points->local, points->n * sizeof *grown);
    points->at = grown;
    points->room = room;
    return IMP_OK;
}

static unsigned combining_class(utf8proc_int32_t point)
{
    return (unsigned)utf8proc_get_property(point)->combining_class;
}

/* Stable, by combining class. A text may be one long run of marks: runs that are not short are counted, not compared.
 */
static ImpStatus order_marks(utf8proc_int32_t *points, size_t n)
{
    enum { SHORT = 32, CLASSES = 256 };
    if (n <= SHORT) {
        for (size_t i = 1; i < n; i++) {
            const utf8proc_int32_t point = points[i];
            size_t to = i;
            for (; to > 0 && combining_class(points[to - 1]) > combining_class(point); to--)
                points[to] = points[to - 1];
            points[to] = point;
        }
        return IMP_OK;
    }
    size_t starts[CLASSES + 1] = {0};
    utf8proc_int32_t *ordered = malloc(n * sizeof *ordered);
    if (ordered == NULL) return imp_fail_memory(n * sizeof *ordered);
    for (size_t i = 0; i < n; i++) starts[combining_class(points[i]) % CLASSES + 1]++;
    for (size_t i = 0; i < CLASSES; i++) starts[i + 1] += starts[i];
    for (size_t i = 0; i < n; i++) ordered[starts[combining_class(points[i]) % CLASSES]++] = points[i];
    memcpy(points, ordered, n * sizeof *points);
    free(ordered);
    return IMP_OK;
}

/* The canonical (or compatible) decomposition in canonical order. utf8proc_decompose would do it, but takes time
 * quadratic in a run of marks. */
static ImpStatus decompose(const char *text, size_t length, bool compatible, Points *points)
{
    const utf8proc_option_t options =
        (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0));
    for (size_t at = 0, width; at < length; at += width) {
        if (points->room - points->n < MAX_DECOMPOSITION) IMP_TRY(points_grow(points));
        int boundary = 0;
        const utf8proc_ssize_t added =
            utf8proc_decompose_char((utf8proc_int32_t)utf8_decode(text + at, &width), points->at + points->n,
                                    MAX_DECOMPOSITION, options, &boundary);
        if (added < 0 || added > MAX_DECOMPOSITION)
            return imp_fail(IMP_ERR_INTERNAL, "utf8proc refuses a text: %s", utf8proc_errmsg(added));
        points->n += (size_t)added;
    }
    for (size_t i = 0; i < points->n;) {
        size_t end = i;
        while (end < points->n && combining_class(points->at[end]) != 0) end++;
        IMP_TRY(order_marks(points->at + i, end - i));
        i = end + 1;
    }
    return IMP_OK;
}

/* A stretch of characters that a normal form may change, through utf8proc. */
static ImpStatus normalize_stretch(const char *text, size_t length, bool compatible, bool compose, StrBuf *out)
{
    Points points = {.room = LOCAL_POINTS};
    points.at = points.local;
    ImpStatus status = decompose(text, length, compatible, &points);
    utf8proc_ssize_t n = (utf8proc_ssize_t)points.n;
    if (status == IMP_OK && compose)
        n = utf8proc_normalize_utf32(points.at, n, (utf8proc_option_t)(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    if (n < 0) status = imp_fail(IMP_ERR_INTERNAL, "utf8proc refuses a text: %s", utf8proc_errmsg(n));
    for (utf8proc_ssize_t i = 0; i < n && status == IMP_OK; i++) put_character(out, (uint32_t)points.at[i]);
    points_free(&points);
    return status;
}

/* Stretches are the moved characters and the one before them, which they may join. */
static ImpStatus normal_form(Rewrite *rewrite, unsigned moved, bool compatible, bool compose)
{
    const char *text = rewrite->text;
    size_t copied = 0, previous = 0, width;
    for (size_t at = 0; at < rewrite->length;) {
        const unsigned flags = unicode_flags(rewrite->unicode, utf8_decode(text + at, &width));
        if ((flags & moved) == 0) {
            previous = (flags & UC_LATE) != 0 ? at + width : at;
            at += width;
            continue;
        }
        const size_t start = previous < copied ? copied : previous;
        strbuf_append(rewrite->out, text + copied, start - copied);
        size_t end = at + width;
        while (end < rewrite->length && (unicode_flags(rewrite->unicode, utf8_decode(text + end, &width)) & moved) != 0)
            end += width;
        IMP_TRY(normalize_stretch(text + start, end - start, compatible, compose, rewrite->out));
        at = copied = previous = end;
    }
    strbuf_append(rewrite->out, text + copied, rewrite->length - copied);
    return IMP_OK;
}

static void lowercase(Rewrite *rewrite)
{
    for (size_t at = 0, width; at < rewrite->length; at += width) {
        uint32_t lower[2];
        const size_t n = unicode_lower(rewrite->unicode, utf8_decode(rewrite->text + at, &width), lower);
        for (size_t i = 0; i < n; i++) put_character(rewrite->out, lower[i]);
    }
}

static void strip(Rewrite *rewrite, const NormalStep *step)
{
    size_t start = 0, end = rewrite->length, width;
    while (step->strip_left && start < end &&
           (unicode_flags(rewrite->unicode, utf8_decode(rewrite->text + start, &width)) & UC_SPACE) != 0) {
        start += width;
    }
    while (step->strip_right && end > start) {
        const size_t last = utf8_previous(rewrite->text, end);
        if ((unicode_flags(rewrite->unicode, utf8_decode(rewrite->text + last, &width)) & UC_SPACE) == 0) break;
        end = last;
    }
    strbuf_append(rewrite->out, rewrite->text + start, end - start);
}

/* Drops characters with a property. */
static void drop(Rewrite *rewrite, unsigned property)
{
    for (size_t at = 0, width; at < rewrite->length; at += width) {
        if ((unicode_flags(rewrite->unicode, utf8_decode(rewrite->text + at, &width)) & property) == 0) {
            strbuf_append(rewrite->out, rewrite->text + at, width);
        }
    }
}

static ImpStatus replace(Rewrite *rewrite, NormalScratch *scratch, const NormalStep *step)
{
    PatternWalk walk = {0};
    size_t done = 0;
    for (;;) {
        bool found;
        size_t start, end;
        IMP_TRY(
            pattern_next(&step->pattern, &scratch->regex, rewrite->text, rewrite->length, &walk, &found, &start, &end));
        if (!found) break;
        strbuf_append(rewrite->out, rewrite->text + done, start - done);
        strbuf_append(rewrite->out, step->content, step->content_length);
        done = end;
    }
    strbuf_append(rewrite->out, rewrite->text + done, rewrite->length - done);
    return IMP_OK;
}

static void nmt(Rewrite *rewrite)
{
    for (size_t at = 0, width; at < rewrite->length; at += width) {
        const uint32_t c = utf8_decode(rewrite->text + at, &width);
        const bool dropped =
            (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
        const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
        if (space) {
            strbuf_putc(rewrite->out, ' ');
        } else if (!dropped) {
            strbuf_append(rewrite->out, rewrite->text + at, width);
        }
    }
}

static void clean(Rewrite *rewrite)
{
    for (size_t at = 0, width; at < rewrite->length; at += width) {
        const uint32_t c = utf8_decode(rewrite->text + at, &width);
        const unsigned flags = unicode_flags(rewrite->unicode, c);
        if ((flags & UC_SPACE) != 0 && (c == '\t' || c == '\n' || c == '\r' || (flags & UC_OLD_OTHER) == 0)) {
            strbuf_putc(rewrite->out, ' ');
        } else if (c != 0 && c != 0xFFFD && (flags & UC_OLD_OTHER) == 0) {
            strbuf_append(rewrite->out, rewrite->text + at, width);
        }
    }
}

static bool is_ideograph(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } blocks[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                  {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        if (c >= blocks[i].first && c <= blocks[i].last) return true;
    }
    return false;
}

static void space_ideographs(Rewrite *rewrite)
{
    for (size_t at = 0, width; at < rewrite->length; at += width) {
        const bool spaced = is_ideograph(utf8_decode(rewrite->text + at, &width));
        if (spaced) strbuf_putc(rewrite->out, ' ');
        strbuf_append(rewrite->out, rewrite->text + at, width);
        if (spaced) strbuf_putc(rewrite->out, ' ');
    }
}

static ImpStatus run_step(const NormalStep *step, NormalScratch *scratch, Rewrite *rewrite)
{
    switch (step->kind) {
    case NORMAL_NFC:
        return normal_form(rewrite, UC_MOVED_NFC, false, true);
    case NORMAL_NFD:
        return normal_form(rewrite, UC_MOVED_NFD, false, false);
    case NORMAL_NFKC:
        return normal_form(rewrite, UC_MOVED_NFKC, true, true);
    case NORMAL_NFKD:
        return normal_form(rewrite, UC_MOVED_NFKD, true, false);
    case NORMAL_REPLACE:
        return replace(rewrite, scratch, step);
    case NORMAL_LOWERCASE:
        lowercase(rewrite);
        break;
    case NORMAL_STRIP:
        strip(rewrite, step);
        break;
    case NORMAL_STRIP_ACCENTS:
        drop(rewrite, UC_OLD_MARK);
        break;
    case NORMAL_STRIP_NONSPACING:
        drop(rewrite, UC_OLD_MN);
        break;
    case NORMAL_NMT:
        nmt(rewrite);
        break;
    case NORMAL_CLEAN:
        clean(rewrite);
        break;
    case NORMAL_SPACE_CHINESE:
        space_ideographs(rewrite);
        break;
    case NORMAL_PRECOMPILED:
        precompiled_apply(&step->precompiled, rewrite->text, rewrite->length, rewrite->out);
        break;
    case NORMAL_BYTE_CHARS:
        byte_level_encode(rewrite->text, rewrite->length, rewrite->out);
        break;
    case NORMAL_PREPEND:
        strbuf_append(rewrite->out, step->content, step->content_length);
        strbuf_append(rewrite->out, rewrite->text, rewrite->length);
        break;
    }
    return IMP_OK;
}

ImpStatus normalize(const Normalizer *normalizer, NormalScratch *scratch, const char **text, size_t *length)
{
    for (size_t i = 0; i<normalizer->count && * length> 0; i++) {
        StrBuf *out = &scratch->buffers[*text == scratch->buffers[0].data ? 1 : 0];
        strbuf_clear(out);
        Rewrite rewrite = {normalizer->unicode, *text, *length, out};
        IMP_TRY(run_step(&normalizer->steps[i], scratch, &rewrite));
        IMP_TRY(strbuf_check(out));
        *text = out->data;
        *length = out->length;
    }
    return IMP_OK;
}
