/* test_packages.c - files written by the `gguf` and `safetensors` packages; tests/oracle/make_format_goldens.py made
 * them. Element i of the tensor number t of a file is t + i. */
#include "cmocka_all.h"

#include "format/model_file.h"

#include <stdlib.h>
#include <string.h>

static ModelFile *open_package(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/unit/format/packages/%s", IMP_TEST_DATA, name);
    ModelFile *file;
    if (model_file_open(path, MODEL_FORMAT_AUTO, &file) != IMP_OK) fail_msg("%s", imp_last_error());
    return file;
}

static void assert_tensor(const ModelFile *file, const char *name, DType type, const char *shape, int t,
                          float tolerance)
{
    const FileTensor *tensor = model_file_tensor(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->type, type);
    char got_shape[100] = "";
    size_t n = 1;
    for (int32_t d = 0; d < tensor->n_dims; d++) {
        (void)snprintf(got_shape + strlen(got_shape), 20, "%s%d", d > 0 ? "," : "", (int)tensor->dims[d]);
        n *= (size_t)tensor->dims[d];
    }
    assert_string_equal(got_shape, shape);
    float *values = malloc((n + 1) * sizeof *values);
    dtype_info(type)->decode(tensor->data, values, n);
    for (size_t i = 0; i < n; i++) assert_float_equal(values[i], (float)t + (float)i, tolerance);
    free(values);
}

static void assert_i64(const GgufMeta *meta, const char *key, int64_t expected)
{
    int64_t value;
    assert_true(gguf_get_i64(meta, key, &value));
    assert_true(value == expected);
}

static void every_metadata_type_is_read(void **state)
{
    (void)state;
    ModelFile *file = open_package("tiny.gguf");
    const GgufMeta *meta = model_file_gguf(file);
    assert_i64(meta, "t.u8", 200);
    assert_i64(meta, "t.i8", -100);
    assert_i64(meta, "t.u16", 60000);
    assert_i64(meta, "t.i16", -30000);
    assert_i64(meta, "t.u32", 4000000000);
    assert_i64(meta, "t.i32", -2000000000);
    assert_i64(meta, "t.i64", -(INT64_C(1) << 62));
    assert_true(gguf_find(meta, "t.u64")->as.u == (UINT64_C(1) << 63) + 5);
    double real;
    assert_true(gguf_get_f64(meta, "t.f32", &real) && real == (double)0.1f);
    assert_true(gguf_get_f64(meta, "t.f64", &real) && real == 0.1);
    assert_true(gguf_get_f64(meta, "t.i8", &real) && real == -100.0);
    bool boolean;
    assert_true(gguf_get_bool(meta, "t.yes", &boolean) && boolean);
    assert_true(gguf_get_bool(meta, "t.no", &boolean) && !boolean);
    GgufString string;
    assert_true(gguf_get_string(meta, "t.string", &string));
    assert_int_equal(string.length, strlen("grüße, 世界"));
    assert_memory_equal(string.data, "grüße, 世界", string.length);
    int64_t integer;
    assert_true(gguf_array_i64(gguf_find(meta, "t.ints"), 0, &integer) && integer == -1);
    assert_true(gguf_array_i64(gguf_find(meta, "t.ints"), 2, &integer) && integer == 1 << 30);
    assert_false(gguf_array_i64(gguf_find(meta, "t.ints"), 3, &integer));
    assert_true(gguf_array_f64(gguf_find(meta, "t.floats"), 1, &real) && real == -2.0);
    assert_true(gguf_array_i64(gguf_find(meta, "t.bools"), 1, &integer) && integer == 0);
    assert_true(gguf_array_i64(gguf_find(meta, "t.bools"), 2, &integer) && integer == 1);
    const GgufValue *strings = gguf_find(meta, "t.strings");
    assert_int_equal(strings->count, 3);
    assert_memory_equal(strings->as.strings[1].data, "ß", 2);
    assert_false(gguf_array_i64(strings, 0, &integer));
    /* In file order, architecture first. */
    assert_memory_equal(gguf_key_at(meta, 0).data, "general.architecture", 20);
    assert_memory_equal(gguf_value_at(meta, 0)->as.string.data, "tiny", 4);
    model_file_close(file);
}

static void gguf_tensors_are_read(void **state)
{
    (void)state;
    ModelFile *file = open_package("tiny.gguf");
    assert_int_equal(model_file_tensor_count(file), 6);
    assert_tensor(file, "plain.f32", DT_F32, "3,5", 0, 0.0f);
    assert_tensor(file, "plain.f16", DT_F16, "2,3,4", 1, 0.0f);
    assert_tensor(file, "blocks.Q8_0", DT_Q8_0, "2,64", 2, 1.0f);
    assert_tensor(file, "blocks.Q4_1", DT_Q4_1, "2,64", 3, 2.0f);
    assert_tensor(file, "blocks.BF16", DT_BF16, "2,64", 4, 0.5f);
    assert_tensor(file, "plain.vector", DT_F32, "7", 5, 0.0f);
    model_file_close(file);
}

static void any_part_opens_a_split_model(void **state)
{
    (void)state;
    for (int part = 1; part <= 3; part++) {
        char name[40];
        (void)snprintf(name, sizeof name, "split-%05d-of-00003.gguf", part);
        ModelFile *file = open_package(name);
        assert_int_equal(model_file_tensor_count(file), 5);
        for (int t = 0; t < 5; t++) {
            (void)snprintf(name, sizeof name, "part.%d", t);
            assert_tensor(file, name, DT_F32, "2,4", t, 0.0f);
        }
        GgufString string;
        assert_true(gguf_get_string(model_file_gguf(file), "t.string", &string));
        model_file_close(file);
    }
}

static void safetensors_are_read(void **state)
{
    (void)state;
    ModelFile *file = open_package("one");
    assert_int_equal(model_file_tensor_count(file), 9);
    assert_tensor(file, "a.f32", DT_F32, "3,5", 0, 0.0f);
    assert_tensor(file, "a.f16", DT_F16, "2,3,4", 1, 0.0f);
    assert_tensor(file, "a.bf16", DT_BF16, "4,2", 2, 0.0f);
    assert_tensor(file, "a.f64", DT_F64, "2", 3, 0.0f);
    assert_tensor(file, "a.f8", DT_F8_E4M3, "2,2", 6, 0.0f);
    assert_tensor(file, "a.empty", DT_F32, "0,4", 7, 0.0f);
    assert_tensor(file, "a.scalar", DT_F32, "", 8, 0.0f);
    assert_int_equal(model_file_tensor(file, "a.i64")->type, DT_I64);
    assert_int_equal(model_file_tensor(file, "a.bool")->type, DT_BOOL);
    assert_string_equal(json_string_value(json_object_get(model_file_config(file), "model_type")), "tiny");
    assert_string_equal(model_file_chat_template(file), "{{ messages }}\n");
    model_file_close(file);
}

static void sharded_safetensors_are_read(void **state)
{
    (void)state;
    ModelFile *file = open_package("sharded");
    assert_int_equal(model_file_tensor_count(file), 4);
    assert_tensor(file, "shard.0.0", DT_F32, "2,4", 0, 0.0f);
    assert_tensor(file, "shard.1.1", DT_F32, "2,4", 1, 0.0f);
    model_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metadata_type_is_read),  cmocka_unit_test(gguf_tensors_are_read),
        cmocka_unit_test(any_part_opens_a_split_model), cmocka_unit_test(safetensors_are_read),
        cmocka_unit_test(sharded_safetensors_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
