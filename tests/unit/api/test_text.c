/* test_text.c - tokens, pieces of text and templates through the public API. */
#include "api_test.h"

static const char *const sample = "the hand of the other: caf\xC3\xA9, \xE2\x82\xAC 5 <|im_end|>\n";

static void tokens_and_back(void **state)
{
    ImpModel model = *state;
    int32_t tokens[200];
    char text[400];
    size_t plain, parsed, added, length;
    assert_ok(imp_tokenize(model, sample, IMP_NUL_TERMINATED, 0, tokens, 200, &plain));
    assert_ok(imp_detokenize(model, tokens, plain, false, text, sizeof text, &length));
    assert_string_equal(text, sample);
    assert_int_equal(length, strlen(sample));

    /* The special token is one when it may be, and shows when it shall. */
    assert_ok(imp_tokenize(model, sample, strlen(sample), IMP_TOKENIZE_PARSE_SPECIAL, tokens, 200, &parsed));
    assert_true(parsed < plain);
    assert_int_equal(tokens[parsed - 2], 2);
    assert_ok(imp_detokenize(model, tokens, parsed, true, text, sizeof text, NULL));
    assert_string_equal(text, sample);
    assert_ok(imp_detokenize(model, tokens, parsed, false, text, sizeof text, NULL));
    assert_null(strstr(text, "im_end"));
    assert_ok(imp_tokenize(model, sample, IMP_NUL_TERMINATED, IMP_TOKENIZE_ADD_SPECIAL, tokens, 200, &added));
    assert_int_equal(added, plain + 1);
    assert_int_equal(tokens[0], 0);
}

static void small_arrays_tell_the_size(void **state)
{
    ImpModel model = *state;
    int32_t all[200], tokens[200];
    size_t n_all, count;
    assert_ok(imp_tokenize(model, sample, IMP_NUL_TERMINATED, 0, all, 200, &n_all));
    assert_ok(imp_tokenize(model, sample, IMP_NUL_TERMINATED, 0, NULL, 0, &count));
    assert_int_equal(count, n_all);
    tokens[3] = -7;
    assert_fails(imp_tokenize(model, sample, IMP_NUL_TERMINATED, 0, tokens, 3, &count), IMP_ERR_BUFFER_TOO_SMALL,
                 "room for 3");
    assert_int_equal(count, n_all);
    assert_memory_equal(tokens, all, 3 * sizeof *tokens);
    assert_int_equal(tokens[3], -7);
    assert_ok(imp_tokenize(model, "", 0, 0, NULL, 0, &count));
    assert_int_equal(count, 0);
}

/* Bytes of one character in different tokens: no piece ends inside it, and the pieces join to the whole. */
static void pieces_are_whole_characters(void **state)
{
    ImpModel model = *state;
    int32_t tokens[200];
    char joined[400] = "";
    size_t count, length;
    const char *piece;
    assert_ok(imp_tokenize(model, sample, IMP_NUL_TERMINATED, IMP_TOKENIZE_PARSE_SPECIAL, tokens, 200, &count));
    ImpDetokenizer stream;
    assert_ok(imp_detokenizer_create(model, true, &stream));
    for (int round = 0; round < 2; round++) {
        joined[0] = '\0';
        for (size_t i = 0; i < count; i++) {
            assert_ok(imp_detokenizer_push(stream, tokens[i], &piece, &length));
            assert_int_equal(piece[length], 0);
            if (length > 0) assert_int_not_equal((unsigned char)piece[0] & 0xC0, 0x80);
            strcat(joined, piece);
        }
        assert_ok(imp_detokenizer_finish(stream, &piece, &length));
        strcat(joined, piece);
        assert_string_equal(joined, sample);
    }
    assert_fails(imp_detokenizer_push(stream, 99999, &piece, &length), IMP_ERR_INVALID_ARGUMENT, "99999");
    imp_detokenizer_free(stream);
}

static void vocabulary_is_open(void **state)
{
    ImpModel model = *state;
    size_t length;
    assert_string_equal(imp_token_text(model, 1, &length), "<|im_start|>");
    assert_int_equal(length, 12);
    assert_true(imp_token_is_special(model, 1));
    assert_false(imp_token_is_special(model, 50));
    assert_true(imp_token_is_end(model, 2));
    assert_false(imp_token_is_end(model, 50));
    assert_null(imp_token_text(model, 100000, NULL));
    assert_null(imp_token_text(model, -1, NULL));
    assert_false(imp_token_is_end(model, -1));
    assert_false(imp_token_is_special(model, 100000));
}

static void conversations_become_prompts(void **state)
{
    ImpModel model = *state;
    const ImpMessage messages[] = {{"system", "Be brief."}, {"user", "Hi \"there\"\n"}};
    const char *const expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi \"there\"\n<|im_end|>\n"
                                 "<|im_start|>assistant\n";
    char text[400];
    size_t length;
    assert_ok(imp_chat_render(model, messages, 2, NULL, text, sizeof text, &length));
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
    assert_fails(imp_chat_render(model, messages, 2, NULL, text, 10, &length), IMP_ERR_BUFFER_TOO_SMALL,
                 "the buffer 10");
    assert_int_equal(length, strlen(expected));
    assert_int_equal(strlen(text), 9);

    ImpGenerateParams params = imp_generate_params_default();
    params.template_variables = "{\"add_generation_prompt\": false}";
    assert_ok(imp_chat_render(model, messages, 2, &params, text, sizeof text, NULL));
    assert_null(strstr(text, "assistant"));
    params.template_variables = "{\"word\": \"caf\\u00e9\"}";
    params.chat_template = "{{ bos_token }}{{ messages|length }}{{ word }}{{ eos_token }}{{ tools is none }}";
    assert_ok(imp_chat_render(model, messages, 2, &params, text, sizeof text, NULL));
    assert_string_equal(text, "<|endoftext|>2caf\xC3\xA9<|im_end|>True");
    params.template_variables = NULL;
    params.chat_template = "chatml";
    assert_ok(imp_chat_render(model, messages, 2, &params, text, sizeof text, NULL));
    assert_string_equal(text, expected);
}

static void bad_conversations_are_refused(void **state)
{
    ImpModel model = *state;
    const ImpMessage good = {"user", "x"}, nothing = {"user", NULL}, broken = {"user", "\xFF"};
    ImpGenerateParams params = imp_generate_params_default();
    char text[100];
    assert_fails(imp_chat_render(model, &nothing, 1, NULL, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "message 1 has no");
    assert_fails(imp_chat_render(model, &broken, 1, NULL, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "message 1 is not valid UTF-8");
    assert_fails(imp_chat_render(model, NULL, 1, NULL, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "messages is NULL");
    params.chat_template = "chatmll";
    assert_fails(imp_chat_render(model, &good, 1, &params, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "no chat template named 'chatmll'");
    params.chat_template = "{% if %}";
    assert_fails(imp_chat_render(model, &good, 1, &params, text, sizeof text, NULL), IMP_ERR_FORMAT, "line 1");
    params.chat_template = "{{ raise_exception('only questions') }}";
    assert_fails(imp_chat_render(model, &good, 1, &params, text, sizeof text, NULL), IMP_ERR_FORMAT, "only questions");
    params.chat_template = NULL;
    params.template_variables = "[1]";
    assert_fails(imp_chat_render(model, &good, 1, &params, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "not a JSON object");
    params.template_variables = "{\"a\": }";
    assert_fails(imp_chat_render(model, &good, 1, &params, text, sizeof text, NULL), IMP_ERR_INVALID_ARGUMENT,
                 "line 1");
}

static void templates_stand_alone(void **state)
{
    ImpModel model = *state;
    char text[200];
    assert_ok(imp_template_render(NULL, "{{ a }}-{{ b.c }}{{ bos_token }}", "{\"a\": 1, \"b\": {\"c\": [true]}}", text,
                                  sizeof text, NULL));
    assert_string_equal(text, "1-[True]");
    assert_ok(imp_template_render(model, "{{ bos_token }}{{ eos_token }}", "{\"eos_token\": \"END\"}", text,
                                  sizeof text, NULL));
    assert_string_equal(text, "<|endoftext|>END");
    assert_fails(imp_template_render(NULL, NULL, NULL, text, sizeof text, NULL), IMP_ERR_UNSUPPORTED,
                 "no chat template");
    assert_non_null(strstr(imp_model_template(model), "<|im_start|>"));
    /* Every name that is offered makes a prompt. */
    const ImpMessage message = {"user", "Hello"};
    ImpGenerateParams params = imp_generate_params_default();
    bool has_chatml = false;
    for (size_t i = 0; (params.chat_template = imp_template_name(i)); i++) {
        char prompt[400];
        assert_ok(imp_chat_render(model, &message, 1, &params, prompt, sizeof prompt, NULL));
        assert_non_null(strstr(prompt, "Hello"));
        has_chatml = has_chatml || strcmp(params.chat_template, "chatml") == 0;
    }
    assert_true(has_chatml);
}

/* Files with nothing but a vocabulary, and files with none. */
static void halves_of_models(void **state)
{
    (void)state;
    ImpModel model;
    ImpContext context;
    char text[100];
    size_t count;
    ImpModelInfo info = {.size = sizeof info};
    assert_ok(imp_model_load_vocabulary(TINY_MODEL, IMP_FORMAT_AUTO, &model));
    assert_ok(imp_model_info(model, &info));
    assert_false(info.has_weights);
    assert_true(info.has_vocabulary && info.has_chat_template);
    assert_int_equal(info.n_vocab, 267);
    assert_ok(imp_tokenize(model, "the", IMP_NUL_TERMINATED, 0, NULL, 0, &count));
    assert_fails(imp_context_create(model, NULL, &context), IMP_ERR_UNSUPPORTED, "no weights to run");
    assert_null(context);
    imp_model_free(model);

    ImpModel weights = open_model(GOLDEN("llama"));
    assert_ok(imp_model_info(weights, &info));
    assert_true(info.has_weights && !info.has_vocabulary && !info.has_chat_template);
    context = open_context(weights);
    const ImpGenerateParams params = steady_params(5);
    const ImpMessage message = {"user", "x"};
    assert_fails(imp_generate(context, "x", &params, text, sizeof text, NULL), IMP_ERR_UNSUPPORTED, "only token ids");
    assert_fails(imp_tokenize(weights, "x", 1, 0, NULL, 0, NULL), IMP_ERR_UNSUPPORTED, "only token ids");
    assert_fails(imp_chat(context, &message, 1, &params, text, sizeof text, NULL), IMP_ERR_UNSUPPORTED,
                 "chat template");
    const int32_t ids[] = {5, 6, 7};
    int32_t n_tokens;
    assert_ok(imp_generate_tokens(context, ids, 3, &params, NULL, NULL));
    (void)imp_generated_tokens(context, &n_tokens);
    assert_int_equal(n_tokens, 5);
    assert_string_equal(imp_generated_text(context, NULL), "");
    assert_fails(imp_model_load_vocabulary(GOLDEN("llama"), IMP_FORMAT_AUTO, &model), IMP_ERR_FORMAT, "no vocabulary");
    assert_null(model);
    imp_context_free(context);
    imp_model_free(weights);
}

static int open_tiny(void **state)
{
    ImpModel model = NULL;
    if (imp_model_load(TINY_MODEL, IMP_FORMAT_GGUF, &model) != IMP_OK) return 1;
    *state = model;
    return 0;
}

static int close_tiny(void **state)
{
    imp_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_back),
        cmocka_unit_test(small_arrays_tell_the_size),
        cmocka_unit_test(pieces_are_whole_characters),
        cmocka_unit_test(vocabulary_is_open),
        cmocka_unit_test(conversations_become_prompts),
        cmocka_unit_test(bad_conversations_are_refused),
        cmocka_unit_test(templates_stand_alone),
        cmocka_unit_test(halves_of_models),
    };
    return cmocka_run_group_tests(tests, open_tiny, close_tiny);
}
