/*
 * pretokenizer.h - cuts normalized text into the words that the model sees, one step after the other.
 */
#ifndef IMP_TEXT_PRETOKENIZER_H
#define IMP_TEXT_PRETOKENIZER_H

#include "core/strbuf.h"
#include "text/tokenizer/pattern.h"

typedef enum SplitBehavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
} SplitBehavior;

typedef enum PrependScheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } PrependScheme;

typedef enum PreStepKind {
    PRE_SPLIT,        /* at the matches of a pattern */
    PRE_PREFIX_SPACE, /* a space in front of what has none: ByteLevel's add_prefix_space */
    PRE_BYTE_CHARS,   /* bytes become characters of the byte-level alphabet: ByteLevel */
    PRE_METASPACE,    /* spaces become `replacement`, and one may come in front; the split is a step of its own */
    PRE_FIXED_LENGTH, /* pieces of `length` characters */
    PRE_SCRIPTS,      /* where the script changes: UnicodeScripts */
    PRE_DIGIT_GROUPS, /* decimal digits in groups of three, counted from the end of their run */
} PreStepKind;

typedef struct PreStep {
    PreStepKind kind;
    Pattern pattern;
    SplitBehavior behavior;
    bool invert; /* the text between matches is the match */
    char replacement[5];
    PrependScheme prepend;
    size_t length;
    const UnicodeTable *unicode; /* PRE_DIGIT_GROUPS */
} PreStep;

enum { PRE_MAX_STEPS = 32 };

typedef struct PreTokenizer {
    PreStep steps[PRE_MAX_STEPS];
    size_t count;
} PreTokenizer;

/* A piece of text on its way through the steps; `first` when it begins where the whole input begins. */
typedef struct Piece {
    const char *text;
    size_t length;
    bool first;
} Piece;

/* Receives the words in order. */
typedef ImpStatus WordSink(void *user, const char *word, size_t length);

/* What one call works with; zero-initialize, free with pre_scratch_free. */
typedef struct PreScratch {
    StrBuf texts[PRE_MAX_STEPS]; /* a step's own text, where it changes it */
    RegexScratch *regex;
} PreScratch;

ImpStatus pretokenize(const PreTokenizer *pre, PreScratch *scratch, Piece piece, WordSink *sink, void *user);
void pre_scratch_free(PreScratch *scratch);
void pretokenizer_free(PreTokenizer *pre);

/* Appends a step and returns it for filling; NULL (with the sentence set) when there are too many. */
PreStep *pre_add_step(PreTokenizer *pre, PreStepKind kind);

#endif
