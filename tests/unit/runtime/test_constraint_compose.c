/* Composition: text, tokens, schemas, patterns and free text in sequences, choices and repetitions. */
#include "cmocka_all.h"
#include "runtime/constraint/compose.h"
#include "runtime/constraint_vocab.h"

#include <stdlib.h>

enum { MARKER = 299, END = 300, TOKENS = 301, WORDS = (TOKENS + 31) / 32 };

/* All bytes, a token without text, an end token. */
static ConstraintVocab *bytes_and_marker(void)
{
    static char bytes[256];
    ConstraintToken tokens[TOKENS] = {{NULL, 0}};
    const int32_t end = END;
    ConstraintVocab *vocab = NULL;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (ConstraintToken){&bytes[i], 1};
    }
    assert_int_equal(constraint_vocab_create(tokens, TOKENS, &end, 1, &vocab), IMP_OK);
    return vocab;
}

static ConstraintPart text(ConstraintBuilder *builder, const char *literal)
{
    ConstraintPart part = 0;
    assert_int_equal(constraint_add_text(builder, literal, strlen(literal), &part), IMP_OK);
    return part;
}

static Constraint *finish(ConstraintBuilder *builder, ConstraintPart part)
{
    Constraint *constraint = NULL;
    if (constraint_builder_finish(builder, part, &constraint) != IMP_OK) fail_msg("%s", imp_last_error());
    constraint_builder_free(builder);
    return constraint;
}

static void expect(const Constraint *constraint, ConstraintVocab *vocab, const char *literal, bool taken)
{
    if (constraint_takes(constraint, vocab, literal, strlen(literal)) != taken)
        fail_msg("%s: %s", taken ? "refused" : "taken", literal);
}

/* <call>{"n": 1}</call>, once or twice, with a schema and a pattern inside. */
static void test_calls(void **state)
{
    (void)state;
    ConstraintVocab *vocab = bytes_and_marker();
    ConstraintBuilder *builder = NULL;
    ConstraintPart parts[5];
    ConstraintPart call = 0;
    json_t *schema = json_loads("{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"],"
                                "\"additionalProperties\":false}", 0, NULL);
    assert_int_equal(constraint_builder_create(&builder), IMP_OK);
    parts[0] = text(builder, "<call>");
    assert_int_equal(constraint_add_pattern(builder, "[a-z]{1,3}", 10, &parts[1]), IMP_OK);
    parts[2] = text(builder, ":");
    assert_int_equal(constraint_add_schema(builder, schema, &parts[3]), IMP_OK);
    parts[4] = text(builder, "</call>");
    assert_int_equal(constraint_add_sequence(builder, parts, 5, &call), IMP_OK);
    assert_int_equal(constraint_add_repeat(builder, call, 1, 2, &call), IMP_OK);
    Constraint *constraint = finish(builder, call);
    expect(constraint, vocab, "<call>get:{\"n\": 1}</call>", true);
    expect(constraint, vocab, "<call>a: {\"n\":1} </call><call>b:{\"n\":-20}</call>", true);
    expect(constraint, vocab, "<call>get:{\"m\": 1}</call>", false);
    expect(constraint, vocab, "<call>gets:{\"n\": 1}</call>", false);
    expect(constraint, vocab, "<call>get:{\"n\": 1}", false);
    expect(constraint, vocab, "", false);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
    json_decref(schema);
}

/* Free text, and as soon as the marker stands there nothing but what belongs to it. */
static void test_free_text_until_a_marker(void **state)
{
    (void)state;
    static const char *const markers[] = {"<t>", "<<f="};
    ConstraintVocab *vocab = bytes_and_marker();
    ConstraintBuilder *builder = NULL;
    ConstraintPart parts[2];
    ConstraintPart ways[3];
    assert_int_equal(constraint_builder_create(&builder), IMP_OK);
    assert_int_equal(constraint_add_text_without(builder, markers, 2, &ways[0]), IMP_OK);
    assert_int_equal(constraint_add_text_until(builder, markers, 2, 0, &parts[0]), IMP_OK);
    parts[1] = text(builder, "x.");
    assert_int_equal(constraint_add_sequence(builder, parts, 2, &ways[1]), IMP_OK);
    assert_int_equal(constraint_add_text_until(builder, markers, 2, 1, &parts[0]), IMP_OK);
    parts[1] = text(builder, "y");
    assert_int_equal(constraint_add_sequence(builder, parts, 2, &ways[2]), IMP_OK);
    assert_int_equal(constraint_add_choice(builder, ways, 3, &ways[0]), IMP_OK);
    Constraint *constraint = finish(builder, ways[0]);
    expect(constraint, vocab, "", true);
    expect(constraint, vocab, "plain < <t text\n\xc3\xa9", true);
    expect(constraint, vocab, "so <<t>x.", true);
    expect(constraint, vocab, "<<f=y", true);
    expect(constraint, vocab, "<<<f=y", true);
    expect(constraint, vocab, "<t>y", false);
    expect(constraint, vocab, "<t>", false);
    expect(constraint, vocab, "<t>x.more", false);
    expect(constraint, vocab, "<<f=x.", false);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

/* A token without text: in the mask, forced, accepted where it belongs and nowhere else. */
static void test_tokens(void **state)
{
    (void)state;
    ConstraintVocab *vocab = bytes_and_marker();
    ConstraintBuilder *builder = NULL;
    ConstraintPart parts[3];
    ConstraintState *at = NULL;
    uint32_t bits[WORDS];
    int32_t forced = -1;
    assert_int_equal(constraint_builder_create(&builder), IMP_OK);
    assert_int_equal(constraint_add_text_without(builder, NULL, 0, &parts[0]), IMP_OK);
    assert_int_equal(constraint_add_token(builder, MARKER, &parts[1]), IMP_OK);
    assert_int_equal(constraint_add_schema(builder, NULL, &parts[2]), IMP_OK);
    assert_int_equal(constraint_add_sequence(builder, parts, 3, &parts[0]), IMP_OK);
    assert_int_equal(constraint_add_sequence(builder, parts + 1, 2, &parts[2]), IMP_OK);
    Constraint *constraint = finish(builder, parts[0]);
    assert_int_equal(constraint_state_create(constraint, vocab, &at), IMP_OK);
    assert_true(constraint_advance(at, 'a'));
    assert_int_equal(constraint_mask(at, bits), IMP_OK);
    assert_true((bits[MARKER / 32] >> MARKER % 32 & 1) != 0);
    assert_int_equal(constraint_forced_tokens(at, &forced, 1), 0);
    assert_true(constraint_advance(at, 0xc3)); /* half a character */
    assert_false(constraint_advance(at, MARKER));
    assert_true(constraint_advance(at, 0xa9));
    assert_true(constraint_advance(at, MARKER));
    assert_int_equal(constraint_mask(at, bits), IMP_OK);
    assert_true((bits[MARKER / 32] >> MARKER % 32 & 1) == 0);
    assert_true(constraint_advance(at, '{'));
    assert_true(constraint_advance(at, '}'));
    assert_true(constraint_complete(at));
    assert_true(constraint_advance(at, END));
    constraint_state_free(at);
    constraint_free(constraint);

    assert_int_equal(constraint_builder_create(&builder), IMP_OK);
    assert_int_equal(constraint_add_token(builder, MARKER, &parts[0]), IMP_OK);
    constraint = finish(builder, parts[0]);
    assert_int_equal(constraint_state_create(constraint, vocab, &at), IMP_OK);
    assert_int_equal(constraint_forced_tokens(at, &forced, 1), 1);
    assert_int_equal(forced, MARKER);
    assert_false(constraint_finished(at));
    assert_true(constraint_advance(at, MARKER));
    assert_true(constraint_finished(at));
    constraint_state_free(at);
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

static void test_the_first_failure_stays(void **state)
{
    (void)state;
    ConstraintBuilder *builder = NULL;
    Constraint *constraint = NULL;
    ConstraintPart part = 0;
    assert_int_equal(constraint_builder_create(&builder), IMP_OK);
    assert_int_equal(constraint_add_pattern(builder, "(", 1, &part), IMP_ERR_FORMAT);
    assert_int_equal(constraint_add_text(builder, "a", 1, &part), IMP_ERR_FORMAT);
    assert_int_equal(constraint_builder_finish(builder, part, &constraint), IMP_ERR_FORMAT);
    constraint_builder_free(builder);
    assert_int_equal(constraint_builder_create(&builder), IMP_OK);
    assert_int_equal(constraint_add_sequence(builder, &(ConstraintPart){77}, 1, &part), IMP_ERR_INVALID_ARGUMENT);
    constraint_builder_free(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_free_text_until_a_marker),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_the_first_failure_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
