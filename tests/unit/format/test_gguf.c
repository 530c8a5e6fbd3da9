/* test_gguf.c - GGUF files built byte by byte: good ones are read, each way of being bad is refused with its reason. */
#include "file_builder.h"

#include "core/clock.h"

static void put_string(StrBuf *out, const char *text)
{
    put_u64(out, strlen(text));
    strbuf_puts(out, text);
}

static void put_header(StrBuf *out, uint32_t version, uint64_t n_tensors, uint64_t n_pairs)
{
    strbuf_puts(out, "GGUF");
    put_u32(out, version);
    put_u64(out, n_tensors);
    put_u64(out, n_pairs);
}

static void put_key(StrBuf *out, const char *key, uint32_t type)
{
    put_string(out, key);
    put_u32(out, type);
}

static void put_u32_pair(StrBuf *out, const char *key, uint32_t value)
{
    put_key(out, key, GGUF_U32);
    put_u32(out, value);
}

/* A row of the tensor table; dims innermost first, as in the file. */
static void put_tensor(StrBuf *out, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                       uint64_t offset)
{
    put_string(out, name);
    put_u32(out, n_dims);
    for (uint32_t d = 0; d < n_dims; d++) put_u64(out, dims[d]);
    put_u32(out, type);
    put_u64(out, offset);
}

static void pad(StrBuf *out, size_t alignment)
{
    while (out->length % alignment != 0) strbuf_putc(out, '\0');
}

static void put_data(StrBuf *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) strbuf_putc(out, (char)(i & 0x7F));
}

enum { TYPE_F32 = 0, TYPE_Q4_0 = 2, TYPE_IQ2_XXS = 16 };

static void reads_both_versions(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        StrBuf out = {0};
        put_header(&out, version, 3, 1);
        put_u32_pair(&out, "answer", 42);
        put_tensor(&out, "w", 2, (const uint64_t[]){32, 3}, TYPE_Q4_0, 0);
        put_tensor(&out, "b", 1, (const uint64_t[]){4}, TYPE_F32, 64);
        put_tensor(&out, "none", 2, (const uint64_t[]){4, 0}, TYPE_F32, 64);
        pad(&out, 32);
        put_data(&out, 64 + 16);
        write_file("good.gguf", &out);
        ModelFile *file = open_model(in_work_dir("good.gguf"));
        assert_int_equal(model_file_format(file), MODEL_FORMAT_GGUF);
        int64_t answer;
        assert_true(gguf_get_i64(model_file_gguf(file), "answer", &answer) && answer == 42);
        assert_int_equal(model_file_tensor_count(file), 3);
        assert_int_equal(model_file_tensor_bytes(file), 3 * 18 + 16);
        const FileTensor *w = model_file_tensor(file, "w"), *b = model_file_tensor(file, "b");
        assert_int_equal(w->type, DT_Q4_0);
        assert_int_equal(w->n_dims, 2);
        assert_int_equal(w->dims[0], 3);
        assert_int_equal(w->dims[1], 32);
        assert_int_equal(w->size, 54);
        assert_int_equal(w->data[53], 53);
        assert_int_equal(b->data[0], 64);
        assert_int_equal(model_file_tensor(file, "none")->size, 0);
        assert_null(model_file_tensor(file, "none")->data);
        assert_null(model_file_tensor(file, "absent"));
        model_file_close(file);
    }
}

static void reads_a_file_without_tensors(void **state)
{
    (void)state;
    StrBuf out = {0};
    put_header(&out, 3, 0, 0);
    write_file("empty.gguf", &out);
    ModelFile *file = open_model(in_work_dir("empty.gguf"));
    assert_int_equal(model_file_tensor_count(file), 0);
    assert_int_equal(gguf_count(model_file_gguf(file)), 0);
    model_file_close(file);
}

static void converts_numbers_only_without_loss(void **state)
{
    (void)state;
    StrBuf out = {0};
    put_header(&out, 3, 0, 5);
    put_key(&out, "big", GGUF_U64);
    put_u64(&out, UINT64_MAX);
    put_key(&out, "odd", GGUF_I64);
    put_u64(&out, (UINT64_C(1) << 53) + 1);
    put_key(&out, "whole", GGUF_F32);
    put_u32(&out, 0x40400000); /* 3.0 */
    put_key(&out, "half", GGUF_F32);
    put_u32(&out, 0x3F000000); /* 0.5 */
    put_key(&out, "nan", GGUF_F64);
    put_u64(&out, 0x7FF8000000000000);
    write_file("numbers.gguf", &out);
    ModelFile *file = open_model(in_work_dir("numbers.gguf"));
    const GgufMeta *meta = model_file_gguf(file);
    int64_t integer;
    double real;
    bool boolean;
    GgufString string;
    assert_false(gguf_get_i64(meta, "big", &integer));
    assert_false(gguf_get_f64(meta, "big", &real));
    assert_true(gguf_get_i64(meta, "odd", &integer) && integer == (INT64_C(1) << 53) + 1);
    assert_false(gguf_get_f64(meta, "odd", &real));
    assert_true(gguf_get_i64(meta, "whole", &integer) && integer == 3);
    assert_false(gguf_get_i64(meta, "half", &integer));
    assert_true(gguf_get_f64(meta, "half", &real) && real == 0.5);
    assert_false(gguf_get_i64(meta, "nan", &integer));
    assert_false(gguf_get_bool(meta, "whole", &boolean));
    assert_false(gguf_get_string(meta, "whole", &string));
    assert_false(gguf_get_i64(meta, "absent", &integer));
    model_file_close(file);
}

static void a_big_vocabulary_opens_at_once(void **state)
{
    (void)state;
    enum { N = 150000 };
    StrBuf out = {0};
    put_header(&out, 3, 0, 1);
    put_key(&out, "tokenizer.ggml.tokens", GGUF_ARRAY);
    put_u32(&out, GGUF_STRING);
    put_u64(&out, N);
    for (int i = 0; i < N; i++) {
        char token[16];
        (void)snprintf(token, sizeof token, "token%d", i);
        put_string(&out, token);
    }
    write_file("vocabulary.gguf", &out);
    const double start = clock_seconds();
    ModelFile *file = open_model(in_work_dir("vocabulary.gguf"));
    assert_true(clock_seconds() - start < 1.0); /* takes 2 ms; the bound is for loaded machines under sanitizers */
    const GgufValue *tokens = gguf_find(model_file_gguf(file), "tokenizer.ggml.tokens");
    assert_int_equal(tokens->count, N);
    assert_int_equal(tokens->as.strings[149999].length, 11);
    assert_memory_equal(tokens->as.strings[149999].data, "token149999", 11);
    model_file_close(file);
}

static void nested_arrays_are_passed_over(void **state)
{
    (void)state;
    for (int depth = 7; depth <= 8; depth++) {
        StrBuf out = {0};
        put_header(&out, 3, 0, 2);
        put_key(&out, "nested", GGUF_ARRAY);
        for (int level = 0; level < depth; level++) {
            put_u32(&out, GGUF_ARRAY);
            put_u64(&out, 1);
        }
        put_u32(&out, GGUF_U8);
        put_u64(&out, 3);
        strbuf_puts(&out, "abc");
        put_u32_pair(&out, "after", 7);
        write_file("nested.gguf", &out);
        if (depth == 8) {
            assert_refused(in_work_dir("nested.gguf"), IMP_ERR_LIMIT, "'nested'");
            continue;
        }
        ModelFile *file = open_model(in_work_dir("nested.gguf"));
        int64_t number;
        assert_true(gguf_get_i64(model_file_gguf(file), "after", &number) && number == 7);
        assert_false(gguf_array_i64(gguf_find(model_file_gguf(file), "nested"), 0, &number));
        model_file_close(file);
    }
}

/* Each prefix of a good file is refused, whatever it cuts. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    StrBuf good = {0};
    put_header(&good, 3, 1, 3);
    put_u32_pair(&good, "a", 1);
    put_key(&good, "strings", GGUF_ARRAY);
    put_u32(&good, GGUF_STRING);
    put_u64(&good, 2);
    put_string(&good, "x");
    put_string(&good, "yz");
    put_key(&good, "s", GGUF_STRING);
    put_string(&good, "text");
    put_tensor(&good, "w", 1, (const uint64_t[]){8}, TYPE_F32, 0);
    pad(&good, 32);
    put_data(&good, 32);
    for (size_t length = 0; length < good.length; length++) {
        StrBuf cut = {0};
        strbuf_append(&cut, good.data, length);
        write_file("cut.gguf", &cut);
        assert_refused(in_work_dir("cut.gguf"), IMP_ERR_FORMAT, "");
    }
    write_file("cut.gguf", &good);
    model_file_close(open_model(in_work_dir("cut.gguf")));
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    const char *path = in_work_dir("bad.gguf");
    StrBuf out = {0};
    strbuf_puts(&out, "GGML\3\0\0\0");
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "not a GGUF file");
    put_header(&out, 1, 0, 0);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_UNSUPPORTED, "version 1");
    put_header(&out, 0x03000000, 0, 0);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_UNSUPPORTED, "big-endian");
    put_header(&out, 3, 0, UINT64_MAX);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "do not fit");
    put_header(&out, 3, UINT64_MAX / 24 + 2, 0);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "tensors do not fit");
}

static void bad_metadata_is_refused(void **state)
{
    (void)state;
    const char *path = in_work_dir("bad.gguf");
    StrBuf out = {0};
    put_header(&out, 3, 0, 2);
    put_u32_pair(&out, "same", 1);
    put_u32_pair(&out, "same", 2);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "'same': the key is there twice");

    put_header(&out, 3, 0, 1);
    put_key(&out, "odd", 13);
    put_u64(&out, 0);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "'odd': a value of unknown type 13");

    put_header(&out, 3, 0, 1);
    put_key(&out, "maybe", GGUF_BOOL);
    strbuf_putc(&out, 2);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "'maybe': a boolean of value 2");

    put_header(&out, 3, 0, 1);
    put_key(&out, "maybe", GGUF_ARRAY);
    put_u32(&out, GGUF_BOOL);
    put_u64(&out, 2);
    strbuf_append(&out, "\1\3", 2);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "a boolean of value 3");

    put_header(&out, 3, 0, 1);
    put_key(&out, "many", GGUF_ARRAY);
    put_u32(&out, GGUF_F64);
    put_u64(&out, UINT64_C(1) << 61); /* times 8: overflows to 0 */
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "'many': an array");

    put_header(&out, 3, 0, 1);
    put_key(&out, "long", GGUF_STRING);
    put_u64(&out, UINT64_MAX);
    strbuf_puts(&out, "text");
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "'long': the file ends");

    put_header(&out, 3, 0, 1);
    put_u64(&out, 70000);
    put_data(&out, 70000);
    write_file("bad.gguf", &out);
    assert_refused(path, IMP_ERR_FORMAT, "key of 70000 bytes");

    for (uint32_t alignment = 0; alignment <= 48; alignment += 48) {
        put_header(&out, 3, 0, 1);
        put_u32_pair(&out, "general.alignment", alignment);
        write_file("bad.gguf", &out);
        assert_refused(path, IMP_ERR_FORMAT, "general.alignment");
    }
}

typedef struct BadTensor {
    const char *name;
    uint32_t n_dims;
    uint64_t dims[5];
    uint32_t type;
    uint64_t offset;
    ImpStatus status;
    const char *words;
} BadTensor;

static void bad_tensors_are_refused(void **state)
{
    (void)state;
    static const BadTensor bad[] = {
        {"w", 1, {33}, TYPE_F32, 0, IMP_ERR_FORMAT, "'w': its 132 bytes at offset 0 do not fit"},
        {"w", 1, {8}, TYPE_F32, 128, IMP_ERR_FORMAT, "'w': its 32 bytes at offset 128"},
        {"w", 1, {8}, TYPE_F32, UINT64_MAX - 31, IMP_ERR_FORMAT, "do not fit"},
        {"w", 1, {8}, TYPE_F32, 4, IMP_ERR_FORMAT, "multiple of the alignment"},
        {"w", 1, {33}, TYPE_Q4_0, 0, IMP_ERR_FORMAT, "whole blocks of 32"},
        {"w", 5, {1, 1, 1, 1, 1}, TYPE_F32, 0, IMP_ERR_FORMAT, "5 dimensions"},
        {"w", 2, {UINT64_C(1) << 32, UINT64_C(1) << 32}, TYPE_F32, 0, IMP_ERR_FORMAT, "more elements"},
        {"w", 4, {1 << 16, 1 << 16, 1 << 16, 1 << 16}, TYPE_F32, 0, IMP_ERR_FORMAT, "more elements"},
        {"w", 1, {UINT64_C(1) << 63}, TYPE_F32, 0, IMP_ERR_FORMAT, "dimension 0 is negative"},
        {"w", 1, {INT64_MAX}, TYPE_F32, 0, IMP_ERR_FORMAT, "more elements"},
        {"w", 1, {256}, TYPE_IQ2_XXS, 0, IMP_ERR_UNSUPPORTED, "IQ2_XXS"},
        {"w", 1, {8}, 4, 0, IMP_ERR_UNSUPPORTED, "unknown (number 4)"},
        {"w", 1, {8}, UINT32_MAX, 0, IMP_ERR_UNSUPPORTED, "unknown"},
        {"", 1, {8}, TYPE_F32, 0, IMP_ERR_FORMAT, "name is empty"},
        {"twin", 1, {8}, TYPE_F32, 0, IMP_ERR_FORMAT, "'twin': there are two tensors"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        StrBuf out = {0};
        put_header(&out, 3, 2, 0);
        put_tensor(&out, "twin", 1, (const uint64_t[]){8}, TYPE_F32, 0);
        put_tensor(&out, bad[i].name, bad[i].n_dims, bad[i].dims, bad[i].type, bad[i].offset);
        pad(&out, 32);
        put_data(&out, 128);
        write_file("bad.gguf", &out);
        assert_refused(in_work_dir("bad.gguf"), bad[i].status, bad[i].words);
    }
}

/* Part `number` of `count` with one tensor, under the name that `file_number` asks for. */
static void write_part(int file_number, uint32_t number, uint32_t count, uint32_t n_tensors_stated, const char *tensor)
{
    StrBuf out = {0};
    put_header(&out, 3, 1, 3);
    put_u32_pair(&out, "split.no", number);
    put_u32_pair(&out, "split.count", count);
    put_u32_pair(&out, "split.tensors.count", n_tensors_stated);
    put_tensor(&out, tensor, 1, (const uint64_t[]){8}, TYPE_F32, 0);
    pad(&out, 32);
    put_data(&out, 32);
    char name[40];
    (void)snprintf(name, sizeof name, "s-%05d-of-00002.gguf", file_number);
    write_file(name, &out);
}

static void broken_splits_are_refused(void **state)
{
    (void)state;
    char first[200];
    strcpy(first, in_work_dir("s-00001-of-00002.gguf"));
    clear_work_dir();
    write_part(1, 0, 2, 2, "a");
    assert_refused(first, IMP_ERR_IO, "s-00002-of-00002.gguf");
    write_part(2, 1, 2, 2, "a");
    assert_refused(first, IMP_ERR_FORMAT, "s-00002-of-00002.gguf: tensor 'a': there are two");
    write_part(2, 1, 3, 2, "b");
    assert_refused(first, IMP_ERR_FORMAT, "part 2 of 3");
    write_part(2, 0, 2, 2, "b");
    assert_refused(first, IMP_ERR_FORMAT, "part 1 of 2, its name says 2");
    write_part(2, 2, 2, 2, "b");
    assert_refused(first, IMP_ERR_FORMAT, "split.no");
    write_part(1, 0, 2, 3, "a");
    write_part(2, 1, 2, 3, "b");
    assert_refused(first, IMP_ERR_FORMAT, "2 tensors together, split.tensors.count says 3");
    write_part(1, 0, 2, 2, "a");
    ModelFile *file = open_model(first);
    assert_int_equal(model_file_tensor_count(file), 2);
    model_file_close(file);
    assert_int_equal(rename(first, in_work_dir("renamed.gguf")), 0);
    assert_refused(in_work_dir("renamed.gguf"), IMP_ERR_FORMAT, "must have a name that ends in -00001-of-00002.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_versions),
        cmocka_unit_test(reads_a_file_without_tensors),
        cmocka_unit_test(converts_numbers_only_without_loss),
        cmocka_unit_test(a_big_vocabulary_opens_at_once),
        cmocka_unit_test(nested_arrays_are_passed_over),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(bad_metadata_is_refused),
        cmocka_unit_test(bad_tensors_are_refused),
        cmocka_unit_test(broken_splits_are_refused),
    };
    return cmocka_run_group_tests(tests, make_work_dir, remove_work_dir);
}
