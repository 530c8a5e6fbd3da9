/* test_lifetime.c - handles, structures that grow, and every way to ask for the impossible. */
#include "api_test.h"

static void models_tell_what_they_are(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    ImpModelInfo info = {.size = sizeof info};
    assert_ok(imp_model_info(model, &info));
    assert_string_equal(info.architecture, "llama");
    assert_string_equal(info.name, "Tiny Random");
    assert_string_equal(info.weight_type, "F32");
    assert_int_equal(info.format, IMP_FORMAT_GGUF);
    assert_true(info.has_weights && info.has_vocabulary && info.has_chat_template && info.adds_bos);
    assert_int_equal(info.n_layers, 2);
    assert_int_equal(info.n_embd, 32);
    assert_int_equal(info.n_vocab, 267);
    assert_int_equal(info.n_ctx_train, 4096);
    assert_int_equal(info.bos, 0);
    assert_int_equal(info.eos, 2);
    /* Two embeddings of 267, and two layers of q, o (32 rows), k, v (16) and three of 48 over 32; the file has norms
     * too. */
    assert_int_equal(info.n_parameters, 2 * 267 * 32 + 2 * (96 * 32 + 3 * 48 * 32));
    assert_int_equal(info.weight_bytes, 4 * (info.n_parameters + 2 * 64 + 32));
    assert_true(info.bytes_per_token > 0 && info.bytes_per_token < info.weight_bytes);

    /* An older program's structure is shorter, and what lies behind it stays untouched. */
    ImpModelInfo old;
    memset(&old, 0x55, sizeof old);
    old.size = offsetof(ImpModelInfo, n_embd);
    assert_ok(imp_model_info(model, &old));
    assert_int_equal(old.n_layers, 2);
    assert_int_equal(old.n_embd, 0x55555555);
    old.size = 0;
    assert_fails(imp_model_info(model, &old), IMP_ERR_INVALID_ARGUMENT, "ImpModelInfo.size is 0");
    imp_model_free(model);
}

static void older_structures_work(void **state)
{
    (void)state;
    struct {
        ImpConfig config;
        unsigned char behind[16];
    } guarded;
    memset(&guarded, 0x77, sizeof guarded);
    imp_config_init(&guarded.config, offsetof(ImpConfig, max_sequences));
    assert_int_equal(guarded.config.size, offsetof(ImpConfig, max_sequences));
    assert_int_equal(guarded.config.gpu_layers, -1);
    assert_int_equal(guarded.config.max_sequences, 0x77777777);

    ImpModel model = open_model(TINY_MODEL);
    ImpContext context;
    guarded.config.n_threads = 1;
    guarded.config.max_seq_len = 64;
    assert_ok(imp_context_create(model, &guarded.config, &context));
    assert_int_equal(imp_context_capacity(context), 64);
    imp_context_free(context);

    /* A newer program's is longer: the rest is zero, and the size says what is known. */
    memset(&guarded, 0x77, sizeof guarded);
    imp_config_init(&guarded.config, sizeof guarded);
    assert_int_equal(guarded.config.size, sizeof(ImpConfig));
    assert_int_equal(guarded.behind[0], 0);
    assert_int_equal(guarded.behind[15], 0);

    ImpGenerateParams params = imp_generate_params_default();
    char text[100];
    context = open_context(model);
    params.size = 4;
    assert_fails(imp_generate(context, "x", &params, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "start from imp_generate_params_default()");
    params.size = sizeof params + 8;
    assert_fails(imp_generate(context, "x", &params, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "ImpGenerateParams.size");
    imp_context_free(context);
    imp_model_free(model);
}

static void documented_defaults_hold(void **state)
{
    (void)state;
    const ImpGenerateParams params = imp_generate_params_default();
    assert_int_equal(params.max_tokens, 256);
    assert_int_equal(params.top_k, 40);
    assert_true(params.temperature == 0.7f && params.top_p == 0.9f && params.min_p == 0.0f && params.typical_p == 1.0f);
    assert_true(params.repeat_penalty == 1.0f && params.dry_multiplier == 0.0f && params.dry_base == 1.75f);
    assert_int_equal(params.n_dry_breakers, 4);
    assert_string_equal(params.dry_breakers[2], "\"");
    assert_int_equal(params.n_order, 7);
    assert_int_equal(params.order[0], IMP_SAMPLER_PENALTIES);
    assert_int_equal(params.order[6], IMP_SAMPLER_TEMPERATURE);
    const ImpConfig config = imp_config_default();
    assert_int_equal(config.prefill_chunk_size, 0);
    assert_int_equal(config.max_sequences, 1);
    assert_int_equal(config.gpu_layers, -1);
}

static void a_context_keeps_its_model(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    ImpContext context = open_context(model);
    ImpDetokenizer stream;
    const ImpGenerateParams params = steady_params(5);
    const char *piece;
    assert_ok(imp_detokenizer_create(model, true, &stream));
    imp_model_free(model);
    assert_ok(imp_generate_stream(context, "the", &params, NULL, NULL));
    imp_context_free(context);
    assert_ok(imp_detokenizer_push(stream, 1, &piece, NULL));
    assert_string_equal(piece, "<|im_start|>");
    imp_detokenizer_free(stream);
}

static bool stop_loading(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return strcmp(what, "load") != 0;
}

/* Contexts come and go on one model; one that could not be made leaves no trace. */
static void contexts_come_and_go(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    const ImpGenerateParams params = steady_params(8);
    char expected[200], text[200];
    ImpContext first = open_context(model), second = open_context(model), third;
    assert_ok(imp_generate(first, "and", &params, expected, sizeof expected, NULL));
    assert_ok(imp_generate(second, "and", &params, text, sizeof text, NULL));
    assert_string_equal(text, expected);
    ImpConfig config = small_config();
    config.cpu_isa = IMP_CPU_PORTABLE;
    assert_fails(imp_context_create(model, &config, &third), IMP_ERR_INVALID_ARGUMENT, "another cpu_isa");
    assert_null(third);
    imp_context_free(first);
    for (int i = 0; i < 5; i++) {
        third = open_context(model);
        assert_ok(imp_generate(third, "and", &params, text, sizeof text, NULL));
        assert_string_equal(text, expected);
        imp_context_free(third);
    }
    imp_context_free(second);
    imp_model_free(model);

    /* Loading that is stopped, where there is anything to prepare, can be begun again. */
    model = open_model(TINY_MODEL);
    config = small_config();
    config.repack = IMP_REPACK_ALWAYS;
    config.progress = stop_loading;
    const ImpStatus status = imp_context_create(model, &config, &third);
    assert_true(status == IMP_OK || status == IMP_ERR_CANCELLED);
    if (status == IMP_OK) imp_context_free(third);
    config.progress = NULL;
    assert_ok(imp_context_create(model, &config, &third));
    assert_ok(imp_generate(third, "and", &params, text, sizeof text, NULL));
    assert_string_equal(text, expected);
    imp_context_free(third);
    imp_model_free(model);
}

static void impossible_configurations_are_named(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    ImpContext context;
#define REFUSED(change, status, words)                                                                                 \
    do {                                                                                                               \
        ImpConfig c = small_config();                                                                                  \
        change;                                                                                                        \
        assert_fails(imp_context_create(model, &c, &context), status, words);                                          \
        assert_null(context);                                                                                          \
    } while (0)
    REFUSED(c.n_threads = -1, IMP_ERR_INVALID_ARGUMENT, "n_threads is -1, but must be 0 to 1024");
    REFUSED(c.max_seq_len = -5, IMP_ERR_INVALID_ARGUMENT, "max_seq_len");
    REFUSED(c.max_sequences = 0, IMP_ERR_INVALID_ARGUMENT, "max_sequences");
    REFUSED(c.prefill_chunk_size = -1, IMP_ERR_INVALID_ARGUMENT, "prefill_chunk_size");
    REFUSED(c.max_logits = -1, IMP_ERR_INVALID_ARGUMENT, "max_logits");
    REFUSED(c.kv_type = (ImpKvType)9, IMP_ERR_INVALID_ARGUMENT, "kv_type");
    REFUSED(c.cpu_isa = (ImpCpuIsa)-1, IMP_ERR_INVALID_ARGUMENT, "cpu_isa");
    REFUSED(c.repack = (ImpRepack)3, IMP_ERR_INVALID_ARGUMENT, "repack");
    REFUSED(c.gpu_layers = -2, IMP_ERR_INVALID_ARGUMENT, "gpu_layers");
    REFUSED(c.gpu_layers = 1, IMP_ERR_UNSUPPORTED, "no device but 'cpu'");
    REFUSED(c.device = "cuda", IMP_ERR_UNSUPPORTED, "no device 'cuda'");
    REFUSED(c.min_kv_tokens = 513, IMP_ERR_OUT_OF_MEMORY, "513 tokens are asked for");
    REFUSED((c.max_sequences = 65536, c.max_seq_len = 1 << 28), IMP_ERR_INVALID_ARGUMENT, "more than a cache can hold");
#undef REFUSED
    ImpConfig config = small_config();
    config.device = "cpu";
    config.min_kv_tokens = 512;
    assert_ok(imp_context_create(model, &config, &context));
    imp_context_free(context);
    imp_model_free(model);
}

static void impossible_parameters_are_named(void **state)
{
    (void)state;
    ImpModel model = open_model(TINY_MODEL);
    ImpContext context = open_context(model);
    char text[100];
    const ImpLogitBias outside = {.token = 267, .bias = 1.0f};
    const char *const empty_breaker[] = {""};
#define REFUSED(change, words)                                                                                         \
    do {                                                                                                               \
        ImpGenerateParams p = steady_params(5);                                                                        \
        change;                                                                                                        \
        assert_fails(imp_generate(context, "the", &p, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT, words);      \
        assert_string_equal(text, "");                                                                                 \
    } while (0)
    REFUSED(p.temperature = -1.0f, "temperature is -1");
    REFUSED(p.top_p = 1.5f, "top_p");
    REFUSED(p.max_tokens = -1, "max_tokens is -1");
    REFUSED(p.n_stop = 5, "5 stop strings");
    REFUSED((p.n_stop = 1, p.stop[0] = ""), "stop string 1 is empty");
    REFUSED((p.n_stop = 2, p.stop[0] = "a"), "stop string 2 is empty");
    REFUSED((p.logit_bias = &outside, p.n_logit_bias = 1), "token 267");
    REFUSED((p.logit_bias = NULL, p.n_logit_bias = 1), "logit_bias");
    REFUSED(p.n_order = 17, "17 links");
    REFUSED(p.order[3] = (ImpSamplerLink)42, "link 3");
    REFUSED(p.order[3] = p.order[2], "twice");
    REFUSED((p.dry_multiplier = 1.0f, p.dry_breakers = empty_breaker, p.n_dry_breakers = 1), "DRY breaker 1 is empty");
    REFUSED((p.dry_multiplier = 1.0f, p.n_dry_breakers = 17), "17 DRY breakers");
#undef REFUSED
    int32_t token;
    const ImpGenerateParams fine = steady_params(3);
    const int32_t outside_vocabulary[] = {5, 267};
    assert_fails(imp_generate_tokens(context, &token, 0, &fine, NULL, NULL), IMP_ERR_INVALID_ARGUMENT, "no tokens");
    assert_fails(imp_generate_tokens(context, outside_vocabulary, 2, &fine, NULL, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "token id 267");
    assert_fails(imp_prefill(context, outside_vocabulary, 2), IMP_ERR_INVALID_ARGUMENT, "token id 267");
    int32_t many[513];
    for (int32_t i = 0; i < 513; i++) many[i] = 5;
    assert_fails(imp_generate_tokens(context, many, 513, &fine, NULL, NULL), IMP_ERR_CONTEXT_FULL,
                 "513 tokens, but the context holds 512");
    assert_fails(imp_prefill(context, many, 513), IMP_ERR_CONTEXT_FULL, "513 tokens do not fit");
    assert_ok(imp_prefill(context, many, 512));
    assert_int_equal(imp_decode_step(context, NULL, &token), IMP_ERR_CONTEXT_FULL);
    assert_true(token >= 0);

    /* All tokens banned: nothing to draw, and the context lives on. */
    ImpLogitBias bans[267];
    for (int32_t i = 0; i < 267; i++) bans[i] = (ImpLogitBias){.token = i, .bias = -INFINITY};
    ImpGenerateParams banned = steady_params(3);
    banned.logit_bias = bans;
    banned.n_logit_bias = 267;
    assert_fails(imp_generate(context, "the", &banned, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "no token is left to draw");
    assert_ok(imp_generate(context, "the", &fine, text, sizeof text, NULL));
    imp_context_free(context);
    imp_model_free(model);
}

static void missing_things_are_named(void **state)
{
    (void)state;
    ImpModel model = NULL;
    ImpContext context = NULL;
    char text[10];
    int32_t count = 7;
    assert_fails(imp_model_load(NULL, IMP_FORMAT_AUTO, &model), IMP_ERR_INVALID_ARGUMENT, "path is NULL");
    assert_fails(imp_model_load("x", IMP_FORMAT_AUTO, NULL), IMP_ERR_INVALID_ARGUMENT, "model is NULL");
    assert_fails(imp_model_load("x", (ImpFormat)3, &model), IMP_ERR_INVALID_ARGUMENT, "3 is no model format");
    assert_fails(imp_model_load("/nowhere/model.gguf", IMP_FORMAT_AUTO, &model), IMP_ERR_IO, "/nowhere/model.gguf");
    assert_fails(imp_model_load(IMP_TEST_DATA "/unit/api/api_test.h", IMP_FORMAT_GGUF, &model), IMP_ERR_FORMAT,
                 "api_test.h");
    assert_null(model);
    assert_fails(imp_context_create(NULL, NULL, &context), IMP_ERR_INVALID_ARGUMENT, "model is NULL");
    assert_fails(imp_generate(NULL, "x", NULL, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT, "context is NULL");
    assert_fails(imp_chat(NULL, NULL, 0, NULL, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT, "context is NULL");
    assert_fails(imp_prefill(NULL, &count, 1), IMP_ERR_INVALID_ARGUMENT, "context is NULL");
    assert_fails(imp_decode_step(NULL, NULL, &count), IMP_ERR_INVALID_ARGUMENT, "context is NULL");
    assert_fails(imp_stats(NULL, NULL), IMP_ERR_INVALID_ARGUMENT, "context is NULL");
    assert_fails(imp_tokenize(NULL, "x", 1, 0, NULL, 0, NULL), IMP_ERR_INVALID_ARGUMENT, "model is NULL");
    assert_null(imp_context_tokens(NULL, &count));
    assert_int_equal(count, 0);
    assert_null(imp_logits(NULL));
    assert_string_equal(imp_generated_text(NULL, NULL), "");
    assert_null(imp_generated_tokens(NULL, NULL));
    assert_null(imp_model_template(NULL));
    imp_context_cancel(NULL);
    imp_context_reset(NULL);
    imp_context_free(NULL);
    imp_model_free(NULL);
    imp_detokenizer_free(NULL);
    model = open_model(TINY_MODEL);
    context = open_context(model);
    assert_fails(imp_generate(context, NULL, NULL, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "prompt is NULL");
    assert_fails(imp_tokenize(model, "x", 1, 8, NULL, 0, NULL), IMP_ERR_INVALID_ARGUMENT, "0x8");
    assert_fails(imp_tokenize(model, "x", 1, 0, NULL, 4, NULL), IMP_ERR_INVALID_ARGUMENT, "tokens is NULL");
    const ImpGenerateParams params = steady_params(2);
    assert_fails(imp_generate(context, "x", &params, NULL, 5, NULL), IMP_ERR_INVALID_ARGUMENT, "buffer is NULL");
    imp_context_free(context);
    imp_model_free(model);
}

static char last_line[200];

static void keep_line(ImpLogLevel level, const char *line, void *user)
{
    ++*(int *)user;
    assert_true(level <= IMP_LOG_INFO);
    strncpy(last_line, line, sizeof last_line - 1);
}

static void surroundings(void **state)
{
    (void)state;
    assert_non_null(strchr(imp_version(), '.'));
    assert_int_equal(imp_device_count(), 1);
    ImpDeviceInfo info = {.size = sizeof info};
    assert_ok(imp_device_info(0, &info));
    assert_string_equal(info.name, "cpu");
    assert_true(info.n_cores >= 1 && strlen(info.description) > 2 && strlen(info.features) > 2);
    assert_true(info.memory_bytes > info.memory_free_bytes && info.memory_free_bytes > 0);
    assert_fails(imp_device_info(1, &info), IMP_ERR_INVALID_ARGUMENT, "no device 1");

    int lines = 0;
    imp_log_set(keep_line, &lines, IMP_LOG_INFO);
    ImpModel model = open_model(TINY_MODEL);
    ImpContext context = open_context(model);
    assert_true(lines > 0);
    assert_non_null(strstr(last_line, "tiny.gguf"));
    imp_log_set(NULL, NULL, IMP_LOG_INFO);
    const int before = lines;
    imp_context_free(context);
    imp_model_free(model);
    model = open_model(TINY_MODEL);
    context = open_context(model);
    assert_int_equal(lines, before);
    imp_context_free(context);
    imp_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_tell_what_they_are),
        cmocka_unit_test(older_structures_work),
        cmocka_unit_test(documented_defaults_hold),
        cmocka_unit_test(a_context_keeps_its_model),
        cmocka_unit_test(contexts_come_and_go),
        cmocka_unit_test(impossible_configurations_are_named),
        cmocka_unit_test(impossible_parameters_are_named),
        cmocka_unit_test(missing_things_are_named),
        cmocka_unit_test(surroundings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
