/*
 * normalizer.h - rewrites text before it is cut into words: Unicode normal forms, replacements, case, white space.
 */
#ifndef IMP_TEXT_NORMALIZER_H
#define IMP_TEXT_NORMALIZER_H

#include "core/strbuf.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/precompiled.h"

typedef enum NormalKind {
    NORMAL_NFC,
    NORMAL_NFD,
    NORMAL_NFKC,
    NORMAL_NFKD,
    NORMAL_LOWERCASE,
    NORMAL_STRIP,            /* white space at the ends */
    NORMAL_STRIP_ACCENTS,    /* combining marks */
    NORMAL_REPLACE,          /* a pattern by a text */
    NORMAL_PREPEND,          /* a text in front, unless there is none to be in front of */
    NORMAL_NMT,              /* SentencePiece's cleaning of control characters and spaces */
    NORMAL_CLEAN,            /* BERT's */
    NORMAL_SPACE_CHINESE,    /* BERT's spaces around ideographs */
    NORMAL_STRIP_NONSPACING, /* BERT's accents; after NFD */
    NORMAL_PRECOMPILED,      /* SentencePiece's table of replacements */
    NORMAL_BYTE_CHARS,       /* bytes become characters of the byte-level alphabet */
} NormalKind;

typedef struct NormalStep {
    NormalKind kind;
    Pattern pattern;     /* REPLACE */
    const char *content; /* REPLACE, PREPEND */
    size_t content_length;
    bool strip_left, strip_right;
    Precompiled precompiled;
} NormalStep;

enum { NORMAL_MAX_STEPS = 32 };

typedef struct Normalizer {
    NormalStep steps[NORMAL_MAX_STEPS];
    size_t count;
    const UnicodeTable *unicode;
} Normalizer;

/* Appends a step and returns it for filling; NULL (with the sentence set) when there are too many. */
NormalStep *normalizer_add_step(Normalizer *normalizer, NormalKind kind);
void normalizer_free(Normalizer *normalizer);

/* Two buffers that the steps write in turn; zero-initialize, free with normal_scratch_free. */
typedef struct NormalScratch {
    StrBuf buffers[2];
    RegexScratch *regex;
} NormalScratch;

void normal_scratch_free(NormalScratch *scratch);

/* Normalizes `*text`, which afterwards points into the scratch where there is anything to do. */
ImpStatus normalize(const Normalizer *normalizer, NormalScratch *scratch, const char **text, size_t *length);

#endif
