/*
 * decoder.h - tokens back to text: a chain of steps, each of which turns a list of strings into another; the last list
 * joined is the text. Here the lists flow: a step passes on what can no longer change.
 */
#ifndef IMP_TEXT_DECODER_H
#define IMP_TEXT_DECODER_H

#include "core/strbuf.h"
#include "text/tokenizer/pattern.h"

typedef enum DecodeKind {
    DECODE_BYTE_LEVEL, /* characters of the byte-level alphabet become bytes, all of them one string, ill-formed parts
                          U+FFFD */
    DECODE_BYTE_FALLBACK, /* a run of <0xNN> becomes its text, or a U+FFFD for each when that is no UTF-8 */
    DECODE_REPLACE,       /* in each string */
    DECODE_FUSE,          /* all strings become one */
    DECODE_STRIP,         /* up to so many of a character at each string's ends */
    DECODE_METASPACE,     /* the mark becomes a space; in the first string it vanishes */
    DECODE_WORDPIECE,     /* the prefix of a continuation vanishes, other strings get a space in front */
    DECODE_SUFFIX,        /* the end-of-word mark becomes a space, in the last string nothing: BPEDecoder */
    DECODE_CTC,           /* repeated strings and padding vanish */
    DECODE_SPACED,        /* a space between all strings: what the reference does without a decoder */
} DecodeKind;

typedef struct DecodeStep {
    DecodeKind kind;
    Pattern pattern;     /* REPLACE */
    const char *content; /* REPLACE: with what; STRIP, METASPACE: the character; WORDPIECE, SUFFIX, CTC: the mark */
    size_t content_length;
    const char *delimiter;          /* CTC: what stands for a space */
    size_t strip_start, strip_stop; /* STRIP */
    bool clean_up;                  /* WORDPIECE, CTC: English spacing */
    bool drop_first;                /* METASPACE */
} DecodeStep;

enum { DECODE_MAX_STEPS = 16 };

typedef struct Decoder {
    DecodeStep steps[DECODE_MAX_STEPS];
    size_t count;
} Decoder;

/* Appends a step and returns it for filling; NULL (with the sentence set) when there are too many. */
DecodeStep *decoder_add_step(Decoder *decoder, DecodeKind kind);
void decoder_free(Decoder *decoder);

/* One running decoder. Zero-initialize, set `decoder` and `out`. */
typedef struct DecodeState {
    StrBuf held;     /* text that may still change */
    StrBuf work[2];  /* the step's results */
    StrBuf whole;    /* fragments of a string that the step needs whole */
    size_t count;    /* strings seen */
    size_t stripped; /* STRIP: characters cut at the start of the string */
    size_t trailing; /* STRIP: characters held back at its end */
    bool open;       /* a string has begun */
    bool in_start;   /* STRIP: still at the string's start */
} DecodeState;

typedef struct DecodeRun {
    const Decoder *decoder;
    StrBuf *out;
    DecodeState states[DECODE_MAX_STEPS];
    RegexScratch *regex;
    bool middle; /* as if strings came before: nothing is stripped at the start */
} DecodeRun;

ImpStatus decode_push(DecodeRun *run, const char *token, size_t length);
/* Passes on everything still held; the run may then be used from the start. */
ImpStatus decode_finish(DecodeRun *run);
void decode_run_free(DecodeRun *run);

#endif
