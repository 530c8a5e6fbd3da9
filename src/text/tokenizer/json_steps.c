/*
 * json_steps.c - the four pipelines of a tokenizer.json, each type a row of a table with its reader.
 *
 * Sequences are flattened; composite types become the simple steps they consist of. Defaults are the reference's.
 */
#include "text/tokenizer/json_steps.h"

#include "text/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 8 };

typedef struct StepReader {
    const char *type;
    ImpStatus (*read)(Tokenizer *tokenizer, const json_t *json);
} StepReader;

ImpStatus json_text(Tokenizer *tokenizer, const json_t *object, const char *key, const char *fallback, const char **out,
                    size_t *length)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) {
        if (fallback == NULL) return imp_fail(IMP_ERR_FORMAT, "\"%s\" is missing", key);
        *out = fallback;
        *length = strlen(fallback);
        return IMP_OK;
    }
    if (!json_is_string(value)) return imp_fail(IMP_ERR_FORMAT, "\"%s\" is no string", key);
    *length = json_string_length(value);
    *out = arena_string(&tokenizer->arena, json_string_value(value), *length);
    return *out == NULL ? imp_fail_memory(*length) : IMP_OK;
}

ImpStatus json_flag(const json_t *object, const char *key, bool fallback, bool *out)
{
    const json_t *value = json_object_get(object, key);
    *out = fallback;
    if (value == NULL || json_is_null(value)) return IMP_OK;
    if (!json_is_boolean(value)) return imp_fail(IMP_ERR_FORMAT, "\"%s\" is no boolean", key);
    *out = json_is_true(value);
    return IMP_OK;
}

static ImpStatus read_count(const json_t *object, const char *key, size_t fallback, size_t *out)
{
    const json_t *value = json_object_get(object, key);
    *out = fallback;
    if (value == NULL || json_is_null(value)) return IMP_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return imp_fail(IMP_ERR_FORMAT, "\"%s\" is no count", key);
    *out = (size_t)json_integer_value(value);
    return IMP_OK;
}

/* Finds the reader of an object's type and calls it; sequences under `list_key` are walked. */
static ImpStatus read_step(Tokenizer *tokenizer, const json_t *json, const StepReader *readers, const char *list_key,
                           int depth)
{
    if (json == NULL || json_is_null(json)) return IMP_OK;
    const char *type = json_string_value(json_object_get(json, "type"));
    if (type == NULL) return imp_fail(IMP_ERR_FORMAT, "an object has no \"type\"");
    if (strcmp(type, "Sequence") == 0) {
        if (depth == MAX_NESTING) return imp_fail(IMP_ERR_LIMIT, "sequences are nested too deeply");
        const json_t *list = json_object_get(json, list_key);
        if (!json_is_array(list)) return imp_fail(IMP_ERR_FORMAT, "a Sequence has no \"%s\"", list_key);
        for (size_t i = 0; i < json_array_size(list); i++) {
            IMP_TRY(read_step(tokenizer, json_array_get(list, i), readers, list_key, depth + 1));
        }
        return IMP_OK;
    }
    for (; readers->type != NULL; readers++) {
        if (strcmp(type, readers->type) != 0) continue;
        const ImpStatus status = readers->read(tokenizer, json);
        return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "%s", type);
    }
    return imp_fail(IMP_ERR_UNSUPPORTED, "the type \"%s\" is not supported", type);
}

/* {"String": …} or {"Regex": …}; older files have a bare string. */
static ImpStatus read_pattern(Tokenizer *tokenizer, const json_t *json, Pattern *out)
{
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *literal = json_is_string(pattern) ? pattern : json_object_get(pattern, "String");
    if (json_is_string(regex)) {
        return pattern_regex(&tokenizer->patterns, json_string_value(regex), json_string_length(regex), out);
    }
    if (!json_is_string(literal)) return imp_fail(IMP_ERR_FORMAT, "\"pattern\" holds neither \"String\" nor \"Regex\"");
    const size_t length = json_string_length(literal);
    if (length == 0) return pattern_regex(&tokenizer->patterns, "", 0, out); /* it is found everywhere */
    return pattern_literal(&tokenizer->arena, json_string_value(literal), length, out);
}

/* A string of one character. */
static ImpStatus read_character(Tokenizer *tokenizer, const json_t *json, const char *key, const char *fallback,
                                const char **out, size_t *length)
{
    IMP_TRY(json_text(tokenizer, json, key, fallback, out, length));
    if (*length == 0 || utf8_width((*out)[0]) != *length)
        return imp_fail(IMP_ERR_FORMAT, "\"%s\" is no single character", key);
    return IMP_OK;
}

/*
 * Normalizers.
 */
static ImpStatus add_normal(Tokenizer *tokenizer, NormalKind kind)
{
    return normalizer_add_step(&tokenizer->normalizer, kind) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

static ImpStatus read_nfc(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_NFC);
}
static ImpStatus read_nfd(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_NFD);
}
static ImpStatus read_nfkc(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_NFKC);
}
static ImpStatus read_nfkd(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_NFKD);
}
static ImpStatus read_nmt(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_NMT);
}

static ImpStatus read_lowercase(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_LOWERCASE);
}

static ImpStatus read_strip_accents(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_STRIP_ACCENTS);
}

static ImpStatus read_byte_chars(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_normal(tokenizer, NORMAL_BYTE_CHARS);
}

static ImpStatus read_strip(Tokenizer *tokenizer, const json_t *json)
{
    NormalStep *step = normalizer_add_step(&tokenizer->normalizer, NORMAL_STRIP);
    if (step == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(json_flag(json, "strip_left", false, &step->strip_left));
    return json_flag(json, "strip_right", false, &step->strip_right);
}

static ImpStatus read_prepend(Tokenizer *tokenizer, const json_t *json)
{
    NormalStep *step = normalizer_add_step(&tokenizer->normalizer, NORMAL_PREPEND);
    if (step == NULL) return IMP_ERR_LIMIT;
    return json_text(tokenizer, json, "prepend", NULL, &step->content, &step->content_length);
}

static ImpStatus read_replace(Tokenizer *tokenizer, const json_t *json)
{
    NormalStep *step = normalizer_add_step(&tokenizer->normalizer, NORMAL_REPLACE);
    if (step == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(read_pattern(tokenizer, json, &step->pattern));
    return json_text(tokenizer, json, "content", NULL, &step->content, &step->content_length);
}

/* Base 64 in place of `text`; false when it is none. */
static bool decode_base64(const char *text, size_t length, uint8_t *out, size_t *out_length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (length > 0 && text[length - 1] == '=') length--;
    if (length % 4 == 1) return false;
    uint32_t bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (digit == NULL) return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4 == 0) continue;
        out[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *out_length = n;
    return true;
}

static ImpStatus read_precompiled(Tokenizer *tokenizer, const json_t *json)
{
    NormalStep *step = normalizer_add_step(&tokenizer->normalizer, NORMAL_PRECOMPILED);
    if (step == NULL) return IMP_ERR_LIMIT;
    const json_t *map = json_object_get(json, "precompiled_charsmap");
    if (!json_is_string(map)) return imp_fail(IMP_ERR_FORMAT, "\"precompiled_charsmap\" is no string");
    size_t length = 0;
    uint8_t *bytes = malloc(json_string_length(map) + 1);
    if (bytes == NULL) return imp_fail_memory(json_string_length(map));
    ImpStatus status = IMP_OK;
    if (!decode_base64(json_string_value(map), json_string_length(map), bytes, &length)) {
        status = imp_fail(IMP_ERR_FORMAT, "\"precompiled_charsmap\" is no base 64");
    } else {
        status = precompiled_create(&tokenizer->arena, bytes, length, &step->precompiled);
    }
    free(bytes);
    return status;
}

static ImpStatus read_bert_normalizer(Tokenizer *tokenizer, const json_t *json)
{
    bool clean, chinese, lowercase, accents;
    IMP_TRY(json_flag(json, "clean_text", true, &clean));
    IMP_TRY(json_flag(json, "handle_chinese_chars", true, &chinese));
    IMP_TRY(json_flag(json, "lowercase", true, &lowercase));
    IMP_TRY(json_flag(json, "strip_accents", lowercase, &accents));
    if (clean) IMP_TRY(add_normal(tokenizer, NORMAL_CLEAN));
    if (chinese) IMP_TRY(add_normal(tokenizer, NORMAL_SPACE_CHINESE));
    if (accents) {
        IMP_TRY(add_normal(tokenizer, NORMAL_NFD));
        IMP_TRY(add_normal(tokenizer, NORMAL_STRIP_NONSPACING));
    }
    return lowercase ? add_normal(tokenizer, NORMAL_LOWERCASE) : IMP_OK;
}

static const StepReader normalizers[] = {
    {"NFC", read_nfc},
    {"NFD", read_nfd},
    {"NFKC", read_nfkc},
    {"NFKD", read_nfkd},
    {"Nmt", read_nmt},
    {"Lowercase", read_lowercase},
    {"Strip", read_strip},
    {"StripAccents", read_strip_accents},
    {"Prepend", read_prepend},
    {"Replace", read_replace},
    {"Precompiled", read_precompiled},
    {"BertNormalizer", read_bert_normalizer},
    {"ByteLevel", read_byte_chars},
    {NULL, NULL},
};

ImpStatus json_load_normalizer(Tokenizer *tokenizer, const json_t *json)
{
    const ImpStatus status = read_step(tokenizer, json, normalizers, "normalizers", 0);
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "normalizer");
}

/*
 * Pre-tokenizers.
 */
static ImpStatus read_behavior(const json_t *json, SplitBehavior fallback, SplitBehavior *out)
{
    static const char *const names[] = {
        [SPLIT_REMOVED] = "Removed",
        [SPLIT_ISOLATED] = "Isolated",
        [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [SPLIT_CONTIGUOUS] = "Contiguous",
    };
    *out = fallback;
    const json_t *value = json_object_get(json, "behavior");
    if (value == NULL) return IMP_OK;
    for (size_t i = 0; json_is_string(value) && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(json_string_value(value), names[i]) == 0) {
            *out = (SplitBehavior)i;
            return IMP_OK;
        }
    }
    return imp_fail(IMP_ERR_FORMAT, "\"behavior\" is none that is known");
}

static ImpStatus add_split(Tokenizer *tokenizer, Pattern pattern, SplitBehavior behavior, bool invert)
{
    PreStep *step = pre_add_step(&tokenizer->pre, PRE_SPLIT);
    if (step == NULL) {
        pattern_free(&pattern);
        return IMP_ERR_LIMIT;
    }
    step->pattern = pattern;
    step->behavior = behavior;
    step->invert = invert;
    return IMP_OK;
}

static ImpStatus add_class_split(Tokenizer *tokenizer, unsigned property, SplitBehavior behavior)
{
    return add_split(tokenizer, pattern_class(tokenizer->unicode, 0, property), behavior, false);
}

static ImpStatus read_split(Tokenizer *tokenizer, const json_t *json)
{
    SplitBehavior behavior;
    bool invert;
    Pattern pattern;
    IMP_TRY(read_behavior(json, SPLIT_REMOVED, &behavior));
    IMP_TRY(json_flag(json, "invert", false, &invert));
    IMP_TRY(read_pattern(tokenizer, json, &pattern));
    return add_split(tokenizer, pattern, behavior, invert);
}

static ImpStatus read_byte_level(Tokenizer *tokenizer, const json_t *json)
{
    static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    bool prefix, use_regex;
    IMP_TRY(json_flag(json, "add_prefix_space", true, &prefix));
    IMP_TRY(json_flag(json, "use_regex", true, &use_regex));
    if (prefix && pre_add_step(&tokenizer->pre, PRE_PREFIX_SPACE) == NULL) return IMP_ERR_LIMIT;
    if (use_regex) {
        Pattern pattern;
        IMP_TRY(pattern_regex(&tokenizer->patterns, gpt2, strlen(gpt2), &pattern));
        IMP_TRY(add_split(tokenizer, pattern, SPLIT_ISOLATED, false));
    }
    return pre_add_step(&tokenizer->pre, PRE_BYTE_CHARS) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

static ImpStatus read_digits(Tokenizer *tokenizer, const json_t *json)
{
    bool individual;
    IMP_TRY(json_flag(json, "individual_digits", false, &individual));
    return add_class_split(tokenizer, UC_NUMERIC, individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS);
}

static ImpStatus read_prepend_scheme(const json_t *json, PrependScheme *out)
{
    const json_t *scheme = json_object_get(json, "prepend_scheme");
    const char *name = scheme == NULL ? "always" : json_string_value(scheme);
    bool prefix;
    IMP_TRY(json_flag(json, "add_prefix_space", true, &prefix));
    if (name != NULL && strcmp(name, "always") == 0)
        *out = PREPEND_ALWAYS;
    else if (name != NULL && strcmp(name, "first") == 0)
        *out = PREPEND_FIRST;
    else if (name != NULL && strcmp(name, "never") == 0)
        *out = PREPEND_NEVER;
    else
        return imp_fail(IMP_ERR_FORMAT, "\"prepend_scheme\" is none that is known");
    if (!prefix) *out = PREPEND_NEVER;
    return IMP_OK;
}

static ImpStatus read_metaspace(Tokenizer *tokenizer, const json_t *json)
{
    PreStep *step = pre_add_step(&tokenizer->pre, PRE_METASPACE);
    if (step == NULL) return IMP_ERR_LIMIT;
    const char *replacement = NULL;
    size_t length = 0;
    bool split;
    IMP_TRY(read_character(tokenizer, json, "replacement", "\xE2\x96\x81", &replacement, &length));
    memcpy(step->replacement, replacement, length);
    step->replacement[length] = '\0';
    IMP_TRY(read_prepend_scheme(json, &step->prepend));
    IMP_TRY(json_flag(json, "split", true, &split));
    if (!split) return IMP_OK;
    Pattern pattern;
    IMP_TRY(pattern_literal(&tokenizer->arena, replacement, length, &pattern));
    return add_split(tokenizer, pattern, SPLIT_MERGED_WITH_NEXT, false);
}

static ImpStatus read_punctuation(Tokenizer *tokenizer, const json_t *json)
{
    SplitBehavior behavior;
    IMP_TRY(read_behavior(json, SPLIT_ISOLATED, &behavior));
    return add_class_split(tokenizer, UC_OLD_PUNCT, behavior);
}

static ImpStatus read_whitespace(Tokenizer *tokenizer, const json_t *json)
{
    (void)json;
    return add_split(tokenizer, pattern_words_and_symbols(tokenizer->unicode), SPLIT_REMOVED, true);
}

static ImpStatus read_whitespace_split(Tokenizer *tokenizer, const json_t *json)
{
    (void)json;
    return add_class_split(tokenizer, UC_SPACE, SPLIT_REMOVED);
}

static ImpStatus read_bert_pre_tokenizer(Tokenizer *tokenizer, const json_t *json)
{
    (void)json;
    IMP_TRY(add_class_split(tokenizer, UC_SPACE, SPLIT_REMOVED));
    return add_class_split(tokenizer, UC_OLD_PUNCT, SPLIT_ISOLATED);
}

static ImpStatus read_delimiter(Tokenizer *tokenizer, const json_t *json)
{
    const char *delimiter = NULL;
    size_t length = 0;
    Pattern pattern;
    IMP_TRY(read_character(tokenizer, json, "delimiter", NULL, &delimiter, &length));
    IMP_TRY(pattern_literal(&tokenizer->arena, delimiter, length, &pattern));
    return add_split(tokenizer, pattern, SPLIT_REMOVED, false);
}

static ImpStatus read_fixed_length(Tokenizer *tokenizer, const json_t *json)
{
    PreStep *step = pre_add_step(&tokenizer->pre, PRE_FIXED_LENGTH);
    if (step == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(read_count(json, "length", 5, &step->length));
    return step->length == 0 ? imp_fail(IMP_ERR_FORMAT, "\"length\" is 0") : IMP_OK;
}

static ImpStatus read_scripts(Tokenizer *tokenizer, const json_t *json)
{
    (void)json;
    return pre_add_step(&tokenizer->pre, PRE_SCRIPTS) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

static const StepReader pre_tokenizers[] = {
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
    {"Digits", read_digits},
    {"Metaspace", read_metaspace},
    {"Punctuation", read_punctuation},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
    {"BertPreTokenizer", read_bert_pre_tokenizer},
    {"CharDelimiterSplit", read_delimiter},
    {"FixedLength", read_fixed_length},
    {"UnicodeScripts", read_scripts},
    {NULL, NULL},
};

ImpStatus json_load_pre_tokenizer(Tokenizer *tokenizer, const json_t *json)
{
    const ImpStatus status = read_step(tokenizer, json, pre_tokenizers, "pretokenizers", 0);
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "pre_tokenizer");
}

/*
 * Decoders.
 */
static ImpStatus add_decode(Tokenizer *tokenizer, DecodeKind kind)
{
    return decoder_add_step(&tokenizer->decoder, kind) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

static ImpStatus read_decode_bytes(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_decode(tokenizer, DECODE_BYTE_LEVEL);
}
static ImpStatus read_decode_fuse(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_decode(tokenizer, DECODE_FUSE);
}

static ImpStatus read_decode_fallback(Tokenizer *tokenizer, const json_t *json)
{
    return (void)json, add_decode(tokenizer, DECODE_BYTE_FALLBACK);
}

static ImpStatus read_decode_replace(Tokenizer *tokenizer, const json_t *json)
{
    DecodeStep *step = decoder_add_step(&tokenizer->decoder, DECODE_REPLACE);
    if (step == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(read_pattern(tokenizer, json, &step->pattern));
    return json_text(tokenizer, json, "content", NULL, &step->content, &step->content_length);
}

static ImpStatus read_decode_strip(Tokenizer *tokenizer, const json_t *json)
{
    DecodeStep *step = decoder_add_step(&tokenizer->decoder, DECODE_STRIP);
    if (step == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(read_character(tokenizer, json, "content", NULL, &step->content, &step->content_length));
    IMP_TRY(read_count(json, "start", 0, &step->strip_start));
    return read_count(json, "stop", 0, &step->strip_stop);
}

static ImpStatus read_decode_metaspace(Tokenizer *tokenizer, const json_t *json)
{
    DecodeStep *step = decoder_add_step(&tokenizer->decoder, DECODE_METASPACE);
    if (step == NULL) return IMP_ERR_LIMIT;
    PrependScheme scheme;
    IMP_TRY(read_character(tokenizer, json, "replacement", "\xE2\x96\x81", &step->content, &step->content_length));
    IMP_TRY(read_prepend_scheme(json, &scheme));
    step->drop_first = scheme != PREPEND_NEVER;
    return IMP_OK;
}

static ImpStatus read_decode_wordpiece(Tokenizer *tokenizer, const json_t *json)
{
    DecodeStep *step = decoder_add_step(&tokenizer->decoder, DECODE_WORDPIECE);
    if (step == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(json_text(tokenizer, json, "prefix", "##", &step->content, &step->content_length));
    return json_flag(json, "cleanup", true, &step->clean_up);
}

static ImpStatus read_decode_suffix(Tokenizer *tokenizer, const json_t *json)
{
    DecodeStep *step = decoder_add_step(&tokenizer->decoder, DECODE_SUFFIX);
    if (step == NULL) return IMP_ERR_LIMIT;
    return json_text(tokenizer, json, "suffix", "</w>", &step->content, &step->content_length);
}

static ImpStatus read_decode_ctc(Tokenizer *tokenizer, const json_t *json)
{
    DecodeStep *step = decoder_add_step(&tokenizer->decoder, DECODE_CTC);
    if (step == NULL) return IMP_ERR_LIMIT;
    size_t length = 0;
    IMP_TRY(json_text(tokenizer, json, "pad_token", "<pad>", &step->content, &step->content_length));
    IMP_TRY(json_text(tokenizer, json, "word_delimiter_token", "|", &step->delimiter, &length));
    return json_flag(json, "cleanup", true, &step->clean_up);
}

static const StepReader decoders[] = {
    {"ByteLevel", read_decode_bytes},
    {"ByteFallback", read_decode_fallback},
    {"Fuse", read_decode_fuse},
    {"Replace", read_decode_replace},
    {"Strip", read_decode_strip},
    {"Metaspace", read_decode_metaspace},
    {"WordPiece", read_decode_wordpiece},
    {"BPEDecoder", read_decode_suffix},
    {"CTC", read_decode_ctc},
    {NULL, NULL},
};

ImpStatus json_load_decoder(Tokenizer *tokenizer, const json_t *json)
{
    if (json == NULL || json_is_null(json)) return add_decode(tokenizer, DECODE_SPACED);
    const ImpStatus status = read_step(tokenizer, json, decoders, "decoders", 0);
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "decoder");
}

/*
 * Post-processors: each puts ids around what the one before it made.
 */
typedef struct Template {
    TokenList before, after;
} Template;

static ImpStatus push_json_id(const Tokenizer *tokenizer, const json_t *id, TokenList *out)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= tokenizer->vocab.count) {
        return imp_fail(IMP_ERR_FORMAT, "a template names an id outside the vocabulary");
    }
    return token_list_push(out, (int32_t)json_integer_value(id));
}

static ImpStatus read_template(const Tokenizer *tokenizer, const json_t *json, Template *out)
{
    const json_t *single = json_object_get(json, "single"), *tokens = json_object_get(json, "special_tokens");
    if (!json_is_array(single)) return imp_fail(IMP_ERR_FORMAT, "\"single\" is no list");
    bool seen = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *piece = json_array_get(single, i);
        if (json_object_get(piece, "Sequence") != NULL) {
            if (seen) return imp_fail(IMP_ERR_UNSUPPORTED, "a template that repeats the text is not supported");
            seen = true;
            continue;
        }
        const char *name = json_string_value(json_object_get(json_object_get(piece, "SpecialToken"), "id"));
        const json_t *ids = name == NULL ? NULL : json_object_get(json_object_get(tokens, name), "ids");
        if (!json_is_array(ids))
            return imp_fail(IMP_ERR_FORMAT, "a template names a special token that it does not define");
        for (size_t n = 0; n < json_array_size(ids); n++) {
            IMP_TRY(push_json_id(tokenizer, json_array_get(ids, n), seen ? &out->after : &out->before));
        }
    }
    return seen ? IMP_OK : imp_fail(IMP_ERR_UNSUPPORTED, "a template without the text is not supported");
}

static ImpStatus read_processor(const Tokenizer *tokenizer, const json_t *json, int depth, TokenList *before,
                                TokenList *after);

static ImpStatus read_processors(const Tokenizer *tokenizer, const json_t *json, int depth, TokenList *before,
                                 TokenList *after)
{
    const json_t *list = json_object_get(json, "processors");
    if (depth == MAX_NESTING) return imp_fail(IMP_ERR_LIMIT, "sequences are nested too deeply");
    for (size_t i = 0; i < json_array_size(list); i++) {
        IMP_TRY(read_processor(tokenizer, json_array_get(list, i), depth + 1, before, after));
    }
    return IMP_OK;
}

/* What is read goes outside of what is there. */
static ImpStatus wrap(const Template *outer, TokenList *before, TokenList *after)
{
    const size_t inner = before->count;
    for (size_t i = 0; i < outer->before.count; i++) IMP_TRY(token_list_push(before, outer->before.ids[i]));
    for (size_t i = 0; i < inner; i++) IMP_TRY(token_list_push(before, before->ids[i]));
    if (inner > 0) {
        before->count -= inner;
        memmove(before->ids, before->ids + inner, before->count * sizeof *before->ids);
    }
    for (size_t i = 0; i < outer->after.count; i++) IMP_TRY(token_list_push(after, outer->after.ids[i]));
    return IMP_OK;
}

static ImpStatus read_processor(const Tokenizer *tokenizer, const json_t *json, int depth, TokenList *before,
                                TokenList *after)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (type == NULL) return imp_fail(IMP_ERR_FORMAT, "an object has no \"type\"");
    if (strcmp(type, "ByteLevel") == 0) return IMP_OK;
    if (strcmp(type, "Sequence") == 0) return read_processors(tokenizer, json, depth, before, after);
    Template template = {{0}, {0}};
    ImpStatus status = IMP_OK;
    if (strcmp(type, "TemplateProcessing") == 0) {
        IMP_GOTO(read_template(tokenizer, json, &template));
    } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        IMP_GOTO(push_json_id(tokenizer, json_array_get(json_object_get(json, "cls"), 1), &template.before));
        IMP_GOTO(push_json_id(tokenizer, json_array_get(json_object_get(json, "sep"), 1), &template.after));
    } else {
        IMP_GOTO(imp_fail(IMP_ERR_UNSUPPORTED, "the type \"%s\" is not supported", type));
    }
    IMP_GOTO(wrap(&template, before, after));
fail:
    token_list_free(&template.before);
    token_list_free(&template.after);
    return status;
}

ImpStatus json_load_post_processor(Tokenizer *tokenizer, const json_t *json, TokenList *before, TokenList *after)
{
    if (json == NULL || json_is_null(json)) return IMP_OK;
    const ImpStatus status = read_processor(tokenizer, json, 0, before, after);
    return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "post_processor");
}
