/*
 * load_json.c - a tokenizer out of tokenizer.json and the configuration files next to it.
 *
 * tokenizer.json decides everything about ids. The other files only name tokens: the beginning and the end, what ends a
 * generation, and added tokens that the first one may lack.
 */
#include "text/tokenizer/tokenizer_internal.h"

#include "text/tokenizer/json_steps.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ADDED = 1 << 20 };

typedef struct Loader {
    Tokenizer *tokenizer;
    const json_t *json, *model;
    const json_t *tokenizer_config, *config, *generation_config; /* NULL where absent */
    size_t n_model;                                              /* entries of the model's vocabulary */
} Loader;

/* The largest id that a value names; -1 when it is none. */
static int64_t id_value(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 ? (int64_t)json_integer_value(value) : -1;
}

/* One more than the largest id in sight. */
static ImpStatus count_ids(const Loader *loader, size_t *out)
{
    const json_t *vocab = json_object_get(loader->model, "vocab"),
                 *added = json_object_get(loader->json, "added_tokens");
    int64_t last = -1;
    if (json_is_array(vocab)) {
        last = (int64_t)json_array_size(vocab) - 1;
    } else {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)vocab, key, value)
        {
            const int64_t id = id_value(value);
            if (id < 0) return imp_fail(IMP_ERR_FORMAT, "model: the id of the token \"%.100s\" is no id", key);
            if (id > last) last = id;
        }
    }
    /* Added tokens may be given fresh ids behind all others. */
    int64_t fresh = last + 1 + (int64_t)json_array_size(added);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const int64_t id = id_value(json_object_get(json_array_get(added, i), "id"));
        if (id >= fresh) fresh = id + 1;
    }
    const json_t *more = json_object_get(loader->tokenizer_config, "added_tokens_decoder");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)more, key, value)
    {
        const long long id = strtoll(key, NULL, 10);
        if (id >= fresh && id < VOCAB_MAX_IDS) fresh = id + 1;
    }
    if (fresh > VOCAB_MAX_IDS)
        return imp_fail(IMP_ERR_LIMIT, "ids go up to %lld, more than %d", (long long)fresh, VOCAB_MAX_IDS);
    *out = (size_t)fresh;
    return IMP_OK;
}

/* {"token": id, …}, or for Unigram [["token", score], …]. */
static ImpStatus load_vocab(Loader *loader, double **scores)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const json_t *vocab = json_object_get(loader->model, "vocab");
    size_t count = 0;
    if (!json_is_object(vocab) && !json_is_array(vocab)) return imp_fail(IMP_ERR_FORMAT, "model: \"vocab\" is missing");
    IMP_TRY(count_ids(loader, &count));
    const json_t *added = json_object_get(loader->json, "added_tokens");
    const json_t *more = json_object_get(loader->tokenizer_config, "added_tokens_decoder");
    const size_t n_added = json_array_size(added) + json_object_size(more);
    if (n_added > MAX_ADDED) return imp_fail(IMP_ERR_LIMIT, "more than %d added tokens", MAX_ADDED);
    IMP_TRY(tokenizer_create_vocab(tokenizer, count == 0 ? 1 : count, n_added));
    if (json_is_object(vocab)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)vocab, key, value)
        {
            IMP_TRY(vocab_set(&tokenizer->vocab, &tokenizer->arena, (int32_t)id_value(value), key, strlen(key),
                              VOCAB_MODEL));
        }
        loader->n_model = json_object_size(vocab);
        return IMP_OK;
    }
    loader->n_model = json_array_size(vocab);
    *scores = arena_alloc(&tokenizer->arena, (size_t)tokenizer->vocab.count, sizeof **scores);
    if (*scores == NULL) return imp_fail_memory(count * sizeof **scores);
    for (size_t i = 0; i < loader->n_model; i++) {
        const json_t *text = json_array_get(json_array_get(vocab, i), 0),
                     *score = json_array_get(json_array_get(vocab, i), 1);
        if (!json_is_string(text) || !json_is_number(score))
            return imp_fail(IMP_ERR_FORMAT, "model: entry %zu of \"vocab\" is no token with a score", i);
        (*scores)[i] = json_number_value(score);
        IMP_TRY(vocab_set(&tokenizer->vocab, &tokenizer->arena, (int32_t)i, json_string_value(text),
                          json_string_length(text), VOCAB_MODEL));
    }
    return IMP_OK;
}

/* An optional string of the model, NULL when absent, null or empty. */
static ImpStatus optional_text(Loader *loader, const char *key, const char **out, size_t *length)
{
    IMP_TRY(json_text(loader->tokenizer, loader->model, key, "", out, length));
    if (*length == 0) *out = NULL;
    return IMP_OK;
}

/* The id of the token that a key of the model names; -1 when there is none. */
static ImpStatus named_token(Loader *loader, const char *key, int32_t *id)
{
    const char *text;
    size_t length = 0;
    IMP_TRY(optional_text(loader, key, &text, &length));
    *id = text == NULL ? -1 : tokenizer_find_slow(loader->tokenizer, text, length);
    return IMP_OK;
}

/* "left right" or ["left", "right"]. */
static ImpStatus load_merges(const json_t *merges, Bpe *bpe)
{
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i), *left = json_array_get(merge, 0),
                     *right = json_array_get(merge, 1);
        if (json_is_string(left) && json_is_string(right)) {
            IMP_TRY(bpe_add_merge(bpe, json_string_value(left), json_string_length(left), json_string_value(right),
                                  json_string_length(right), (uint32_t)i));
            continue;
        }
        const char *text = json_string_value(merge);
        const size_t length = text == NULL ? 0 : json_string_length(merge);
        if (text != NULL && strncmp(text, "#version", 8) == 0) continue;
        const char *space = text == NULL ? NULL : memchr(text, ' ', length);
        if (space == NULL || memchr(space + 1, ' ', length - (size_t)(space + 1 - text)) != NULL) {
            return imp_fail(IMP_ERR_FORMAT, "entry %zu of \"merges\" is no pair", i);
        }
        const size_t left_length = (size_t)(space - text);
        IMP_TRY(bpe_add_merge(bpe, text, left_length, space + 1, length - left_length - 1, (uint32_t)i));
    }
    return IMP_OK;
}

/* Whether words reach the model as byte-level characters and only as those, so that raw bytes can take their place. */
static bool ends_in_byte_chars(const Tokenizer *tokenizer)
{
    const PreTokenizer *pre = &tokenizer->pre;
    if (pre->count == 0 || pre->steps[pre->count - 1].kind != PRE_BYTE_CHARS) return false;
    for (size_t i = 0; i + 1 < pre->count; i++) {
        if (pre->steps[i].kind == PRE_BYTE_CHARS) return false;
    }
    for (size_t i = 0; i < tokenizer->normalizer.count; i++) {
        if (tokenizer->normalizer.steps[i].kind == NORMAL_BYTE_CHARS) return false;
    }
    return true;
}

/* Whether some step cuts text into words. */
static bool cuts_words(const Tokenizer *tokenizer)
{
    for (size_t i = 0; i < tokenizer->pre.count; i++) {
        const PreStep *step = &tokenizer->pre.steps[i];
        if (step->kind == PRE_FIXED_LENGTH) return true;
        if (step->kind == PRE_SPLIT && step->pattern.kind != PATTERN_LITERAL) return true;
    }
    return false;
}

static ImpStatus load_bpe(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    Bpe *bpe = &tokenizer->model.bpe;
    double *scores;
    IMP_TRY(load_vocab(loader, &scores));
    if (json_is_array(json_object_get(loader->model, "vocab"))) return imp_fail(IMP_ERR_FORMAT, "\"vocab\" is a list");
    const char *prefix, *suffix;
    size_t length = 0;
    bool fallback;
    IMP_TRY(optional_text(loader, "continuing_subword_prefix", &prefix, &length));
    IMP_TRY(optional_text(loader, "end_of_word_suffix", &suffix, &length));
    IMP_TRY(json_flag(loader->model, "byte_fallback", false, &fallback));
    const bool bytes = prefix == NULL && suffix == NULL && !fallback && ends_in_byte_chars(tokenizer);
    if (bytes) tokenizer->pre.count--; /* the model takes the bytes themselves */
    const json_t *merges = json_object_get(loader->model, "merges");
    if (!json_is_array(merges)) return imp_fail(IMP_ERR_FORMAT, "\"merges\" is missing");
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, bytes));
    IMP_TRY(bpe_create(&tokenizer->arena, &tokenizer->vocab, json_array_size(merges), NULL, bpe));
    bpe->word_prefix = prefix;
    bpe->word_suffix = suffix;
    bpe->byte_fallback = fallback;
    IMP_TRY(json_flag(loader->model, "fuse_unk", false, &bpe->fuse_unknown));
    IMP_TRY(json_flag(loader->model, "ignore_merges", false, &bpe->ignore_merges));
    IMP_TRY(named_token(loader, "unk_token", &bpe->unknown));
    IMP_TRY(load_merges(merges, bpe));
    return bpe_finish(bpe, &tokenizer->arena, !cuts_words(tokenizer));
}

static ImpStatus load_unigram(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    Unigram *unigram = &tokenizer->model.unigram;
    double *scores = NULL;
    tokenizer->kind = MODEL_UNIGRAM;
    IMP_TRY(load_vocab(loader, &scores));
    if (scores == NULL) return imp_fail(IMP_ERR_FORMAT, "\"vocab\" is no list of tokens with scores");
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    IMP_TRY(unigram_create(&tokenizer->arena, &tokenizer->vocab, scores, unigram));
    const json_t *unknown = json_object_get(loader->model, "unk_id");
    if (unknown != NULL && !json_is_null(unknown)) {
        const int64_t id = id_value(unknown);
        if (id < 0 || id >= (int64_t)loader->n_model)
            return imp_fail(IMP_ERR_FORMAT, "\"unk_id\" is outside the vocabulary");
        unigram->unknown = (int32_t)id;
    }
    return json_flag(loader->model, "byte_fallback", false, &unigram->byte_fallback);
}

static ImpStatus load_wordpiece(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    double *scores = NULL;
    tokenizer->kind = MODEL_WORDPIECE;
    IMP_TRY(load_vocab(loader, &scores));
    if (scores != NULL) return imp_fail(IMP_ERR_FORMAT, "\"vocab\" is a list");
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    const char *prefix;
    size_t length = 0;
    int32_t unknown;
    const json_t *most = json_object_get(loader->model, "max_input_chars_per_word");
    IMP_TRY(json_text(tokenizer, loader->model, "continuing_subword_prefix", "##", &prefix, &length));
    IMP_TRY(named_token(loader, "unk_token", &unknown));
    const int64_t characters = most == NULL ? 100 : id_value(most);
    if (characters < 0) return imp_fail(IMP_ERR_FORMAT, "\"max_input_chars_per_word\" is no count");
    tokenizer->model.wordpiece = wordpiece_create(&tokenizer->vocab, prefix, (size_t)characters, unknown);
    return IMP_OK;
}

static ImpStatus load_wordlevel(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    double *scores = NULL;
    int32_t unknown;
    tokenizer->kind = MODEL_WORDPIECE;
    IMP_TRY(load_vocab(loader, &scores));
    if (scores != NULL) return imp_fail(IMP_ERR_FORMAT, "\"vocab\" is a list");
    IMP_TRY(vocab_index(&tokenizer->vocab, &tokenizer->arena, false));
    IMP_TRY(named_token(loader, "unk_token", &unknown));
    tokenizer->model.wordpiece = wordlevel_create(&tokenizer->vocab, unknown);
    return IMP_OK;
}

/* Files from before models had a type are told apart by their fields. */
static const char *model_type(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type != NULL) return type;
    if (json_object_get(model, "merges") != NULL) return "BPE";
    if (json_is_array(json_object_get(model, "vocab"))) return "Unigram";
    return json_object_get(model, "max_input_chars_per_word") != NULL ? "WordPiece" : "WordLevel";
}

static ImpStatus load_model(Loader *loader)
{
    static const struct {
        const char *type;
        ImpStatus (*load)(Loader *loader);
    } models[] = {
        {"BPE", load_bpe}, {"Unigram", load_unigram}, {"WordPiece", load_wordpiece}, {"WordLevel", load_wordlevel}};
    loader->model = json_object_get(loader->json, "model");
    if (!json_is_object(loader->model)) return imp_fail(IMP_ERR_FORMAT, "\"model\" is missing");
    const char *type = model_type(loader->model);
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strcmp(models[i].type, type) != 0) continue;
        const ImpStatus status = models[i].load(loader);
        return status == IMP_OK ? IMP_OK : imp_fail_prefix(status, "model");
    }
    return imp_fail(IMP_ERR_UNSUPPORTED, "a model of type \"%s\" is not supported", type);
}

static int32_t find_content(const Loader *loader, const json_t *content)
{
    return vocab_find(&loader->tokenizer->vocab, json_string_value(content), json_string_length(content));
}

static ImpStatus add_token(Loader *loader, const json_t *entry, int32_t id)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const json_t *content = json_object_get(entry, "content");
    AddedToken token = {.id = id};
    IMP_TRY(json_flag(entry, "special", false, &token.special));
    IMP_TRY(json_flag(entry, "single_word", false, &token.single_word));
    IMP_TRY(json_flag(entry, "lstrip", false, &token.strip_left));
    IMP_TRY(json_flag(entry, "rstrip", false, &token.strip_right));
    IMP_TRY(json_flag(entry, "normalized", !token.special, &token.normalized));
    const unsigned flags = VOCAB_ADDED | (token.special ? VOCAB_SPECIAL : 0u);
    VocabToken *known = &tokenizer->vocab.tokens[id];
    if ((known->flags & VOCAB_MODEL) != 0 && id != find_content(loader, content)) {
        /* The ids of the model have gaps, and its last tokens share theirs with the first added ones. */
        known->flags |= (uint8_t)(flags | VOCAB_SHARED);
        token.length = (uint32_t)json_string_length(content);
        token.content = arena_string(&tokenizer->arena, json_string_value(content), token.length);
        if (token.content == NULL) return imp_fail_memory(token.length);
    } else {
        IMP_TRY(vocab_set(&tokenizer->vocab, &tokenizer->arena, id, json_string_value(content),
                          json_string_length(content), flags));
        token.content = known->text;
        token.length = known->text_length;
    }
    tokenizer->added.tokens[tokenizer->added.count++] = token;
    return IMP_OK;
}

/* A token that the model does not know gets the next id behind the model's, whatever the file says: the reference's
 * rule. */
static ImpStatus load_added(Loader *loader)
{
    const json_t *list = json_object_get(loader->json, "added_tokens");
    int32_t next = (int32_t)loader->n_model;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i), *content = json_object_get(entry, "content");
        if (!json_is_string(content))
            return imp_fail(IMP_ERR_FORMAT, "entry %zu of \"added_tokens\" has no \"content\"", i);
        if (json_string_length(content) == 0) continue;
        int32_t id = tokenizer_find(loader->tokenizer, json_string_value(content), json_string_length(content));
        if (id < 0) id = next++;
        IMP_TRY(add_token(loader, entry, id));
    }
    const json_t *more = json_object_get(loader->tokenizer_config, "added_tokens_decoder");
    const char *key;
    json_t *entry;
    json_object_foreach((json_t *)more, key, entry)
    {
        const long long id = strtoll(key, NULL, 10);
        const json_t *content = json_object_get(entry, "content");
        if (!json_is_string(content) || json_string_length(content) == 0 || id < 0 ||
            id >= loader->tokenizer->vocab.count)
            continue;
        if (loader->tokenizer->vocab.tokens[id].text == NULL) IMP_TRY(add_token(loader, entry, (int32_t)id));
    }
    return tokenizer_index_added(loader->tokenizer);
}

/* "bos_token": a string, or an object with the string under "content". */
static int32_t configured_token(const Loader *loader, const char *key)
{
    const json_t *value = json_object_get(loader->tokenizer_config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (!json_is_string(value)) return -1;
    return tokenizer_find(loader->tokenizer, json_string_value(value), json_string_length(value));
}

/* An id or a list of ids. */
static void add_ends(Tokenizer *tokenizer, const json_t *value)
{
    tokenizer_add_end(tokenizer, id_value(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        tokenizer_add_end(tokenizer, id_value(json_array_get(value, i)));
}

static int32_t first_id(const Tokenizer *tokenizer, const json_t *value)
{
    const int64_t id = id_value(json_is_array(value) ? json_array_get(value, 0) : value);
    return id >= 0 && id < tokenizer->vocab.count ? (int32_t)id : -1;
}

static void load_roles(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    const json_t *sources[] = {loader->generation_config, loader->config,
                               json_object_get(loader->config, "text_config")};
    tokenizer->bos = configured_token(loader, "bos_token");
    tokenizer->eos = configured_token(loader, "eos_token");
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const json_t *eos = json_object_get(sources[i], "eos_token_id");
        add_ends(tokenizer, eos);
        if (tokenizer->eos < 0) tokenizer->eos = first_id(tokenizer, eos);
        if (tokenizer->bos < 0) tokenizer->bos = first_id(tokenizer, json_object_get(sources[i], "bos_token_id"));
    }
    tokenizer_add_end(tokenizer, tokenizer->eos);
    tokenizer_add_known_ends(tokenizer);
}

/* The post-processor decides; without one, the configuration's add_bos_token and add_eos_token do. */
static ImpStatus load_template(Loader *loader)
{
    Tokenizer *tokenizer = loader->tokenizer;
    TokenList before = {0}, after = {0};
    ImpStatus status = IMP_OK;
    const json_t *processor = json_object_get(loader->json, "post_processor");
    IMP_GOTO(json_load_post_processor(tokenizer, processor, &before, &after));
    if (processor == NULL || json_is_null(processor)) {
        const bool bos = json_is_true(json_object_get(loader->tokenizer_config, "add_bos_token"));
        const bool eos = json_is_true(json_object_get(loader->tokenizer_config, "add_eos_token"));
        if (bos && tokenizer->bos >= 0) IMP_GOTO(token_list_push(&before, tokenizer->bos));
        if (eos && tokenizer->eos >= 0) IMP_GOTO(token_list_push(&after, tokenizer->eos));
    }
    if (tokenizer->bos < 0 && before.count > 0)
        tokenizer->bos = before.ids[0]; /* no file names it, but it comes first */
    IMP_GOTO(tokenizer_set_template(tokenizer, &before, &after));
fail:
    token_list_free(&before);
    token_list_free(&after);
    return status;
}

ImpStatus tokenizer_load_json(Tokenizer *tokenizer, const json_t *json, const json_t *tokenizer_config,
                              const json_t *config, const json_t *generation_config)
{
    Loader loader = {.tokenizer = tokenizer,
                     .json = json,
                     .tokenizer_config = tokenizer_config,
                     .config = config,
                     .generation_config = generation_config};
    if (!json_is_object(json)) return imp_fail(IMP_ERR_FORMAT, "tokenizer.json holds no object");
    IMP_TRY(json_load_normalizer(tokenizer, json_object_get(json, "normalizer")));
    IMP_TRY(json_load_pre_tokenizer(tokenizer, json_object_get(json, "pre_tokenizer")));
    IMP_TRY(json_load_decoder(tokenizer, json_object_get(json, "decoder")));
    IMP_TRY(load_model(&loader));
    IMP_TRY(load_added(&loader));
    load_roles(&loader);
    return load_template(&loader);
}
