/*
 * load_gguf.c - a tokenizer out of a GGUF file's tokenizer.ggml.* keys.
 *
 * The file holds the tokens, their types and either merges or scores; what else the model's own tokenizer does has to be
 * concluded from the model's kind and the name of its pre-tokenizer.
 */
#include "text/tokenizer/tokenizer_internal.h"

#include "text/tokenizer/pre_names.h"

#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

static const char space_mark[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's space */

typedef struct Loader {
    Tokenizer *tokenizer;
    const GgufMeta *meta;
    const GgufValue *tokens, *types, *scores, *merges; /* NULL where absent */
} Loader;

static const GgufValue *find_array(const GgufMeta *meta, const char *key, uint64_t count)
{
    const GgufValue *value = gguf_find(meta, key);
    return value != NULL && value->type == GGUF_ARRAY && (count == 0 || value->count == count) ? value : NULL;
}

static int64_t type_of(const Loader *loader, uint64_t index)
{
    int64_t type = TYPE_NORMAL;
    if (loader->types != NULL) (void)gguf_array_i64(loader->types, index, &type);
    return type;
}

static bool is(GgufString string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.data, text, string.length) == 0;
}

static ImpStatus load_tokens(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const uint64_t count = loader->tokens->count;
    if (count > VOCAB_MAX_IDS) return imp_fail(IMP_ERR_LIMIT, "too many tokens");
    IMP_TRY(tokenizer_create_vocab(tokenizer, (size_t)count, (size_t)count));
    for (uint64_t i = 0; i < count; i++) {
        const GgufString text = loader->tokens->as.strings[i];
        const int64_t type = type_of(loader, i);
        const bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
        const bool added = special || type == TYPE_USER_DEFINED;
        const bool in_model = type == TYPE_NORMAL || type == TYPE_BYTE || type == TYPE_USER_DEFINED;
        const unsigned flags = (in_model ? VOCAB_MODEL : 0u) | (added ? VOCAB_ADDED : 0u) | (special ? VOCAB_SPECIAL : 0u);
        IMP_TRY(vocab_set(&tokenizer->vocab, &tokenizer->arena, (int32_t)i, text.data, text.length, flags));
        if (!added || text.length == 0) continue;
        const VocabToken *token = &tokenizer->vocab.tokens[i];
        tokenizer->added.tokens[tokenizer->added.count++] =
            (AddedToken){.content = token->text, .length = token->text_length, .id = (int32_t)i, .special = special};
    }
    return tokenizer_index_added(tokenizer);
}

/* An id under a key; -1 when absent or out of range. */
static int32_t id_of(const Loader *loader, const char *key)
{
    int64_t id;
    if (!gguf_get_i64(loader->meta, key, &id) || id < 0 || id >= loader->tokenizer->vocab.count) return -1;
    return (int32_t)id;
}

/* "left right": the first space after the first character parts them. */
static ImpStatus load_merges(Loader *loader, Bpe *bpe)
{
    for (uint64_t i = 0; i < loader->merges->count; i++) {
        const GgufString merge = loader->merges->as.strings[i];
        const char *space = merge.length < 2 ? NULL : memchr(merge.data + 1, ' ', merge.length - 1);
        if (space == NULL) return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.merges: entry %llu has no space", (unsigned long long)i);
        const size_t left = (size_t)(space - merge.data);
        IMP_TRY(bpe_add_merge(bpe, merge.data, left, space + 1, merge.length - left - 1, (uint32_t)i));
    }
    return IMP_OK;
}

/* GGUF "gpt2": byte-level BPE. */
static ImpStatus load_byte_level(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    GgufString name = {"default", 7};
    (void)gguf_get_string(loader->meta, "tokenizer.ggml.pre", &name);
    const PreRecipe *recipe = pre_recipe_find(name.data, name.length);
    if (recipe == NULL) {
        return imp_fail(IMP_ERR_UNSUPPORTED, "tokenizer.ggml.pre: the pre-tokenizer \"%.*s\" is unknown",
                        (int)(name.length < 100 ? name.length : 100), name.data);
    }
    loader->merges = find_array(loader->meta, "tokenizer.ggml.merges", 0);
    if (loader->merges == NULL || loader->merges->element_type != GGUF_STRING) {
        return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.merges is missing or no array of strings");
    }
    IMP_TRY(pre_recipe_apply(recipe, &tokenizer->arena, tokenizer->unicode, &tokenizer->pre));
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, true));
    IMP_TRY(bpe_create(&tokenizer->arena, &tokenizer->vocab, (size_t)loader->merges->count, NULL, &tokenizer->model.bpe));
    tokenizer->model.bpe.ignore_merges = pre_recipe_ignores_merges(recipe);
    IMP_TRY(load_merges(loader, &tokenizer->model.bpe));
    IMP_TRY(bpe_finish(&tokenizer->model.bpe, &tokenizer->arena, false));
    return decoder_add_step(&tokenizer->decoder, DECODE_BYTE_LEVEL) == NULL ? IMP_ERR_LIMIT : IMP_OK;
}

/* GGUF "llama": SentencePiece BPE. */
static ImpStatus load_sentencepiece(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    loader->scores = find_array(loader->meta, "tokenizer.ggml.scores", loader->tokens->count);
    if (loader->scores == NULL) return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.scores is missing or not as long as the tokens");
    float *scores = arena_alloc(&tokenizer->arena, (size_t)loader->tokens->count, sizeof *scores);
    if (scores == NULL) return imp_fail_memory((size_t)loader->tokens->count * sizeof *scores);
    for (uint64_t i = 0; i < loader->tokens->count; i++) {
        double score;
        if (!gguf_array_f64(loader->scores, i, &score)) return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.scores holds no numbers");
        scores[i] = (float)score;
    }
    bool prefix = true;
    (void)gguf_get_bool(loader->meta, "tokenizer.ggml.add_space_prefix", &prefix);
    PreStep *step = pre_add_step(&tokenizer->pre, PRE_METASPACE);
    if (step == NULL) return IMP_ERR_LIMIT;
    memcpy(step->replacement, space_mark, sizeof space_mark);
    step->prepend = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    IMP_TRY(bpe_create(&tokenizer->arena, &tokenizer->vocab, 0, scores, &tokenizer->model.bpe));
    tokenizer->model.bpe.byte_fallback = true;
    tokenizer->model.bpe.fuse_unknown = true;
    tokenizer->model.bpe.unknown = id_of(loader, "tokenizer.ggml.unknown_token_id");
    IMP_TRY(bpe_finish(&tokenizer->model.bpe, &tokenizer->arena, true));
    DecodeStep *replace = decoder_add_step(&tokenizer->decoder, DECODE_REPLACE);
    if (replace == NULL || decoder_add_step(&tokenizer->decoder, DECODE_BYTE_FALLBACK) == NULL) return IMP_ERR_LIMIT;
    IMP_TRY(pattern_literal(&tokenizer->arena, space_mark, strlen(space_mark), &replace->pattern));
    replace->content = " ";
    replace->content_length = 1;
    if (!prefix) return IMP_OK;
    DecodeStep *strip = decoder_add_step(&tokenizer->decoder, DECODE_FUSE) == NULL ? NULL : decoder_add_step(&tokenizer->decoder, DECODE_STRIP);
    if (strip == NULL) return IMP_ERR_LIMIT;
    strip->content = " ";
    strip->content_length = 1;
    strip->strip_start = 1;
    return IMP_OK;
}

typedef struct GgufModel {
    const char *name;
    ImpStatus (*load)(Loader *loader);
    bool add_bos, add_eos; /* when the file does not say */
} GgufModel;

static const GgufModel models[] = {
    {"gpt2", load_byte_level, false, false},
    {"llama", load_sentencepiece, true, false},
};

static ImpStatus load_template(Loader *loader, const GgufModel *model)
{
    Tokenizer *tokenizer = loader->tokenizer;
    bool add_bos = model->add_bos, add_eos = model->add_eos;
    GgufString pre;
    if (strcmp(model->name, "gpt2") == 0 && gguf_get_string(loader->meta, "tokenizer.ggml.pre", &pre)) {
        add_bos = pre_recipe_adds_bos(pre_recipe_find(pre.data, pre.length));
    }
    (void)gguf_get_bool(loader->meta, "tokenizer.ggml.add_bos_token", &add_bos);
    (void)gguf_get_bool(loader->meta, "tokenizer.ggml.add_eos_token", &add_eos);
    TokenList before = {0}, after = {0};
    ImpStatus status = IMP_OK;
    if (add_bos && tokenizer->bos >= 0) IMP_GOTO(token_list_push(&before, tokenizer->bos));
    if (add_eos && tokenizer->eos >= 0) IMP_GOTO(token_list_push(&after, tokenizer->eos));
    IMP_GOTO(tokenizer_set_template(tokenizer, &before, &after));
fail:
    token_list_free(&before);
    token_list_free(&after);
    return status;
}

/* Ends of generation: the ids that the file names, and control tokens that end a turn whatever their model. */
static void load_ends(Loader *loader)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    Tokenizer *tokenizer = loader->tokenizer;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) tokenizer_add_end(tokenizer, id_of(loader, keys[i]));
    tokenizer_add_known_ends(tokenizer);
}

ImpStatus tokenizer_load_gguf(Tokenizer *tokenizer, const GgufMeta *meta)
{
    Loader loader = {.tokenizer = tokenizer, .meta = meta};
    GgufString name = {"", 0};
    (void)gguf_get_string(meta, "tokenizer.ggml.model", &name);
    const GgufModel *model = NULL;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (is(name, models[i].name)) model = &models[i];
    }
    if (model == NULL) {
        return imp_fail(IMP_ERR_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is unknown", (int)(name.length < 100 ? name.length : 100), name.data);
    }
    loader.tokens = find_array(meta, "tokenizer.ggml.tokens", 0);
    if (loader.tokens == NULL || loader.tokens->element_type != GGUF_STRING) {
        return imp_fail(IMP_ERR_FORMAT, "tokenizer.ggml.tokens is no array of strings");
    }
    loader.types = find_array(meta, "tokenizer.ggml.token_type", loader.tokens->count);
    IMP_TRY(load_tokens(&loader));
    IMP_TRY(model->load(&loader));
    tokenizer->bos = id_of(&loader, "tokenizer.ggml.bos_token_id");
    tokenizer->eos = id_of(&loader, "tokenizer.ggml.eos_token_id");
    load_ends(&loader);
    return load_template(&loader, model);
}
