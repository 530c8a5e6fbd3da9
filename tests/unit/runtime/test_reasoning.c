/* test_reasoning.c - a block is found wherever its markers are cut, and closes at the token that its budget says. */
#include "cmocka_all.h"

#include "runtime/reasoning.h"
#include "text/tokenizer/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

/* Written "<t>" and "</t>"; no merges, so that each closing token is one character. "Ġ" is a space, "Ċ" a line feed. */
static const char vocabulary[] =
    "{\"added_tokens\": [{\"id\": 12, \"content\": \"<end>\", \"special\": true}], \"normalizer\": null,"
    "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false},"
    "\"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\"},"
    "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"<\": 0, \"/\": 1, \"t\": 2, \">\": 3, \"a\": 4,"
    "\"\\u0120\": 5, \"\\u010a\": 6, \"<t\": 7, \">a\": 8, \">\\u010a\": 9, \"</t>\": 10, \"a</\": 11}}}";

enum { OPEN, SLASH, T, CLOSE, A, SPACE, LINE, OPEN_T, CLOSE_A, CLOSE_LINE, WHOLE_CLOSE, A_BEGUN, END };
static const char *const texts[] = {"<", "/", "t", ">", "a", " ", "\n", "<t", ">a", ">\n", "</t>", "a</", "<end>"};

static Tokenizer *make_tokenizer(void)
{
    Tokenizer *tokenizer = NULL;
    json_t *json = json_loads(vocabulary, 0, NULL);
    assert_non_null(json);
    assert_int_equal(tokenizer_create_json(json, NULL, NULL, NULL, &tokenizer), IMP_OK);
    json_decref(json);
    return tokenizer;
}

static Reasoning begin(const Tokenizer *tokenizer, int32_t budget, bool inside)
{
    Reasoning reasoning;
    const ReasoningRule rule = {.open = "<t>", .close = "</t>", .budget = budget, .inside = inside};
    assert_int_equal(reasoning_begin(&reasoning, &rule, tokenizer), IMP_OK);
    return reasoning;
}

static void accept_all(Reasoning *reasoning, const Tokenizer *tokenizer, const int32_t *tokens, int32_t n)
{
    for (int32_t i = 0; i < n; i++) reasoning_accept(reasoning, tokenizer, tokens[i]);
}

static void the_budget_ends_at_its_token(void **state)
{
    (void)state;
    Tokenizer *tokenizer = make_tokenizer();
    for (int32_t budget = 0; budget < 5; budget++) {
        Reasoning reasoning = begin(tokenizer, budget, false);
        accept_all(&reasoning, tokenizer, (int32_t[]){SPACE, OPEN_T}, 2);
        assert_false(reasoning_is_inside(&reasoning));
        reasoning_accept(&reasoning, tokenizer, CLOSE);
        assert_true(reasoning_is_inside(&reasoning));
        for (int32_t i = 0; i < budget; i++) {
            assert_int_equal(reasoning_forced(&reasoning), -1);
            reasoning_accept(&reasoning, tokenizer, A);
        }
        const int32_t closing[] = {OPEN, SLASH, T, CLOSE};
        for (int32_t i = 0; i < 4; i++) {
            assert_int_equal(reasoning_forced(&reasoning), closing[i]);
            assert_true(reasoning_is_inside(&reasoning));
            reasoning_accept(&reasoning, tokenizer, closing[i]);
        }
        assert_int_equal(reasoning_forced(&reasoning), -1);
        assert_false(reasoning_is_inside(&reasoning));
        assert_int_equal(reasoning.n_tokens, budget);
    }
    tokenizer_free(tokenizer);
}

static void a_block_that_closes_itself_is_left_alone(void **state)
{
    (void)state;
    Tokenizer *tokenizer = make_tokenizer();
    Reasoning reasoning = begin(tokenizer, 4, true);
    assert_true(reasoning_is_inside(&reasoning));
    accept_all(&reasoning, tokenizer, (int32_t[]){A_BEGUN, T, CLOSE_LINE}, 3);
    assert_false(reasoning_is_inside(&reasoning));
    accept_all(&reasoning, tokenizer, (int32_t[]){OPEN_T, CLOSE, A, A, A, A, A}, 7); /* there is one block */
    assert_false(reasoning_is_inside(&reasoning));
    assert_int_equal(reasoning_forced(&reasoning), -1);
    reasoning = begin(tokenizer, -1, true);
    for (int32_t i = 0; i < 1000; i++) reasoning_accept(&reasoning, tokenizer, A);
    assert_int_equal(reasoning_forced(&reasoning), -1);
    reasoning_end(&reasoning);
    assert_int_equal(reasoning_forced(&reasoning), OPEN);
    tokenizer_free(tokenizer);
}

static void tokens_that_say_more_are_known(void **state)
{
    (void)state;
    Tokenizer *tokenizer = make_tokenizer();
    Reasoning reasoning = begin(tokenizer, -1, true);
    accept_all(&reasoning, tokenizer, (int32_t[]){A_BEGUN, T}, 2);
    assert_true(reasoning_spills(&reasoning, tokenizer, CLOSE_A));
    assert_false(reasoning_spills(&reasoning, tokenizer, CLOSE_LINE));
    assert_false(reasoning_spills(&reasoning, tokenizer, CLOSE));
    assert_false(reasoning_spills(&reasoning, tokenizer, A));
    assert_false(reasoning_spills(&reasoning, tokenizer, END));
    tokenizer_free(tokenizer);
}

/* What a reader of the whole text says: -1 before, 0 outside, 1 inside. */
static int read_whole(const char *text, bool inside)
{
    if (!inside) {
        text += strspn(text, " \n");
        const size_t length = strlen(text) < 3 ? strlen(text) : 3;
        if (strncmp(text, "<t>", length) != 0) return 0;
        if (length < 3) return -1;
        text += 3;
    }
    return strstr(text, "</t>") == NULL;
}

static void cuts_do_not_matter(void **state)
{
    (void)state;
    Tokenizer *tokenizer = make_tokenizer();
    srand(5);
    int32_t n_opened = 0, n_closed = 0;
    for (int32_t trial = 0; trial < 20000; trial++) {
        const bool inside = trial % 2 == 0;
        char text[256] = "";
        Reasoning reasoning = begin(tokenizer, -1, inside);
        for (int32_t i = 0; i < 12; i++) {
            const int32_t token = i < 2 && rand() % 2 ? (i == 0 ? OPEN_T : CLOSE) : rand() % END;
            strcat(text, texts[token]);
            reasoning_accept(&reasoning, tokenizer, token);
            const int expected = read_whole(text, inside);
            assert_int_equal(reasoning_is_inside(&reasoning), expected == 1);
            n_opened += expected == 1 && !inside;
            n_closed += expected == 0 && inside;
        }
    }
    assert_true(n_opened > 1000 && n_closed > 1000);
    tokenizer_free(tokenizer);
}

static void rules_that_mean_nothing(void **state)
{
    (void)state;
    Tokenizer *tokenizer = make_tokenizer();
    Reasoning reasoning;
    ReasoningRule rule = {.open = "<t>", .close = "", .inside = true};
    assert_int_equal(reasoning_begin(&reasoning, &rule, tokenizer), IMP_ERR_INVALID_ARGUMENT);
    rule.close = "</ttttttttttttttttttttttttttttttt>";
    assert_int_equal(reasoning_begin(&reasoning, &rule, tokenizer), IMP_ERR_INVALID_ARGUMENT);
    assert_false(reasoning_is_inside(&reasoning));
    rule.close = NULL;
    assert_int_equal(reasoning_begin(&reasoning, &rule, tokenizer), IMP_OK);
    assert_false(reasoning_is_inside(&reasoning));
    rule.close = "</t>";
    assert_int_equal(reasoning_begin(&reasoning, &rule, NULL), IMP_OK);
    assert_false(reasoning_is_inside(&reasoning));
    tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_budget_ends_at_its_token),   cmocka_unit_test(a_block_that_closes_itself_is_left_alone),
        cmocka_unit_test(tokens_that_say_more_are_known), cmocka_unit_test(cuts_do_not_matter),
        cmocka_unit_test(rules_that_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
