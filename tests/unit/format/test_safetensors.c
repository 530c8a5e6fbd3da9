/* test_safetensors.c - SafeTensors directories: what they may hold, and each way of being wrong. */
#include "file_builder.h"

#include <sys/stat.h>

/* Writes a file of `data_bytes` bytes of tensors behind this header. */
static void write_tensors(const char *name, const char *header, size_t data_bytes)
{
    StrBuf out = {0};
    put_u64(&out, strlen(header));
    strbuf_puts(&out, header);
    for (size_t i = 0; i < data_bytes; i++) strbuf_putc(&out, (char)(i & 0x7F));
    write_file(name, &out);
}

#define TENSOR(name, type, shape, begin, end)                                                                          \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void reads_one_file(void **state)
{
    (void)state;
    clear_work_dir();
    write_tensors("model.safetensors",
                  "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("b", "F32", "[2,3]", 8, 32) "," TENSOR(
                      "a", "BF16", "[4]", 0, 8) "," TENSOR("fp8", "F8_E5M2", "[]", 40, 41) "}   ",
                  41);
    ModelFile *file = open_model(work_dir);
    assert_int_equal(model_file_format(file), MODEL_FORMAT_SAFETENSORS);
    assert_int_equal(model_file_tensor_count(file), 3);
    assert_int_equal(model_file_tensor_bytes(file), 33);
    const FileTensor *b = model_file_tensor(file, "b");
    assert_int_equal(b->type, DT_F32);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->dims[0], 2);
    assert_int_equal(b->dims[1], 3);
    assert_int_equal(b->data[0], 8);
    assert_int_equal(model_file_tensor(file, "fp8")->n_dims, 0);
    assert_int_equal(model_file_tensor(file, "fp8")->size, 1);
    assert_null(model_file_gguf(file));
    assert_null(model_file_config(file));
    assert_null(model_file_chat_template(file));
    model_file_close(file);

    /* The same file by its own name, when the caller says what it is. */
    write_text("config.json", "{\"x\":1}");
    assert_int_equal(model_file_open(in_work_dir("model.safetensors"), MODEL_FORMAT_SAFETENSORS, &file), IMP_OK);
    assert_int_equal(model_file_tensor_count(file), 3);
    assert_int_equal(json_integer_value(json_object_get(model_file_config(file), "x")), 1);
    model_file_close(file);
    assert_refused(in_work_dir("model.safetensors"), IMP_ERR_FORMAT, "name the directory");
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        ImpStatus status;
        const char *words;
    } bad[] = {
        {"{\"a\":", IMP_ERR_FORMAT, "not valid JSON"},
        {"[]", IMP_ERR_FORMAT, "not a JSON object"},
        {"{\"a\":3}", IMP_ERR_FORMAT, "tensor 'a': its header is not an object"},
        {"{\"a\":{}}", IMP_ERR_FORMAT, "tensor 'a': its header has no dtype"},
        {"{" TENSOR("a", "F4", "[16]", 0, 8) "}", IMP_ERR_UNSUPPORTED, "tensor 'a': its data type 'F4'"},
        {"{" TENSOR("a", "Q4_0", "[32]", 0, 18) "}", IMP_ERR_UNSUPPORTED, "'Q4_0'"},
        {"{" TENSOR("a", "F32", "[3]", 0, 8) "}", IMP_ERR_FORMAT, "needs 12 bytes, its data_offsets span 8"},
        {"{" TENSOR("a", "F32", "[2]", 64, 72) "}", IMP_ERR_FORMAT, "do not fit the 64 bytes"},
        {"{" TENSOR("a", "F32", "[2]", 60, 68) "}", IMP_ERR_FORMAT, "do not fit"},
        {"{" TENSOR("a", "F32", "[2]", 8, 0) "}", IMP_ERR_FORMAT, "not a range"},
        {"{" TENSOR("a", "F32", "[2]", -8, 0) "}", IMP_ERR_FORMAT, "not a range"},
        {"{" TENSOR("a", "F32", "[2]", 0.0, 8) "}", IMP_ERR_FORMAT, "not a range"},
        {"{" TENSOR("a", "F32", "[-2]", 0, 8) "}", IMP_ERR_FORMAT, "dimension 0"},
        {"{" TENSOR("a", "F32", "[2.5]", 0, 8) "}", IMP_ERR_FORMAT, "dimension 0"},
        {"{" TENSOR("a", "F32", "2", 0, 8) "}", IMP_ERR_FORMAT, "no shape"},
        {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,2]", 0, 8) "}", IMP_ERR_UNSUPPORTED, "9 dimensions"},
        {"{" TENSOR("a", "F32", "[4294967296,4294967296,4]", 0, 0) "}", IMP_ERR_FORMAT, "more elements"},
        {"{" TENSOR("a", "I8", "[4611686018427387904,4]", 0, 0) "}", IMP_ERR_FORMAT, "more elements"},
        {"{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("b", "F32", "[2]", 4, 12) "}", IMP_ERR_FORMAT,
         "'a' and 'b' lie over each other"},
        {"{" TENSOR("a", "F32", "[8]", 0, 32) "," TENSOR("b", "F32", "[1]", 4, 8) "}", IMP_ERR_FORMAT, "lie over"},
        {"{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("a", "F32", "[2]", 8, 16) "}", IMP_ERR_FORMAT, "duplicate"},
        {"{" TENSOR("", "F32", "[2]", 0, 8) "}", IMP_ERR_FORMAT, "name is empty"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", IMP_ERR_FORMAT, "two numbers"},
    };
    clear_work_dir();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_tensors("model.safetensors", bad[i].header, 64);
        assert_refused(work_dir, bad[i].status, bad[i].words);
        assert_non_null(strstr(imp_last_error(), "/model.safetensors: "));
    }
}

static void bad_lengths_are_refused(void **state)
{
    (void)state;
    clear_work_dir();
    for (size_t size = 0; size <= 16; size += 4) {
        StrBuf out = {0};
        put_u64(&out, UINT64_MAX - size);
        put_u64(&out, 0);
        StrBuf cut = {0};
        strbuf_append(&cut, out.data, size);
        strbuf_free(&out);
        write_file("model.safetensors", &cut);
        assert_refused(work_dir, IMP_ERR_FORMAT, size < 8 ? "too short" : "a header of");
    }
}

static void deep_headers_are_refused(void **state)
{
    (void)state;
    clear_work_dir();
    StrBuf header = {0};
    for (int i = 0; i < 200000; i++) strbuf_puts(&header, "[");
    write_tensors("model.safetensors", header.data, 0);
    strbuf_free(&header);
    assert_refused(work_dir, IMP_ERR_FORMAT, "depth");
}

static void shards_are_joined(void **state)
{
    (void)state;
    clear_work_dir();
    write_tensors("x1", "{" TENSOR("a", "F32", "[2]", 0, 8) "}", 8);
    write_tensors("x2", "{" TENSOR("b", "F32", "[2]", 4, 12) "," TENSOR("extra", "I8", "[1]", 0, 1) "}", 12);
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"b\":\"x2\",\"a\":\"x1\",\"extra\":\"x2\"}}");
    ModelFile *file = open_model(work_dir);
    assert_int_equal(model_file_tensor_count(file), 3);
    assert_int_equal(model_file_tensor(file, "b")->data[0], 4);
    assert_int_equal(model_file_tensor(file, "a")->data[0], 0);
    model_file_close(file);
}

static void bad_indexes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        ImpStatus status;
        const char *words;
    } bad[] = {
        {"{", IMP_ERR_FORMAT, "not valid JSON"},
        {"{}", IMP_ERR_FORMAT, "no weight_map"},
        {"{\"weight_map\":[]}", IMP_ERR_FORMAT, "no weight_map"},
        {"{\"weight_map\":{\"a\":1}}", IMP_ERR_FORMAT, "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"../x1\"}}", IMP_ERR_FORMAT, "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", IMP_ERR_FORMAT, "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"\"}}", IMP_ERR_FORMAT, "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"x9\"}}", IMP_ERR_IO, "x9"},
        {"{\"weight_map\":{\"z\":\"x1\"}}", IMP_ERR_FORMAT, "tensor 'z' is not in x1"},
        {"{\"weight_map\":{\"a\":\"x1\",\"b\":\"x1\",\"c\":\"x2\"}}", IMP_ERR_FORMAT, "tensor 'b' is not in x1"},
        {"{\"weight_map\":{\"a\":\"x1\",\"b\":\"x3\"}}", IMP_ERR_FORMAT, "x3: tensor 'a': there are two tensors"},
    };
    clear_work_dir();
    write_tensors("x1", "{" TENSOR("a", "F32", "[2]", 0, 8) "}", 8);
    write_tensors("x2", "{" TENSOR("b", "F32", "[2]", 0, 8) "}", 8);
    write_tensors("x3", "{" TENSOR("a", "F32", "[2]", 0, 8) "}", 8);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text("model.safetensors.index.json", bad[i].index);
        assert_refused(work_dir, bad[i].status, bad[i].words);
    }
}

static void a_directory_needs_something_to_open(void **state)
{
    (void)state;
    clear_work_dir();
    assert_refused(work_dir, IMP_ERR_FORMAT, "holds none of");
    assert_refused(in_work_dir("absent"), IMP_ERR_IO, "No such file");
    write_text("tokenizer.json", "{\"model\":{}}");
    ModelFile *file = open_model(work_dir);
    assert_int_equal(model_file_tensor_count(file), 0);
    assert_non_null(json_object_get(model_file_tokenizer(file), "model"));
    model_file_close(file);
}

static void companions_are_read(void **state)
{
    (void)state;
    clear_work_dir();
    write_text("config.json", "{\"time_step_limit\": [0.0, Infinity]}");
    write_text("generation_config.json", "{\"eos_token_id\": [1, 2]}");
    write_text("tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
    write_text("chat_template.jinja", "{{ x }}");
    ModelFile *file = open_model(work_dir);
    const json_t *limit = json_object_get(model_file_config(file), "time_step_limit");
    assert_true((float)json_number_value(json_array_get(limit, 1)) > 3e38f);
    assert_int_equal(json_array_size(json_object_get(model_file_generation_config(file), "eos_token_id")), 2);
    assert_true(json_number_value(json_object_get(model_file_tokenizer_config(file), "model_max_length")) > 9e29);
    assert_string_equal(model_file_chat_template(file), "{{ x }}");
    model_file_close(file);
    write_text("generation_config.json", "{\"eos_token_id\": }");
    assert_refused(work_dir, IMP_ERR_FORMAT, "/generation_config.json: not valid JSON: line 1");
    write_text("generation_config.json", "{}");
    StrBuf with_nul = {0};
    strbuf_append(&with_nul, "a\0b", 3);
    write_file("chat_template.jinja", &with_nul);
    assert_refused(work_dir, IMP_ERR_FORMAT, "/chat_template.jinja: there is a NUL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_one_file),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(bad_lengths_are_refused),
        cmocka_unit_test(deep_headers_are_refused),
        cmocka_unit_test(shards_are_joined),
        cmocka_unit_test(bad_indexes_are_refused),
        cmocka_unit_test(a_directory_needs_something_to_open),
        cmocka_unit_test(companions_are_read),
    };
    return cmocka_run_group_tests(tests, make_work_dir, remove_work_dir);
}
