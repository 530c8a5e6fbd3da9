/*
 * matvec_call.h - what matvec.cu and the experts' single row ask of the one matrix-vector kernel.
 */
#ifndef IMP_COMPUTE_CUDA_MATVEC_CALL_H
#define IMP_COMPUTE_CUDA_MATVEC_CALL_H

#include "compute/cuda/matvec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Some outputs of one input. With `gated` an output is a pair of matrices a (gate) and b (up) of one type and shape, and
 * y = activation(a x + bias a) * (b x + bias b). */
typedef struct MatvecOutput {
    const CudaWeight *a, *b; /* b NULL: not gated */
    const float *bias_a, *bias_b;
    float *y;
    int32_t rows; /* of one expert where there are ids, else of the weight */
} MatvecOutput;

/* How experts enter: `ids` names the expert of each rank.
 *   EXPERTS_SPREAD   every rank meets the same x; y: [n_ids][rows]
 *   EXPERTS_SUMMED   rank r meets x[r]; y[i] = sum over r of weights[r] * (expert r's row i times x[r], + bias) */
typedef enum MatvecExperts { EXPERTS_NONE, EXPERTS_SPREAD, EXPERTS_SUMMED } MatvecExperts;

typedef struct MatvecCall {
    const float *x; /* device [cols], or [n_ids][cols] for EXPERTS_SUMMED */
    MatvecOutput outputs[CUDA_MAX_OUTPUTS];
    int32_t n_outputs;
    bool activated; /* y goes through `activation` (with a gate where b is given) */
    Activation activation;
    float limit;
    MatvecExperts experts;
    int32_t n_ids;
    const int32_t *ids;       /* device [n_ids] */
    const float *id_weights;  /* device [n_ids]; SPREAD: multiply x; NULL: 1 */
    bool add;                 /* y += instead of y = */
    const float *sigmoid_of;  /* device: what is added or set is multiplied by sigmoid of this; NULL: 1 */
} MatvecCall;

/* How the kernel spreads over the chip; benchmarks vary it. */
typedef struct MatvecTuning {
    int32_t warps;         /* of a block, about */
    int32_t blocks_per_sm;
    int32_t ahead_bytes;   /* that an SM asks the L2 cache for beyond its rings before it waits for x */
    int32_t late;          /* the next kernel starts when the last weights are asked for, else at once */
} MatvecTuning;
extern MatvecTuning matvec_tuning;

/* All weights of one call have the same cols. F32 weights too are computed in float32. */
void matvec_launch(CudaQueue *queue, const MatvecCall *call);

/* The most ranks that EXPERTS_SUMMED takes at once. */
int32_t matvec_max_summed(int32_t cols);

/* cuda_matvec_gated with its scratch [n_ff] given: used where gate and up cannot go together. */
void matvec_gated(CudaQueue *queue, const float *x, const CudaOutput *gate, const CudaOutput *up, Activation activation,
                  float limit, float *out, float *scratch);

#ifdef __cplusplus
}
#endif
#endif
