/*
 * matvec_call.h - what matvec.cu and the experts' single row ask of the one matrix-vector kernel.
 */
#ifndef IMP_COMPUTE_CUDA_MATVEC_CALL_H
#define IMP_COMPUTE_CUDA_MATVEC_CALL_H

#include "compute/cuda/experts.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Some outputs of one input. With `gated` an output is a pair of matrices a (gate) and b (up) of one type and shape,
 * and y = activation(a x + bias a) * (b x + bias b). */
typedef struct MatvecOutput {
    const CudaWeight *a, *b; /* b NULL: not gated */
    const float *bias_a, *bias_b;
    float *y;
    int32_t rows; /* of one expert where there are ids, else of the weight */
} MatvecOutput;

/* How a row's experts are chosen from the router's scores: Experts of layer.h, with device memory. */
typedef struct RouteSpec {
    const float *choice_bias;
    float renormalize_eps, scale;
    int32_t n_experts, n_used, n_groups, n_groups_used;
    RouterKind kind;
    GroupScore group_score;
    bool renormalize;
} RouteSpec;

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
    int32_t *ids;      /* device [n_ids] */
    float *id_weights; /* device [n_ids]; SPREAD: multiply x where weigh_input; SUMMED: NULL: 1 */
    bool weigh_input;
    RouteSpec route;         /* SPREAD with logits: the kernel itself chooses, and writes ids and id_weights */
    const float *logits;     /* device [n_experts]; NULL: ids are given */
    bool add;                /* y += instead of y = */
    const float *sigmoid_of; /* device: what is added or set is multiplied by sigmoid of this; NULL: 1 */
} MatvecCall;

/* How the kernel spreads over the chip; benchmarks vary it. */
typedef struct MatvecTuning {
    int32_t warps; /* of a block, about */
    int32_t blocks_per_sm;
} MatvecTuning;
extern MatvecTuning matvec_tuning;

/* All weights of one call have the same cols. F32 weights too are computed in float32. */
void matvec_launch(CudaQueue *queue, const MatvecCall *call);

/* The most ranks that EXPERTS_SUMMED takes at once. */
int32_t matvec_max_summed(const CudaQueue *queue, int32_t cols);

/* Parts of cuda_route: how the experts choose, and the router's product [n_rows][n_experts]. */
RouteSpec route_spec(const CudaExperts *experts);
void route_logits(CudaQueue *queue, const CudaExperts *experts, const float *x, int32_t n_rows, float *logits);

/* cuda_matvec_gated with its scratch [n_ff] given: used where gate and up cannot go together. */
void matvec_gated(CudaQueue *queue, const float *x, const CudaOutput *gate, const CudaOutput *up, Activation activation,
                  float limit, float *out, float *scratch);

#ifdef __cplusplus
}
#endif
#endif
