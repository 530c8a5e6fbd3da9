/* JSON Schema constraints: which texts each keyword lets through, what is refused, and with which words. */
#include "cmocka_all.h"
#include "runtime/constraint_vocab.h"

typedef struct SchemaCase {
    const char *schema;
    const char *accepted[8]; /* ended by NULL */
    const char *refused[8];
} SchemaCase;

static const SchemaCase cases[] = {
    {"true", {"1", "{\"a\":[null]}", "\"x\"", " [ ] "}, {"", "{", "01", "[1,]", "nul", "{\"a\":1,\"a\":2}"}},
    {"{\"type\":\"integer\"}", {"0", "-7", "1.0", "12.00"}, {"1.5", "\"1\"", "1e", "-", "+1"}},
    {"{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"type\":\"integer\"}", {"1"}, {"1.0"}},
    {"{\"minimum\":3,\"exclusiveMaximum\":10}", {"3", "9.99", "\"x\"", "3.0"}, {"2", "10", "10.0", "2.99"}},
    {"{\"type\":\"number\",\"exclusiveMaximum\":3}", {"2.999", "1e-05"}, {"3", "2.9999999999999999", "3.0"}},
    {"{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"type\":\"integer\",\"maximum\":5,\"exclusiveMaximum\":true}",
     {"4"},
     {"5"}},
    {"{\"type\":\"integer\"}",
     {"1e2", "10E+1", "-0", "0e5", "0.0e-3", "0.5e1", "12.50e2"},
     {"15e-1", "1e-1", "1e309", "e5", "1e"}},
    {"{\"type\":\"integer\",\"minimum\":0}", {"12345678901234567890123456789012345", "12345678901234567890123456789012345.0"}, {"-1e40", "-0.5"}},
    {"{\"minimum\":100,\"maximum\":300,\"multipleOf\":5}", {"1e2", "0.3E3", "1.05e+02"}, {"1e3", "1.01e2", "0e9", "-1e2"}},
    {"{\"type\":\"number\"}",
     {"120e-1", "0.001e-12", "100.5E-0", "2.2250738585072014e-308", "5e-324", "1.7976931348623157e+308"},
     {"120e-", "1e-325", "1.7976931348623159e308", "-9e308"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1.7976931348623157e308}", {"5e-324", "1.7976931348623157e+308"}, {"2e-324", "0"}},
    {"{\"type\":\"integer\",\"minimum\":1}", {"170141183460469231731687303715884105727"}, {"-170141183460469231731687303715884105728"}},
    {"{\"type\":\"integer\"}", {"-170141183460469231731687303715884105728"}, {"12345678901234567890123456789012345678901"}},
    {"{\"type\":\"integer\",\"multipleOf\":3}", {"333"}, {"333333333333333333333333333333333333333"}},
    {"{\"maximum\":1e37,\"not\":{\"const\":3}}", {"12345678901234567890"}, {"1234567890123456789012345678901234567890"}},
    {"{\"maximum\":0.1000000000000000055511151231257827021181583404541015625}", {"0.1", "-1"}, {"0.2", "1"}},
    {"{\"properties\":{\"a\":{\"$recursiveRef\":\"#\"}},\"type\":\"object\"}", {"{\"a\":1}"}, {"1"}},
    {"{\"$schema\":\"https://json-schema.org/draft/2019-09/schema\",\"properties\":{\"a\":{\"$recursiveRef\":\"#\"}},\"type\":\"object\"}",
     {"{\"a\":{}}"},
     {"{\"a\":1}"}},
    {"{\"maximum\":50}", {"12e-0", "1.2e-1"}, {"120e-1", "120"}},
    {"{\"enum\":[250,-0.5]}", {"25e1", "2.5e2", "0.00250e5", "-5E-1"}, {"25e0", "5e-1", "-5e1"}},
    {"{\"enum\":[9223372036854775809,9007199254740992,1e23]}",
     {"9223372036854775809", "9007199254740992", "9007199254740992.0", "1e23"},
     {"9223372036854775809.0", "9223372036854775809e0"}},
    {"{\"type\":\"number\",\"multipleOf\":0.5}", {"1", "1.5", "-2.0"}, {"1.25", "0.1"}},
    {"{\"multipleOf\":2.5}", {"6966573954197902", "1.0E1", "12.5"}, {"6966573954197901", "6966573954197.9", "1.25"}},
    {"{\"multipleOf\":0.00001}", {"0.00013000000000000002", "3e-5"}, {"0.000135", "1e-6"}},
    {"{\"type\":\"integer\",\"multipleOf\":5}", {"421.5e1", "990253627729.545e4"}, {"421.5e0", "421.51e1"}},
    {"{\"type\":\"number\",\"multipleOf\":0.1}", {"458e19", "907e15", "3.3000000000000003"}, {"3.30000000000001"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"maxLength\":1},\"not\":{\"additionalProperties\":false}}",
     {"{\"k\":1}", "{\"\xc3\xa9\":\"q\",\"k\":2}"},
     {"{}", "{\"ab\":1}"}},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":50,\"maximum\":60}", {"56"}, {"49", "5", "63", "57"}},
    {"{\"minLength\":2,\"maxLength\":3,\"type\":\"string\"}",
     {"\"ab\"", "\"\\u00e9\xc3\xa9\"", "\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\""},
     {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[a-c]+$\"}", {"\"abc\"", "\"\\u0061\""}, {"\"\"", "\"abd\""}},
    {"{\"type\":\"string\",\"pattern\":\"b\",\"maxLength\":2}", {"\"b\"", "\"xb\""}, {"\"xx\"", "\"xxb\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}", {"\"2024-02-29\""}, {"\"2023-02-29\"", "\"2024-13-01\"", "\"x\""}},
    {"{\"type\":\"string\",\"format\":\"date-time\"}", {"\"2024-02-29T23:59:59.5Z\""}, {"\"2024-02-29 10:00\""}},
    {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"type\":\"string\",\"format\":\"date\"}", {"\"2024-02-29\""}, {"\"x\""}},
    {"{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"type\":\"string\",\"format\":\"date\"}", {"\"2024-02-29\"", "\"x\""}, {"1"}},
    {"{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"type\":\"string\",\"format\":\"regex\"}", {"\"a+\""}, {"\"(\""}},
    {"{\"$schema\":\"http://json-schema.org/draft-06/schema#\",\"type\":\"string\",\"format\":\"json-pointer\"}", {"\"/a\""}, {"\"a\""}},
    {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"type\":\"string\",\"format\":\"uuid\"}", {"\"x\""}, {"1"}},
    {"{\"type\":\"string\",\"format\":\"uuid\"}", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123\""}},
    {"{\"type\":\"string\",\"format\":\"ipv4\"}", {"\"127.0.0.1\""}, {"\"256.0.0.1\"", "\"1.2.3\""}},
    {"{\"type\":\"string\",\"format\":\"ipv6\"}", {"\"::1\"", "\"fe80::1:2\""}, {"\"1::2::3\"", "\":1\""}},
    {"{\"type\":\"string\",\"format\":\"email\"}", {"\"a.b@c.org\""}, {"\"a.b\"", "\"@c\""}},
    {"{\"type\":\"string\",\"format\":\"uri\"}", {"\"https://a.org/b?c#d\"", "\"mailto:x@y\""}, {"\"a b\"", "\"/x\""}},
    {"{\"type\":\"string\",\"format\":\"duration\"}", {"\"P1DT2H\"", "\"P3W\"", "\"PT0.5S\"", "\"P1Y1D\"", "\"PT1H15S\""}, {"\"P\"", "\"1D\"", "\"P1DT\"", "\"P1D1Y\"", "\"P1.5YT1H\""}},
    {"{\"properties\":{\"next\":{\"$ref\":\"#/\"}},\"required\":[\"a\"]}", {"{\"a\":1,\"next\":{\"a\":2}}"}, {"{\"a\":1,\"next\":{}}"}},
    {"{\"enum\":[\"red\",\"green\",2,null,[1,{\"a\":2}]]}",
     {"\"red\"", "2", "2.0", "null", "[1, {\"a\": 2}]"},
     {"\"re\"", "3", "[1]", "true"}},
    {"{\"const\":{\"a\":1,\"b\":[]}}", {"{\"b\":[],\"a\":1.0}"}, {"{\"a\":1}", "{\"a\":1,\"b\":[],\"c\":0}"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":2}",
     {"[1]", "[ 1 , 2 ]"},
     {"[]", "[1,2,3]", "[\"a\"]"}},
    {"{\"prefixItems\":[{\"type\":\"string\"}],\"items\":false,\"type\":\"array\"}", {"[]", "[\"a\"]"}, {"[1]", "[\"a\",1]"}},
    {"{\"items\":[{\"type\":\"string\"}],\"additionalItems\":{\"type\":\"null\"},\"type\":\"array\"}",
     {"[\"a\",null]"},
     {"[\"a\",1]"}},
    {"{\"type\":\"array\",\"contains\":{\"const\":1},\"minContains\":2,\"maxContains\":2}",
     {"[1,1]", "[0,1,2,1.0]"},
     {"[1]", "[1,1,1]", "[]"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[{\"a\":1},{\"a\":2},{\"a\":1,\"b\":2},\"a\",[1,{}],[1]]},\"uniqueItems\":true}",
     {"[{\"a\":1},\"a\",{\"b\":2,\"a\":1},[1],{\"a\":2},[1,{}]]"},
     {"[{\"a\":1},{\"a\":1}]", "[[1],[1]]"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[1,2,3]},\"uniqueItems\":true}", {"[3,1,2]"}, {"[1,1]", "[1,1.0]", "[1,2,3,"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true}", {"[\"a\",\"b\"]"}, {"[\"a\",\"\\u0061\"]"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],\"additionalProperties\":false}",
     {"{\"a\":1}", "{ \"a\" : 1 }", "{\"\\u0061\":1}"},
     {"{}", "{\"b\":1}", "{\"a\":1,", "{\"a\":\"x\"}"}},
    {"{\"type\":\"object\",\"patternProperties\":{\"^x\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"boolean\"}}",
     {"{\"x1\":null,\"y\":true}"},
     {"{\"x1\":true}", "{\"y\":null}"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"maxLength\":1},\"minProperties\":1,\"maxProperties\":2}",
     {"{\"a\":1,\"b\":2}"},
     {"{}", "{\"ab\":1}", "{\"a\":1,\"b\":2,\"c\":3}"}},
    {"{\"type\":\"object\",\"dependentRequired\":{\"a\":[\"b\"]}}", {"{}", "{\"a\":1,\"b\":2}", "{\"b\":1}"}, {"{\"a\":1}"}},
    {"{\"type\":\"object\",\"dependentSchemas\":{\"a\":{\"required\":[\"c\"]}}}", {"{\"b\":1}", "{\"c\":1,\"a\":1}"}, {"{\"a\":1}"}},
    {"{\"type\":\"object\",\"dependencies\":{\"a\":[\"b\"]}}", {"{\"b\":1}"}, {"{\"a\":1}"}},
    {"{\"allOf\":[{\"type\":\"integer\"},{\"minimum\":2},{\"not\":{\"const\":3}}]}", {"2", "4"}, {"1", "3", "3.0"}},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", {"\"a\"", "null"}, {"1", "true"}},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\",\"minimum\":5}]}", {"3", "5.5"}, {"6", "4.5"}},
    {"{\"type\":\"object\",\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}", {"{\"a\":1}", "{\"b\":1}"}, {"{}", "{\"a\":1,\"b\":1}"}},
    {"{\"type\":\"object\",\"if\":{\"properties\":{\"k\":{\"const\":1}},\"required\":[\"k\"]},\"then\":{\"required\":[\"x\"]},"
     "\"else\":{\"required\":[\"y\"]}}",
     {"{\"k\":1,\"x\":0}", "{\"k\":2,\"y\":0}", "{\"y\":0}"},
     {"{\"k\":1,\"y\":0}", "{}", "{\"x\":0}"}},
    {"{\"type\":\"object\",\"anyOf\":[{\"properties\":{\"a\":true},\"required\":[\"a\"]},{\"properties\":{\"b\":true},\"required\":[\"b\"]}],"
     "\"unevaluatedProperties\":false}",
     {"{\"a\":1}", "{\"a\":1,\"b\":2}"},
     {"{}", "{\"a\":1,\"c\":2}"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"unevaluatedItems\":false}", {"[]", "[1]"}, {"[1,2]"}},
    {"{\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"c\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}},"
     "\"additionalProperties\":false}},\"$ref\":\"#/$defs/t\"}",
     {"{}", "{\"c\":[{},{\"c\":[]}]}"},
     {"{\"c\":[1]}", "{\"d\":1}"}},
    {"{\"$id\":\"http://x.org/a\",\"properties\":{\"p\":{\"$ref\":\"b#q\"}},\"$defs\":{\"z\":{\"$id\":\"b\",\"$defs\":"
     "{\"y\":{\"$anchor\":\"q\",\"type\":\"null\"}}}}}",
     {"{\"p\":null}"},
     {"{\"p\":1}"}},
    /* The literals of draft 7 beside a $ref do not count; those of 2020-12 do. */
    {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"definitions\":{\"a\":{}},\"$ref\":\"#/definitions/a\",\"type\":\"null\"}",
     {"1"},
     {"?"}},
    {"{\"$defs\":{\"a\":{}},\"$ref\":\"#/$defs/a\",\"type\":\"null\"}", {"null"}, {"1"}},
    {"{\"title\":\"t\",\"description\":\"d\",\"default\":1,\"examples\":[2],\"$comment\":\"c\",\"x-own\":{},\"type\":\"null\"}",
     {"null"},
     {"1"}},
};

static void test_keywords(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    assert_non_null(vocab);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Constraint *constraint = NULL;
        if (constraint_compile_schema_text(cases[i].schema, strlen(cases[i].schema), &constraint) != IMP_OK)
            fail_msg("%s: %s", cases[i].schema, imp_last_error());
        for (size_t k = 0; k < 8 && cases[i].accepted[k] != NULL; k++) {
            const char *text = cases[i].accepted[k];
            if (!constraint_takes(constraint, vocab, text, strlen(text))) fail_msg("%s loses %s", cases[i].schema, text);
        }
        for (size_t k = 0; k < 8 && cases[i].refused[k] != NULL; k++) {
            const char *text = cases[i].refused[k];
            if (constraint_takes(constraint, vocab, text, strlen(text))) fail_msg("%s takes %s", cases[i].schema, text);
        }
        constraint_free(constraint);
    }
    constraint_vocab_free(vocab);
}

/* Alternatives with a default for what tells them apart: few are set against each other, of many the property is demanded. */
static void test_discriminators(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    for (int n = 3; n <= 40; n += 37) {
        StrBuf text = {0};
        Constraint *constraint = NULL;
        strbuf_puts(&text, "{\"discriminator\":{\"propertyName\":\"t\"},\"oneOf\":[");
        for (int i = 0; i < n; i++) {
            strbuf_printf(&text, "%s{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"m%d\",\"default\":\"m%d\"},", i == 0 ? "" : ",", i, i);
            strbuf_printf(&text, "\"a%d\":{\"type\":\"integer\"},\"b\":{\"type\":[\"string\",\"null\"]}}}", i);
        }
        strbuf_puts(&text, "]}");
        assert_int_equal(constraint_compile_schema_text(text.data, text.length, &constraint), IMP_OK);
        assert_true(constraint_takes(constraint, vocab, "{\"b\":\"x\",\"a2\":1,\"t\":\"m2\"}", 25));
        assert_false(constraint_takes(constraint, vocab, "{\"t\":\"m2\",\"a2\":null}", 20));
        assert_false(constraint_takes(constraint, vocab, "{\"t\":\"m40\"}", 11));
        /* a0 and a1 of the wrong type leave the third. */
        assert_int_equal(constraint_takes(constraint, vocab, "{\"a0\":null,\"a1\":null}", 21), n == 3);
        constraint_free(constraint);
        strbuf_free(&text);
    }
    constraint_vocab_free(vocab);
}

typedef struct RefusedSchema {
    const char *schema;
    ImpStatus status;
    const char *words; /* in the sentence */
} RefusedSchema;

static const RefusedSchema refused[] = {
    {"{\"type\":\"objekt\"}", IMP_ERR_FORMAT, "/type"},
    {"{\"properties\":{\"a\":{\"minLength\":-1}}}", IMP_ERR_FORMAT, "/properties/a/minLength"},
    {"{\"properties\":{\"a/b\":{\"pattern\":\"(\"}}}", IMP_ERR_FORMAT, "/properties/a~1b/pattern"},
    {"{\"pattern\":\"(?<=(?=a))b\"}", IMP_ERR_UNSUPPORTED, "look-behind"},
    {"{\"$ref\":\"#/$defs/none\"}", IMP_ERR_FORMAT, "#/$defs/none"},
    {"{\"$ref\":\"http://elsewhere.org/s.json\"}", IMP_ERR_UNSUPPORTED, "another document"},
    {"{\"$ref\":\"#\"}", IMP_ERR_UNSUPPORTED, "refers to itself"},
    {"{\"not\":{\"uniqueItems\":true}}", IMP_ERR_UNSUPPORTED, "/not/uniqueItems"},
    {"{\"type\":\"integer\",\"minimum\":0.2,\"maximum\":0.8}", IMP_ERR_UNSUPPORTED, "no value"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", IMP_ERR_UNSUPPORTED, "no value"},
    {"{\"type\":\"string\",\"pattern\":\"((a{1000}){1000}){1000}\"}", IMP_ERR_LIMIT, "/pattern"},
    {"{\"allOf\":{}}", IMP_ERR_FORMAT, "/allOf"},
    {"[1]", IMP_ERR_FORMAT, "neither an object nor a boolean"},
    {"{\"a\":", IMP_ERR_FORMAT, "byte"},
};

static void test_refusals_name_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        Constraint *constraint = NULL;
        const ImpStatus status = constraint_compile_schema_text(refused[i].schema, strlen(refused[i].schema), &constraint);
        if (status != refused[i].status) fail_msg("%s: status %d, %s", refused[i].schema, (int)status, imp_last_error());
        if (strstr(imp_last_error(), refused[i].words) == NULL) fail_msg("%s: %s", refused[i].schema, imp_last_error());
    }
}

static void test_schema_from_jansson(void **state)
{
    (void)state;
    ConstraintVocab *vocab = constraint_test_vocab();
    Constraint *constraint = NULL;
    json_t *schema = json_pack("{s:s, s:f}", "type", "number", "maximum", 0.1);
    assert_int_equal(constraint_compile_schema(schema, &constraint), IMP_OK);
    assert_true(constraint_takes(constraint, vocab, "0.1", 3));
    assert_false(constraint_takes(constraint, vocab, "0.11", 4));
    constraint_free(constraint);
    json_decref(schema);
    assert_int_equal(constraint_compile_json_object(&constraint), IMP_OK);
    assert_true(constraint_takes(constraint, vocab, "{\"a\": 1}", 8));
    assert_false(constraint_takes(constraint, vocab, "[1]", 3));
    constraint_free(constraint);
    constraint_vocab_free(vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keywords),
        cmocka_unit_test(test_discriminators),
        cmocka_unit_test(test_refusals_name_the_place),
        cmocka_unit_test(test_schema_from_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
