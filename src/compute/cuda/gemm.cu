/*
 * gemm.cu - which product takes several rows of activations.
 *
 *     BF16, a few rows; portable GPUs; odd      gemm_packed.cu: weights decoded in registers for mma.sync
 *     up to some hundred on Hopper              gemm_coded.cu: weights decoded in registers for wgmma
 *     BF16 matrices, many rows on Hopper        gemm_hopper.cu: bfloat16 matrices
 *     NVFP4 and MXFP4 on Blackwell              gemm_block_scaled.cu: as they are, x in 4 and 8 bits
 *
 * The third takes BF16 matrices as they are; of other types panels of whole rows are decoded into the workspace first,
 * which costs about 4 bytes of traffic an element: a few percent of the product's time from 1,000 rows on.
 * runtime.deterministic stays with the first two, which cut their sums by the shape of the matrix alone.
 */
#include "compute/cuda/gemm.h"
#include "compute/cuda/block_scaled.h"
#include "compute/cuda/dense.h"
#include "compute/cuda/packed.h"
#include "compute/cuda/rowwise.h"

/* Measured on an H200 at 8B shapes: which product is the fastest up to how many rows. */
enum {
    PACKED_ROWS = 16,      /* mma.sync, for BF16 */
    PACKED_ROWS_MOST = 96, /* for types that gemm_coded.cu does not know, before panels */
    CODED_ROWS = 384,      /* before panels */
    PANEL_ALIGN = 256,     /* bytes, and rows of a panel that is not the last */
};

/* A panel is at most this large: a matrix of an 8B model in one or two pieces. */
static const size_t PANEL_BYTES = (size_t)128 << 20;

static size_t decoded_bytes(const CudaWeight *weight, int64_t rows)
{
    return ((size_t)rows * (size_t)weight->cols * sizeof(uint16_t) + PANEL_ALIGN - 1) / PANEL_ALIGN * PANEL_ALIGN;
}

size_t cuda_gemm_workspace(const CudaWeight *weight, int32_t max_rows)
{
    if (weight->type == DT_BF16 || weight->type == DT_F32) return 0;
    const size_t panel = max_rows > PACKED_ROWS_MOST ? decoded_bytes(weight, weight->rows) : 0;
    const size_t split =
        max_rows >= BLOCK_SCALED_LEAST_ROWS ? block_scaled_row_bytes(weight->type, weight->cols) * (size_t)max_rows : 0;
    const size_t bytes = panel > split ? panel : split;
    return bytes < PANEL_BYTES ? bytes : PANEL_BYTES;
}

/* ---- the dense path ---- */

/* Whether the matrix is bfloat16 in memory already, as one scale times its elements. */
static bool is_dense(const CudaWeight *weight) { return weight->type == DT_BF16 && weight->stack_scales == NULL; }

static bool goes_dense(const CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                       int32_t n_outputs)
{
    if (queue->deterministic) return false;
    for (int32_t i = 0; i < n_outputs; i++) {
        const CudaWeight *weight = outputs[i].weight;
        const bool as_it_is = is_dense(weight);
        const int32_t others = as_it_is                           ? PACKED_ROWS
                               : coded_possible(queue, x, weight) ? CODED_ROWS
                                                                  : PACKED_ROWS_MOST;
        if (n_rows <= others || weight->rows % 2 != 0) return false;
        if (!dense_possible(queue, x, weight->cols, (size_t)weight->cols)) return false;
        if (!as_it_is && decoded_bytes(weight, PANEL_ALIGN) * (size_t)n_outputs > queue->workspace_bytes) return false;
    }
    return true;
}

/* Rows first … first + rows - 1 of an output, decoded to workspace + *used where needed. */
static DensePart make_part(CudaQueue *queue, const CudaOutput *output, int32_t first, int32_t rows, size_t *used)
{
    const CudaWeight *weight = output->weight;
    DensePart part = {};
    part.rows = rows;
    part.bias = output->bias != NULL ? output->bias + first : NULL;
    part.y = output->y + first;
    part.y_stride = (size_t)weight->rows;
    if (is_dense(weight)) {
        part.w_stride = weight->plane_stride[0] / sizeof(uint16_t);
        part.w = (const uint16_t *)weight->planes[0] + (size_t)first * part.w_stride;
        part.scale = weight->scale;
    } else {
        uint16_t *panel = (uint16_t *)((uint8_t *)queue->workspace + *used);
        panel_decode(queue, weight, first, rows, panel);
        *used += decoded_bytes(weight, rows);
        part.computed = true;
        part.w = panel;
        part.w_stride = (size_t)weight->cols;
        part.scale = 1.0f;
    }
    return part;
}

/* Rows that may be decoded next into `room` bytes: all `left`, or a multiple of PANEL_ALIGN; 0: none fit. */
static int32_t panel_rows(const CudaWeight *weight, int32_t left, size_t room)
{
    if (is_dense(weight) || decoded_bytes(weight, left) <= room) return left;
    return (int32_t)(room / decoded_bytes(weight, PANEL_ALIGN)) * PANEL_ALIGN;
}

static void dense_gemm(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                       int32_t n_outputs)
{
    const int32_t cols = outputs[0].weight->cols;
    DensePart parts[DENSE_MAX_PARTS];
    int32_t n_parts = 0;
    size_t used = 0;
    for (int32_t i = 0; i < n_outputs; i++) {
        for (int32_t first = 0; first < outputs[i].weight->rows;) {
            const int32_t rows =
                panel_rows(outputs[i].weight, outputs[i].weight->rows - first, queue->workspace_bytes - used);
            if (rows == 0 || n_parts == DENSE_MAX_PARTS) {
                dense_product(queue, x, (size_t)cols, n_rows, cols, parts, n_parts, NULL, NULL);
                n_parts = 0;
                used = 0;
                continue;
            }
            parts[n_parts++] = make_part(queue, &outputs[i], first, rows, &used);
            first += rows;
        }
    }
    dense_product(queue, x, (size_t)cols, n_rows, cols, parts, n_parts, NULL, NULL);
}

static void dense_gated(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                        Activation activation, float limit, uint16_t *out)
{
    const int32_t n_ff = outputs[0].weight->rows, cols = outputs[0].weight->cols;
    for (int32_t first = 0; first < n_ff;) {
        int32_t rows = n_ff - first;
        for (int32_t i = 0; i < 2; i++) {
            const int32_t fitting = panel_rows(outputs[i].weight, n_ff - first, queue->workspace_bytes / 2);
            if (fitting < rows) rows = fitting;
        }
        size_t used = 0;
        const DensePart parts[2] = {make_part(queue, &outputs[0], first, rows, &used),
                                    make_part(queue, &outputs[1], first, rows, &used)};
        DenseGate gate = {};
        gate.activation = activation;
        gate.limit = limit;
        gate.out = out + first;
        gate.out_stride = (size_t)n_ff;
        dense_product(queue, x, (size_t)cols, n_rows, cols, parts, 2, &gate, NULL);
        first += rows;
    }
}

/* ---- any of them ---- */

static bool goes_block_scaled(const CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                              int32_t n_outputs)
{
    return queue->tier == CUDA_TIER_BLACKWELL && !queue->deterministic && n_rows >= BLOCK_SCALED_LEAST_ROWS &&
           block_scaled_possible(queue, x, outputs, n_outputs);
}

static bool goes_coded(const CudaQueue *queue, const uint16_t *x, const CudaOutput *outputs, int32_t n_outputs)
{
    for (int32_t i = 0; i < n_outputs; i++)
        if (!coded_possible(queue, x, outputs[i].weight)) return false;
    return true;
}

/* Matrices of one type. */
static void product_of_type(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs,
                            int32_t n_outputs, const GemmGate *gate)
{
    if (goes_block_scaled(queue, x, n_rows, outputs, n_outputs))
        block_scaled_product(queue, x, n_rows, outputs, n_outputs, gate);
    else if (goes_coded(queue, x, outputs, n_outputs))
        coded_product(queue, x, n_rows, outputs, n_outputs, gate);
    else
        packed_product(queue, x, n_rows, outputs, n_outputs, gate, NULL);
}

void cuda_gemm(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *outputs, int32_t n_outputs)
{
    if (queue->error != cudaSuccess || n_rows == 0) return;
    if (goes_dense(queue, x, n_rows, outputs, n_outputs)) {
        dense_gemm(queue, x, n_rows, outputs, n_outputs);
        return;
    }
    /* Neighbours of one type share a launch. */
    for (int32_t first = 0, n; first < n_outputs; first += n) {
        for (n = 1; first + n < n_outputs && outputs[first + n].weight->type == outputs[first].weight->type;) n++;
        product_of_type(queue, x, n_rows, outputs + first, n, NULL);
    }
}

void cuda_gemm_gated(CudaQueue *queue, const uint16_t *x, int32_t n_rows, const CudaOutput *gate, const CudaOutput *up,
                     Activation activation, float limit, uint16_t *out)
{
    if (queue->error != cudaSuccess || n_rows == 0) return;
    const int32_t n_ff = up->weight->rows;
    if (gate != NULL) {
        const CudaOutput outputs[2] = {*gate, *up};
        if (goes_dense(queue, x, n_rows, outputs, 2)) {
            dense_gated(queue, x, n_rows, outputs, activation, limit, out);
            return;
        }
        if (gate->weight->type == up->weight->type) {
            const GemmGate joined = {activation, limit, out, (size_t)n_ff};
            product_of_type(queue, x, n_rows, outputs, 2, &joined);
            return;
        }
        cuda_gemm(queue, x, n_rows, gate, 1);
    }
    cuda_gemm(queue, x, n_rows, up, 1);
    const CudaAct result = {NULL, out};
    cuda_activate(queue, n_rows, n_ff, activation, limit, gate != NULL ? gate->y : NULL, up->y, CUDA_FORM_BF16,
                  &result);
}
