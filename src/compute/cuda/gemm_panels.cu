/*
 * gemm_panels.cu - rows of a packed matrix as bfloat16, for the dense product that follows.
 *
 * Floor: the packed bytes in and two bytes an element out, of which L2 keeps what it can; measured 3.2 TB/s of both
 * (Q4_K, 4,096 rows of 4,096). A thread makes eight neighbouring elements of kRowsEach rows: a warp writes 512 bytes in
 * a row, and the loads of all its rows are on their way together.
 */
#include "compute/cuda/codec_bf16.cuh"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/packed.h"

enum { kPanelThreads = 256, kRowsEach = 4 };

/* Quads 2c and 2c + 1 of a group as quads 0 and 1 (codec.cuh says where quads lie). */
template <DType T> __device__ __forceinline__ CodecBits<T> quads_of_chunk(const CodecRow &row, int group, int c)
{
    constexpr int low = codec_shape(T).low_bits, high = codec_shape(T).high_bits;
    CodecBits<T> bits = {};
    const uint32_t *words = (const uint32_t *)row.low + group * low + c * low / 4;
    if constexpr (low == 8) {
        const uint2 two = *(const uint2 *)words;
        bits.low[0] = two.x;
        bits.low[1] = two.y;
    } else {
        bits.low[0] = *words >> (low == 4 ? 0 : low * (2 * c % (8 / low)));
    }
    if constexpr (high > 0)
        bits.high[0] = ((const uint32_t *)row.high)[group * high + c * high / 4] >> (high * (2 * c % (8 / high)));
    return bits;
}

template <DType T>
static __global__ void __launch_bounds__(kPanelThreads)
    panel_kernel(const __grid_constant__ CudaWeight weight, int64_t first_row, int n_rows, uint16_t *out)
{
    cuda_let_next_start();
    cuda_wait_for_inputs(); /* the panel may still be read by the product before */
    const int chunk = blockIdx.y * kPanelThreads + threadIdx.x, group = chunk / 4, c = chunk % 4;
    if (chunk * 8 >= weight.cols) return;
#pragma unroll
    for (int i = 0; i < kRowsEach; i++) {
        const int r = blockIdx.x * kRowsEach + i;
        const int64_t at = first_row + min(r, n_rows - 1);
        const CodecRow row = codec_row(weight, at);
        const float factor =
            weight.stack_scales != nullptr ? weight.stack_scales[at / weight.stack_rows] : weight.scale;
        uint32_t pairs[4];
        if constexpr (codec_shape(T).scaling == SCALING_NONE) {
            constexpr int kBytes = codec_shape(T).low_bits;
            uint32_t words[kBytes / 4];
            codec_words<kBytes / 4>(row.low + (size_t)chunk * kBytes, words);
            bf16_from_plain<T>(words, pairs);
            if (factor != 1.0f) {
#pragma unroll
                for (int j = 0; j < 4; j++)
                    pairs[j] = bf16_pair(__uint_as_float(pairs[j] << 16) * factor,
                                         __uint_as_float(pairs[j] & 0xFFFF0000u) * factor);
            }
        } else {
            const CodecBits<T> bits = quads_of_chunk<T>(row, group, c);
            const CodecScales scales = codec_scales<T>(row, group);
            const float scale = c < 2 ? scales.scale[0] : scales.scale[1];
            const float minimum = c < 2 ? scales.minimum[0] : scales.minimum[1];
            bf16_from_quads<T>(codec_quad<T>(bits, 0), codec_quad<T>(bits, 1), scale * factor, minimum * factor, pairs);
        }
        if (r < n_rows)
            *(uint4 *)(out + (size_t)r * weight.cols + chunk * 8) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
}

template <DType T>
static void launch_panel(CudaQueue *queue, const CudaWeight *weight, int64_t first_row, int32_t n_rows, uint16_t *out)
{
    const dim3 grid((unsigned)((n_rows + kRowsEach - 1) / kRowsEach),
                    (unsigned)((weight->cols / 8 + kPanelThreads - 1) / kPanelThreads));
    cuda_launch(queue, panel_kernel<T>, grid, dim3(kPanelThreads), 0, *weight, first_row, n_rows, out);
}

void panel_decode(CudaQueue *queue, const CudaWeight *weight, int64_t first_row, int32_t n_rows, uint16_t *out)
{
    switch (weight->type) {
#define PANEL(type)                                                                                                    \
    case type:                                                                                                         \
        launch_panel<type>(queue, weight, first_row, n_rows, out);                                                     \
        break;
        CODEC_BLOCK_TYPES(PANEL)
        PANEL(DT_F16)
        PANEL(DT_BF16)
        PANEL(DT_F8_E4M3) PANEL(DT_F8_E5M2)
#undef PANEL
            default : queue->error = cudaErrorNotSupported;
        break;
    }
}
