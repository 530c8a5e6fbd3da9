/* test_dtype.c - every type's codec against the `gguf` package bit for bit, and the 16- and 8-bit numbers exhaustively.
 */
#include "cmocka_all.h"

#include "core/file_map.h"
#include "quant/dtype.h"
#include "quant/float_bits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One record of quant_goldens.bin; see tests/oracle/make_quant_goldens.py. */
typedef struct Golden {
    char name[17];
    uint32_t is_encode, n_elems, n_bytes;
    const uint8_t *blocks; /* [n_bytes] */
    const uint8_t *values; /* float32 [n_elems], unaligned */
} Golden;

static FileMap golden_file;

static int open_goldens(void **state)
{
    (void)state;
    return file_map_open(IMP_TEST_DATA "/unit/quant/quant_goldens.bin", &golden_file) == IMP_OK ? 0 : -1;
}

static int close_goldens(void **state)
{
    (void)state;
    file_map_close(&golden_file);
    return 0;
}

static bool next_golden(size_t *offset, Golden *golden)
{
    enum { HEADER = 28 };
    if (*offset >= golden_file.size) return false;
    assert_true(golden_file.size - *offset > HEADER);
    const uint8_t *bytes = golden_file.data + *offset;
    memcpy(golden->name, bytes, 16);
    golden->name[16] = '\0';
    memcpy(&golden->is_encode, bytes + 16, 4);
    memcpy(&golden->n_elems, bytes + 20, 4);
    memcpy(&golden->n_bytes, bytes + 24, 4);
    golden->blocks = bytes + HEADER;
    golden->values = golden->blocks + golden->n_bytes;
    *offset += HEADER + golden->n_bytes + (size_t)golden->n_elems * 4;
    assert_true(*offset <= golden_file.size);
    return true;
}

static DType type_by_name(const char *name)
{
    for (int type = 0; type < DT_COUNT; type++) {
        if (strcmp(dtype_info((DType)type)->name, name) == 0) return (DType)type;
    }
    return DT_NONE;
}

/* Which NaN comes out of infinity times zero is the processor's business: any NaN equals any other. */
static void assert_same_bits(const char *name, size_t index, float got, float expected)
{
    if (isnan(got) && isnan(expected)) return;
    if (f32_to_bits(got) != f32_to_bits(expected))
        fail_msg("%s element %zu is %a, expected %a", name, index, (double)got, (double)expected);
}

static void decoders_agree_with_the_gguf_package(void **state)
{
    (void)state;
    int n_decoded = 0;
    Golden golden;
    for (size_t offset = 0; next_golden(&offset, &golden);) {
        if (golden.is_encode) continue;
        const DType type = type_by_name(golden.name);
        assert_int_not_equal(type, DT_NONE);
        size_t bytes;
        assert_true(dtype_row_bytes(type, golden.n_elems, &bytes));
        assert_int_equal(bytes, golden.n_bytes);
        /* From an odd address: blocks promise no alignment. */
        uint8_t *shifted = malloc(bytes + 1);
        float *out = malloc(golden.n_elems * sizeof *out);
        memcpy(shifted + 1, golden.blocks, bytes);
        dtype_info(type)->decode(shifted + 1, out, golden.n_elems);
        for (size_t i = 0; i < golden.n_elems; i++) {
            float expected;
            memcpy(&expected, golden.values + 4 * i, 4);
            assert_same_bits(golden.name, i, out[i], expected);
        }
        free(out);
        free(shifted);
        n_decoded++;
    }
    assert_int_equal(n_decoded, 16);
}

static void encoders_agree_with_the_gguf_package(void **state)
{
    (void)state;
    int n_encoded = 0;
    Golden golden;
    for (size_t offset = 0; next_golden(&offset, &golden);) {
        if (!golden.is_encode) continue;
        const DTypeInfo *info = dtype_info(type_by_name(golden.name));
        float *in = malloc(golden.n_elems * sizeof *in);
        uint8_t *out = calloc(1, golden.n_bytes);
        memcpy(in, golden.values, golden.n_elems * sizeof *in);
        info->encode(in, out, golden.n_elems);
        for (size_t i = 0; i < golden.n_bytes; i++) {
            if (out[i] != golden.blocks[i])
                fail_msg("%s byte %zu is %02x, expected %02x", golden.name, i, out[i], golden.blocks[i]);
        }
        free(out);
        free(in);
        n_encoded++;
    }
    assert_int_equal(n_encoded, 7);
}

/* The number that sign, exponent and mantissa fields stand for, by the definition of the format. */
static double field_value(uint32_t bits, int exponent_bits, int mantissa_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const int mantissa = (int)bits & ((1 << mantissa_bits) - 1);
    const double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1.0 : 1.0;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static void every_half_means_what_its_fields_say(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float half = f16_to_f32((uint16_t)bits), brain = bf16_to_f32((uint16_t)bits);
        if ((bits & 0x7C00) == 0x7C00) {
            if (bits & 0x3FF)
                assert_true(isnan(half));
            else
                assert_true(isinf(half) && !signbit(half) == !(bits >> 15));
        } else {
            assert_same_bits("F16", bits, half, (float)field_value(bits, 5, 10));
        }
        if ((bits & 0x7F80) == 0x7F80) {
            if (bits & 0x7F)
                assert_true(isnan(brain));
            else
                assert_true(isinf(brain) && !signbit(brain) == !(bits >> 15));
        } else {
            assert_same_bits("BF16", bits, brain, (float)field_value(bits, 8, 7));
        }
    }
}

static void every_byte_means_what_its_fields_say(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x100; bits++) {
        if ((bits & 0x7F) == 0x7F)
            assert_true(isnan(f8_e4m3_to_f32((uint8_t)bits)));
        else
            assert_same_bits("F8_E4M3", bits, f8_e4m3_to_f32((uint8_t)bits), (float)field_value(bits, 4, 3));
        if ((bits & 0x7C) != 0x7C)
            assert_same_bits("F8_E5M2", bits, f8_e5m2_to_f32((uint8_t)bits), (float)field_value(bits, 5, 2));
        else if (bits & 3)
            assert_true(isnan(f8_e5m2_to_f32((uint8_t)bits)));
        else
            assert_true(isinf(f8_e5m2_to_f32((uint8_t)bits)));
    }
    assert_same_bits("F8_E4M3", 0x7E, f8_e4m3_to_f32(0x7E), 448.0f);
}

/* Between every two neighbours: the middle goes to the even one, a hair beside it to the nearer one. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7BFF; bits++) {
        const float low = f16_to_f32((uint16_t)bits), high = f16_to_f32((uint16_t)(bits + 1));
        const float middle = (low + high) / 2;
        assert_int_equal(f32_to_f16(low), bits);
        assert_int_equal(f32_to_f16(-low), bits | 0x8000);
        assert_int_equal(f32_to_f16(middle), bits + (bits & 1));
        assert_int_equal(f32_to_f16(nextafterf(middle, 0.0f)), bits);
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), bits + 1);
    }
    for (uint32_t bits = 0; bits < 0x7F7F; bits++) {
        const float low = bf16_to_f32((uint16_t)bits), high = bf16_to_f32((uint16_t)(bits + 1));
        const float middle = low + (high - low) / 2;
        assert_int_equal(f32_to_bf16(low), bits);
        assert_int_equal(f32_to_bf16(-low), bits | 0x8000);
        assert_int_equal(f32_to_bf16(middle), bits + (bits & 1));
        assert_int_equal(f32_to_bf16(nextafterf(middle, 0.0f)), bits);
        assert_int_equal(f32_to_bf16(nextafterf(middle, INFINITY)), bits + 1);
    }
    assert_int_equal(f32_to_f16(65504.0f), 0x7BFF);
    assert_int_equal(f32_to_f16(65519.99f), 0x7BFF);
    assert_int_equal(f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xFC00);
    assert_true(isnan(f16_to_f32(f32_to_f16(NAN))));
    assert_int_equal(f32_to_bf16(INFINITY), 0x7F80);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(f32_from_bits(0x7F800001)))));
}

static void encoders_survive_numbers_that_are_none(void **state)
{
    (void)state;
    const float odd[32] = {NAN, INFINITY, -INFINITY, 3.4e38f, -3.4e38f, 1e-45f, -0.0f, 1.0f};
    for (int type = 0; type < DT_COUNT; type++) {
        const DTypeInfo *info = dtype_info((DType)type);
        uint8_t blocks[256];
        float out[32];
        if (info->encode == NULL) continue;
        info->encode(odd, blocks, 32);
        info->decode(blocks, out, 32);
        for (size_t first = 1; first < 8; first++) {
            float single[32] = {0};
            single[first] = odd[first];
            info->encode(single, blocks, 32);
        }
    }
}

static void table_is_consistent(void **state)
{
    (void)state;
    for (int type = 0; type < DT_COUNT; type++) {
        const DTypeInfo *info = dtype_info((DType)type);
        assert_non_null(info->name);
        assert_true(info->block_elems > 0 && info->block_bytes > 0);
        const bool is_integer = type >= DT_I8 && type <= DT_BOOL;
        assert_int_equal(info->decode == NULL, is_integer);
        if (info->gguf_id >= 0) assert_int_equal(dtype_from_gguf((uint32_t)info->gguf_id), type);
        if (info->safetensors != NULL) assert_int_equal(dtype_from_safetensors(info->safetensors), type);
        size_t bytes;
        assert_true(dtype_row_bytes((DType)type, 0, &bytes) && bytes == 0);
        assert_true(dtype_row_bytes((DType)type, 512, &bytes));
        assert_int_equal(bytes, 512u / info->block_elems * info->block_bytes);
        if (info->block_elems > 1) assert_false(dtype_row_bytes((DType)type, 511, &bytes));
        if (info->block_bytes > info->block_elems)
            assert_false(dtype_row_bytes((DType)type, UINT64_MAX / 256 * 256, &bytes));
    }
    assert_int_equal(dtype_from_gguf(4), DT_NONE); /* a type that GGUF gave up */
    assert_int_equal(dtype_from_gguf(UINT32_MAX), DT_NONE);
    assert_int_equal(dtype_from_safetensors("Q4_0"), DT_NONE);
    assert_int_equal(dtype_from_safetensors(""), DT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(decoders_agree_with_the_gguf_package),
        cmocka_unit_test(encoders_agree_with_the_gguf_package),
        cmocka_unit_test(every_half_means_what_its_fields_say),
        cmocka_unit_test(every_byte_means_what_its_fields_say),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(encoders_survive_numbers_that_are_none),
    };
    return cmocka_run_group_tests(tests, open_goldens, close_goldens);
}
