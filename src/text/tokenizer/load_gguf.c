/*
 * load_gguf.c - a tokenizer out of a GGUF file's tokenizer.ggml.* keys.
 *
 * The file holds the tokens, their types and either merges or scores. What else the model's own tokenizer does has to
 * be concluded: from the kind of model, the name of its pre-tokenizer and a few flags.
 */
#include "text/tokenizer/tokenizer_internal.h"

#include "text/tokenizer/pre_names.h"

#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

/* U+2581, SentencePiece's space. */
#define SPACE_MARK "\xE2\x96\x81"
enum { SPACE_MARK_BYTES = 3 };

typedef struct Loader {
    Tokenizer *tokenizer;
    const GgufMeta *meta;
    const struct GgufModel *model;
    const PreRecipe *recipe; /* "gpt2" only */
    GgufString pre;
    const GgufValue *tokens, *types; /* `types` is NULL where absent */
} Loader;

typedef struct GgufModel {
    const char *name;
    ImpStatus (*load)(Loader *loader);
    ImpStatus (*set_token)(Loader *loader, int32_t id, GgufString text, int64_t type, unsigned flags);
    /* When the file does not say: */
    bool add_bos, add_eos, add_separator;
    int32_t bos, eos;                      /* -1 for none */
    const char *bos_text, *separator_text; /* where ids are not told either */
} GgufModel;

static const GgufValue *find_array(const Loader *loader, const char *key)
{
    const GgufValue *value = gguf_find(loader->meta, key);
    return value != NULL && value->type == GGUF_ARRAY ? value : NULL;
}

static bool is(GgufString string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.data, text, string.length) == 0;
}

static bool flag(const Loader *loader, const char *key, bool fallback)
{
    (void)gguf_get_bool(loader->meta, key, &fallback);
    return fallback;
}

/* An id under a key; -1 when absent or out of range. */
static int32_t id_of(const Loader *loader, const char *key)
{
    int64_t id;
    if (!gguf_get_i64(loader->meta, key, &id) || id < 0 || id >= loader->tokenizer->vocab.count) return -1;
    return (int32_t)id;
}

/* The id of a token by its text; -1 when there is none, or `text` is NULL. */
static int32_t id_of_text(const Loader *loader, const char *text)
{
    return text == NULL ? -1 : tokenizer_find_slow(loader->tokenizer, text, strlen(text));
}

static int64_t type_of(const Loader *loader, uint64_t index)
{
    int64_t type = TYPE_NORMAL;
    if (loader->types != NULL) (void)gguf_array_i64(loader->types, index, &type);
    return type;
}

/*
 * Tokens.
 */
static ImpStatus set_plain(Loader *loader, int32_t id, GgufString text, int64_t type, unsigned flags)
{
    (void)type;
    return vocab_set(&loader->tokenizer->vocab, &loader->tokenizer->arena, id, text.data, text.length, flags);
}

/* The conversion writes runs of the space mark among user-defined tokens as spaces; as such they would be found in the
 * raw text, where the model's own tokenizer finds them in the normalized one. */
static ImpStatus set_marked(Loader *loader, int32_t id, GgufString text, int64_t type, unsigned flags)
{
    bool spaces = type == TYPE_USER_DEFINED && text.length > 0 && text.length < VOCAB_MAX_TOKEN_BYTES;
    for (size_t i = 0; i < text.length && spaces; i++) spaces = text.data[i] == ' ';
    if (!spaces) return set_plain(loader, id, text, type, flags);
    StrBuf marks = {0};
    for (size_t i = 0; i < text.length; i++) strbuf_append(&marks, SPACE_MARK, SPACE_MARK_BYTES);
    ImpStatus status = strbuf_check(&marks);
    if (status == IMP_OK) status = set_plain(loader, id, (GgufString){marks.data, marks.length}, type, flags);
    strbuf_free(&marks);
    return status;
}

/* The conversion of WordPiece marks the start of words instead of their continuations, but leaves "[unused7]" as it is.
 */
static ImpStatus set_wordpiece(Loader *loader, int32_t id, GgufString text, int64_t type, unsigned flags)
{
    const bool bracketed = text.length >= 2 && text.data[0] == '[' && text.data[text.length - 1] == ']';
    if (type != TYPE_NORMAL || bracketed) return set_plain(loader, id, text, type, flags);
    if (text.length >= SPACE_MARK_BYTES && memcmp(text.data, SPACE_MARK, SPACE_MARK_BYTES) == 0) {
        const GgufString word = {text.data + SPACE_MARK_BYTES, text.length - SPACE_MARK_BYTES};
        return set_plain(loader, id, word, type, flags);
    }
    StrBuf continued = {0};
    strbuf_puts(&continued, "##");
    strbuf_append(&continued, text.data, text.length);
    ImpStatus status = strbuf_check(&continued);
    if (status == IMP_OK) status = set_plain(loader, id, (GgufString){continued.data, continued.length}, type, flags);
    strbuf_free(&continued);
    return status;
}

/* Added tokens that take the white space beside them: nothing in the file says so, these models' tokenizers do. */
typedef struct StripRule {
    const char *architecture, *model, *pre; /* NULL: any */
    const char *token;                      /* NULL: every added one without the exceptions */
    const char *exceptions[3];
    bool left, right;
} StripRule;

static const StripRule strip_rules[] = {
    {"phi3", "llama", NULL, NULL, {"<unk>", "<s>", "<|endoftext|>"}, false, true},             /* Phi-3 */
    {"phi3", "gpt2", "dbrx", NULL, {NULL}, true, true},                                        /* Phi-4 */
    {"phi3", "gpt2", "gpt-4o", NULL, {"<|endoftext|>", "<|endofprompt|>", NULL}, false, true}, /* Phi-4-mini */
    {NULL, "t5", NULL, "<mask>", {NULL}, true, false},                                         /* XLM-RoBERTa */
    {NULL, "gpt2", "roberta-bpe", "<mask>", {NULL}, true, false},
    {NULL, "gpt2", "jina-v1-en", "<mask>", {NULL}, true, false},
    {NULL, "gpt2", "jina-v2-es", "<mask>", {NULL}, true, false},
    {NULL, "gpt2", "jina-v2-de", "<mask>", {NULL}, true, false},
    {NULL, "gpt2", "jina-v2-code", "<mask>", {NULL}, true, false},
    {NULL, "gpt2", "modern-bert", "[MASK]", {NULL}, true, false},
};

/* The rule for the file's added tokens; NULL for most files. */
static const StripRule *find_strip_rule(const Loader *loader)
{
    GgufString architecture = {"", 0};
    (void)gguf_get_string(loader->meta, "general.architecture", &architecture);
    for (size_t i = 0; i < sizeof strip_rules / sizeof strip_rules[0]; i++) {
        const StripRule *rule = &strip_rules[i];
        if (rule->architecture != NULL && !is(architecture, rule->architecture)) continue;
        if (strcmp(loader->model->name, rule->model) != 0) continue;
        if (rule->pre == NULL || is(loader->pre, rule->pre)) return rule;
    }
    return NULL;
}

static bool strip_applies(const StripRule *rule, GgufString text)
{
    if (rule == NULL) return false;
    if (rule->token != NULL) return is(text, rule->token);
    for (size_t i = 0; i < sizeof rule->exceptions / sizeof rule->exceptions[0]; i++) {
        if (rule->exceptions[i] != NULL && is(text, rule->exceptions[i])) return false;
    }
    return true;
}

static ImpStatus load_token(Loader *loader, int32_t id, const StripRule *rule)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const GgufString text = loader->tokens->as.strings[id];
    const int64_t type = type_of(loader, (uint64_t)id);
    const bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
    const bool added = special || type == TYPE_USER_DEFINED;
    const bool in_model = type == TYPE_NORMAL || type == TYPE_BYTE || type == TYPE_USER_DEFINED;
    IMP_TRY(loader->model->set_token(loader, id, text, type,
                                     (in_model ? VOCAB_MODEL : 0u) | (added ? VOCAB_ADDED : 0u) |
                                         (special ? VOCAB_SPECIAL : 0u)));
    const VocabToken *token = &tokenizer->vocab.tokens[id];
    if (!added || token->text_length == 0) return IMP_OK;
    const bool strips = strip_applies(rule, text);
    tokenizer->added.tokens[tokenizer->added.count++] = (AddedToken){.content = token->text,
                                                                     .length = token->text_length,
                                                                     .id = id,
                                                                     .special = special,
                                                                     .strip_left = strips && rule->left,
                                                                     .strip_right = strips && rule->right};
    return IMP_OK;
}

static ImpStatus load_tokens(Loader *loader)
{
    const uint64_t count = loader->tokens->count;
    if (count > VOCAB_MAX_IDS)
        return imp_fail(IMP_ERR_LIMIT, "tokenizer.ggml.tokens holds more than %d tokens", VOCAB_MAX_IDS);
    IMP_TRY(tokenizer_create_vocab(loader->tokenizer, (size_t)count, (size_t)count));
    const StripRule *rule = find_strip_rule(loader);
    for (uint64_t i = 0; i < count; i++) IMP_TRY(load_token(loader, (int32_t)i, rule));
    return IMP_OK;
}

/*
 * Models.
 */
static ImpStatus add_normal(Loader *loader, NormalKind kind)
{
    return normalizer_add_step(&loader->tokenizer->normalizer, kind) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

static ImpStatus add_decode(Loader *loader, DecodeKind kind)
{
    return decoder_add_step(&loader->tokenizer->decoder, kind) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

/* "left right": the first space after the first character parts them. */
static ImpStatus load_merges(const GgufValue *merges, Bpe *bpe)
{
    for (uint64_t i = 0; i < merges->count; i++) {
        const GgufString merge = merges->as.strings[i];
        const char *space = merge.length < 2 ? NULL : memchr(merge.data + 1, ' ', merge.length - 1);
        if (space == NULL)
            return imp_fail(IMP_ERR_FORMAT, "entry %llu of tokenizer.ggml.merges has no space", (unsigned long long)i);
        const size_t left = (size_t)(space - merge.data);
        IMP_TRY(bpe_add_merge(bpe, merge.data, left, space + 1, merge.length - left - 1, (uint32_t)i));
    }
    return IMP_OK;
}

static ImpStatus find_merges(Loader *loader, const GgufValue **out)
{
    *out = find_array(loader, "tokenizer.ggml.merges");
    if (*out != NULL && (*out)->element_type == GGUF_STRING && (*out)->count <= UINT32_MAX) return IMP_OK;
    return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.merges is missing or no array of strings");
}

/* The numbers of tokenizer.ggml.scores; user-defined tokens, whose scores the conversion makes up, have the best. */
static ImpStatus load_scores(Loader *loader, double **out)
{
    const uint64_t count = loader->tokens->count;
    const GgufValue *array = find_array(loader, "tokenizer.ggml.scores");
    if (array == NULL || array->count < count)
        return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.scores is missing or too short");
    double *scores = arena_alloc(&loader->tokenizer->arena, (size_t)count, sizeof *scores);
    if (scores == NULL) return imp_fail_memory((size_t)count * sizeof *scores);
    for (uint64_t i = 0; i < count; i++) {
        if (!gguf_array_f64(array, i, &scores[i]))
            return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.scores holds no numbers");
        if (type_of(loader, i) == TYPE_USER_DEFINED) scores[i] = 0.0;
    }
    *out = scores;
    return IMP_OK;
}

/* tiktoken's vocabularies need no merges: the rank of a merge is the id of its result. */
static ImpStatus rank_by_id(Loader *loader, float **out)
{
    const size_t count = (size_t)loader->tokens->count;
    float *scores = arena_alloc(&loader->tokenizer->arena, count, sizeof *scores);
    if (scores == NULL) return imp_fail_memory(count * sizeof *scores);
    for (size_t i = 0; i < count; i++) scores[i] = -(float)i;
    *out = scores;
    return IMP_OK;
}

/* "gpt2": byte-level BPE. */
static ImpStatus load_byte_level(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    Bpe *bpe = &tokenizer->model.bpe;
    const GgufValue *merges = NULL;
    float *ranks = NULL;
    if (is(loader->pre, "kimi-k2") && gguf_find(loader->meta, "tokenizer.ggml.merges") == NULL) {
        IMP_TRY(rank_by_id(loader, &ranks));
    } else {
        IMP_TRY(find_merges(loader, &merges));
    }
    if (pre_recipe_normalizes(loader->recipe)) IMP_TRY(add_normal(loader, NORMAL_NFC));
    IMP_TRY(pre_recipe_apply(loader->recipe, &tokenizer->patterns, &tokenizer->pre));
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, !pre_recipe_has_byte_chars(loader->recipe)));
    IMP_TRY(bpe_create(&tokenizer->arena, &tokenizer->vocab, merges == NULL ? 0 : (size_t)merges->count, ranks, bpe));
    bpe->ignore_merges = pre_recipe_ignores_merges(loader->recipe);
    if (merges != NULL) IMP_TRY(load_merges(merges, bpe));
    IMP_TRY(bpe_finish(bpe, &tokenizer->arena, false));
    return add_decode(loader, DECODE_BYTE_LEVEL);
}

/* Spaces to marks, with one in front where the model wants it. */
static ImpStatus add_marks(Loader *loader, bool prefix)
{
    Tokenizer *tokenizer = loader->tokenizer;
    if (prefix) {
        NormalStep *prepend = normalizer_add_step(&tokenizer->normalizer, NORMAL_PREPEND);
        if (prepend == NULL) return IMP_ERR_LIMIT;
        prepend->content = SPACE_MARK;
        prepend->content_length = SPACE_MARK_BYTES;
    }
    NormalStep *replace = normalizer_add_step(&tokenizer->normalizer, NORMAL_REPLACE);
    if (replace == NULL) return IMP_ERR_LIMIT;
    replace->content = SPACE_MARK;
    replace->content_length = SPACE_MARK_BYTES;
    return pattern_literal(&tokenizer->arena, " ", 1, &replace->pattern);
}

/* Marks to spaces, bytes to characters, and the first space off where one was added. */
static ImpStatus add_mark_decoder(Loader *loader, bool prefix)
{
    Tokenizer *tokenizer = loader->tokenizer;
    DecodeStep *replace = decoder_add_step(&tokenizer->decoder, DECODE_REPLACE);
    if (replace == NULL) return IMP_ERR_LIMIT;
    replace->content = " ";
    replace->content_length = 1;
    IMP_TRY(pattern_literal(&tokenizer->arena, SPACE_MARK, SPACE_MARK_BYTES, &replace->pattern));
    IMP_TRY(add_decode(loader, DECODE_BYTE_FALLBACK));
    IMP_TRY(add_decode(loader, DECODE_FUSE));
    if (!prefix) return IMP_OK;
    DecodeStep *strip = decoder_add_step(&tokenizer->decoder, DECODE_STRIP);
    if (strip == NULL) return IMP_ERR_LIMIT;
    strip->content = " ";
    strip->content_length = 1;
    strip->strip_start = 1;
    return IMP_OK;
}

/* What the two SentencePiece-like BPE models share. */
static ImpStatus load_marked_bpe(Loader *loader, const GgufValue *merges, const float *scores, bool prefix)
{
    Tokenizer *tokenizer = loader->tokenizer;
    Bpe *bpe = &tokenizer->model.bpe;
    IMP_TRY(add_marks(loader, prefix));
    IMP_TRY(add_mark_decoder(loader, prefix));
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    IMP_TRY(bpe_create(&tokenizer->arena, &tokenizer->vocab, merges == NULL ? 0 : (size_t)merges->count, scores, bpe));
    bpe->byte_fallback = true;
    bpe->fuse_unknown = true;
    bpe->unknown = id_of(loader, "tokenizer.ggml.unknown_token_id");
    if (merges != NULL) IMP_TRY(load_merges(merges, bpe));
    return bpe_finish(bpe, &tokenizer->arena, true);
}

/* "llama": BPE ranked by scores. */
static ImpStatus load_sentencepiece(Loader *loader)
{
    double *scores = NULL;
    IMP_TRY(load_scores(loader, &scores));
    float *ranks = arena_alloc(&loader->tokenizer->arena, (size_t)loader->tokens->count, sizeof *ranks);
    if (ranks == NULL) return imp_fail_memory((size_t)loader->tokens->count * sizeof *ranks);
    for (uint64_t i = 0; i < loader->tokens->count; i++) ranks[i] = (float)scores[i];
    return load_marked_bpe(loader, NULL, ranks, flag(loader, "tokenizer.ggml.add_space_prefix", true));
}

/* "gemma4": the same vocabulary with merges. */
static ImpStatus load_marked_merges(Loader *loader)
{
    const GgufValue *merges = NULL;
    IMP_TRY(find_merges(loader, &merges));
    return load_marked_bpe(loader, merges, NULL, flag(loader, "tokenizer.ggml.add_space_prefix", false));
}

static ImpStatus load_charsmap(Loader *loader)
{
    const GgufValue *map = find_array(loader, "tokenizer.ggml.precompiled_charsmap");
    if (map == NULL || map->count == 0) return IMP_OK;
    if (map->element_type != GGUF_U8 && map->element_type != GGUF_I8) {
        return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap is no array of bytes");
    }
    NormalStep *step = normalizer_add_step(&loader->tokenizer->normalizer, NORMAL_PRECOMPILED);
    if (step == NULL) return IMP_ERR_LIMIT;
    return precompiled_create(&loader->tokenizer->arena, map->as.array, (size_t)map->count, &step->precompiled);
}

/* "t5": Unigram. */
static ImpStatus load_unigram(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    Unigram *unigram = &tokenizer->model.unigram;
    double *scores = NULL;
    const bool prefix = flag(loader, "tokenizer.ggml.add_space_prefix", true);
    tokenizer->kind = MODEL_UNIGRAM;
    IMP_TRY(load_scores(loader, &scores));
    IMP_TRY(load_charsmap(loader));
    if (flag(loader, "tokenizer.ggml.remove_extra_whitespaces", false)) {
        PreStep *words = pre_add_step(&tokenizer->pre, PRE_SPLIT);
        if (words == NULL) return IMP_ERR_LIMIT;
        words->pattern = pattern_class(tokenizer->unicode, 0, UC_SPACE);
        words->behavior = SPLIT_REMOVED;
    }
    PreStep *marks = pre_add_step(&tokenizer->pre, PRE_METASPACE);
    PreStep *split = marks == NULL ? NULL : pre_add_step(&tokenizer->pre, PRE_SPLIT);
    if (split == NULL) return IMP_ERR_LIMIT;
    memcpy(marks->replacement, SPACE_MARK, SPACE_MARK_BYTES + 1);
    marks->prepend = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    IMP_TRY(pattern_literal(&tokenizer->arena, SPACE_MARK, SPACE_MARK_BYTES, &split->pattern));
    split->behavior = SPLIT_MERGED_WITH_NEXT;
    DecodeStep *decode = decoder_add_step(&tokenizer->decoder, DECODE_METASPACE);
    if (decode == NULL) return IMP_ERR_LIMIT;
    decode->content = SPACE_MARK;
    decode->content_length = SPACE_MARK_BYTES;
    decode->drop_first = prefix;
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    IMP_TRY(unigram_create(&tokenizer->arena, &tokenizer->vocab, scores, unigram));
    unigram->unknown = id_of(loader, "tokenizer.ggml.unknown_token_id");
    unigram->byte_fallback = unigram->fallback_ids[0] >= 0;
    return IMP_OK;
}

/* "bert": WordPiece. */
static ImpStatus load_wordpiece(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const bool lowercase = flag(loader, "tokenizer.ggml.normalizer.lowercase", true);
    tokenizer->kind = MODEL_WORDPIECE;
    IMP_TRY(add_normal(loader, NORMAL_CLEAN));
    IMP_TRY(add_normal(loader, NORMAL_SPACE_CHINESE));
    if (flag(loader, "tokenizer.ggml.normalizer.strip_accents", lowercase)) {
        IMP_TRY(add_normal(loader, NORMAL_NFD));
        IMP_TRY(add_normal(loader, NORMAL_STRIP_NONSPACING));
    }
    if (lowercase) IMP_TRY(add_normal(loader, NORMAL_LOWERCASE));
    PreStep *words = pre_add_step(&tokenizer->pre, PRE_SPLIT);
    PreStep *marks = words == NULL ? NULL : pre_add_step(&tokenizer->pre, PRE_SPLIT);
    if (marks == NULL) return IMP_ERR_LIMIT;
    words->pattern = pattern_class(tokenizer->unicode, 0, UC_SPACE);
    words->behavior = SPLIT_REMOVED;
    marks->pattern = pattern_class(tokenizer->unicode, 0, UC_OLD_PUNCT);
    marks->behavior = SPLIT_ISOLATED;
    DecodeStep *decode = decoder_add_step(&tokenizer->decoder, DECODE_WORDPIECE);
    if (decode == NULL) return IMP_ERR_LIMIT;
    decode->content = "##";
    decode->content_length = 2;
    decode->clean_up = true;
    int32_t unknown = id_of(loader, "tokenizer.ggml.unknown_token_id");
    if (unknown < 0) unknown = tokenizer_find_slow(tokenizer, "[UNK]", 5);
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    tokenizer->model.wordpiece = wordpiece_create(&tokenizer->vocab, "##", 100, unknown);
    return IMP_OK;
}

/* "whitespace": BPE over words of plain characters. */
static ImpStatus load_words(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    Bpe *bpe = &tokenizer->model.bpe;
    const GgufValue *merges = NULL;
    IMP_TRY(find_merges(loader, &merges));
    if (flag(loader, "tokenizer.ggml.normalizer.lowercase", false)) IMP_TRY(add_normal(loader, NORMAL_LOWERCASE));
    PreStep *words = pre_add_step(&tokenizer->pre, PRE_SPLIT);
    if (words == NULL) return IMP_ERR_LIMIT;
    words->pattern = pattern_class(tokenizer->unicode, 0, UC_SPACE);
    words->behavior = SPLIT_REMOVED;
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    IMP_TRY(bpe_create(&tokenizer->arena, &tokenizer->vocab, (size_t)merges->count, NULL, bpe));
    bpe->unknown = id_of(loader, "tokenizer.ggml.unknown_token_id");
    IMP_TRY(load_merges(merges, bpe));
    return bpe_finish(bpe, &tokenizer->arena, false);
}

static const GgufModel byte_level_model = {
    .name = "gpt2", .load = load_byte_level, .set_token = set_plain, .bos = -1, .eos = -1};
static const GgufModel marked_model = {
    .name = "gemma4", .load = load_marked_merges, .set_token = set_marked, .add_bos = true, .bos = -1, .eos = -1};
static const GgufModel sentencepiece_model = {
    .name = "llama", .load = load_sentencepiece, .set_token = set_marked, .add_bos = true, .bos = 1, .eos = 2};
static const GgufModel unigram_model = {
    .name = "t5", .load = load_unigram, .set_token = set_plain, .add_eos = true, .bos = -1, .eos = 1};
static const GgufModel wordpiece_model = {.name = "bert",
                                          .load = load_wordpiece,
                                          .set_token = set_wordpiece,
                                          .add_bos = true,
                                          .add_separator = true,
                                          .bos = -1,
                                          .eos = -1,
                                          .bos_text = "[CLS]",
                                          .separator_text = "[SEP]"};
static const GgufModel words_model = {
    .name = "whitespace", .load = load_words, .set_token = set_plain, .bos = -1, .eos = -1};
static const GgufModel *const models[] = {&byte_level_model, &marked_model,    &sentencepiece_model,
                                          &unigram_model,    &wordpiece_model, &words_model};

/* Some vocabularies of the marked kind say "gpt2", because they have merges. */
static bool marked_by_pre(const Loader *loader)
{
    return is(loader->pre, "gemma4") || is(loader->pre, "granite-embed-multi-311m") || is(loader->pre, "sarvam-moe");
}

static ImpStatus find_model(Loader *loader)
{
    GgufString name = {"", 0};
    (void)gguf_get_string(loader->meta, "tokenizer.ggml.model", &name);
    loader->pre = (GgufString){"default", 7};
    (void)gguf_get_string(loader->meta, "tokenizer.ggml.pre", &loader->pre);
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (is(name, models[i]->name)) loader->model = models[i];
    }
    if (loader->model == NULL) {
        return imp_fail(IMP_ERR_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported",
                        (int)(name.length < 100 ? name.length : 100), name.data);
    }
    if (loader->model != &byte_level_model) return IMP_OK;
    if (marked_by_pre(loader)) {
        loader->model = &marked_model;
        return IMP_OK;
    }
    loader->recipe = pre_recipe_find(loader->pre.data, loader->pre.length);
    if (loader->recipe != NULL) return IMP_OK;
    return imp_fail(IMP_ERR_UNSUPPORTED, "tokenizer.ggml.pre: the pre-tokenizer \"%.*s\" is not supported",
                    (int)(loader->pre.length < 100 ? loader->pre.length : 100), loader->pre.data);
}

static ImpStatus load_template(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const GgufModel *model = loader->model;
    const PreRecipe *recipe = loader->recipe;
    /* Gemma 4's files say that it has no beginning; its tokenizer.json has. */
    const bool always_bos = model == &marked_model && (!marked_by_pre(loader) || is(loader->pre, "gemma4"));
    const bool add_bos = always_bos || flag(loader, "tokenizer.ggml.add_bos_token",
                                            recipe == NULL ? model->add_bos : pre_recipe_adds_bos(recipe));
    const bool add_eos = flag(loader, "tokenizer.ggml.add_eos_token", model->add_eos);
    const bool add_separator = flag(loader, "tokenizer.ggml.add_sep_token",
                                    recipe == NULL ? model->add_separator : pre_recipe_adds_separator(recipe));
    int32_t separator = id_of(loader, "tokenizer.ggml.seperator_token_id");
    if (separator < 0) separator = id_of_text(loader, model->separator_text);
    TokenList before = {0}, after = {0};
    ImpStatus status = IMP_OK;
    if (add_bos && tokenizer->bos >= 0) IMP_GOTO(token_list_push(&before, tokenizer->bos));
    if (add_eos && tokenizer->eos >= 0) IMP_GOTO(token_list_push(&after, tokenizer->eos));
    if (add_separator && separator >= 0 && !add_eos) IMP_GOTO(token_list_push(&after, separator));
    IMP_GOTO(tokenizer_set_template(tokenizer, &before, &after));
fail:
    token_list_free(&before);
    token_list_free(&after);
    return status;
}

static void load_roles(Loader *loader)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    Tokenizer *tokenizer = loader->tokenizer;
    const GgufModel *model = loader->model;
    tokenizer->bos = id_of(loader, "tokenizer.ggml.bos_token_id");
    if (tokenizer->bos < 0) tokenizer->bos = id_of(loader, "tokenizer.ggml.cls_token_id");
    if (tokenizer->bos < 0) tokenizer->bos = id_of_text(loader, model->bos_text);
    if (tokenizer->bos < 0 && model->bos < tokenizer->vocab.count) tokenizer->bos = model->bos;
    tokenizer->eos = id_of(loader, "tokenizer.ggml.eos_token_id");
    if (tokenizer->eos < 0 && model->eos < tokenizer->vocab.count) tokenizer->eos = model->eos;
    tokenizer_add_end(tokenizer, tokenizer->eos);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) tokenizer_add_end(tokenizer, id_of(loader, ends[i]));
    tokenizer_add_known_ends(tokenizer);
}

ImpStatus tokenizer_load_gguf(Tokenizer *tokenizer, const GgufMeta *meta)
{
    Loader loader = {.tokenizer = tokenizer, .meta = meta};
    IMP_TRY(find_model(&loader));
    loader.tokens = find_array(&loader, "tokenizer.ggml.tokens");
    if (loader.tokens == NULL || loader.tokens->element_type != GGUF_STRING) {
        return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.tokens is no array of strings");
    }
    loader.types = find_array(&loader, "tokenizer.ggml.token_type");
    if (loader.types != NULL && loader.types->count < loader.tokens->count) {
        return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.token_type is shorter than tokenizer.ggml.tokens");
    }
    IMP_TRY(load_tokens(&loader));
    IMP_TRY(loader.model->load(&loader));
    IMP_TRY(tokenizer_index_added(tokenizer));
    load_roles(&loader);
    return load_template(&loader);
}
