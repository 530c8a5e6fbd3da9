/*
 * experts_row.cu - one row of a mixture of experts: the matrix-vector kernel over the chosen experts, whose numbers it
 * reads on the device.
 *
 * Floor: the chosen experts' bytes. Router; choice (by every block for itself), gate and up of all chosen experts; down
 * of all of them: three launches, and two for a shared expert, whose gate and up do not wait for the choice. Which
 * experts are read is known only when the choice is made, so their weights cannot be asked for earlier: this is what
 * keeps the step from its floor.
 */
#include "compute/cuda/experts.h"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/matvec_call.h"
#include "compute/cuda/rowwise.h"

/* Scratch of one row, one behind the other in the workspace. */
typedef struct RowScratch {
    float *scores, *weights, *hidden, *hidden_gate, *shared_hidden, *shared_weight;
    int32_t *chosen;
} RowScratch;

static size_t take(size_t *at, size_t words)
{
    const size_t here = *at;
    *at += (words + 63) / 64 * 64;
    return here;
}

/* Returns its words. */
static size_t lay_out(const Experts *spec, float *base, RowScratch *scratch)
{
    size_t at = 0;
    const size_t used = (size_t)spec->n_used, n_ff = (size_t)spec->n_ff;
    const size_t scores = take(&at, (size_t)spec->n_experts), chosen = take(&at, used), weights = take(&at, used);
    const size_t hidden = take(&at, used * n_ff), hidden_gate = take(&at, used * n_ff);
    const size_t shared_hidden = take(&at, 2 * (size_t)spec->shared.n_ff), shared_weight = take(&at, 1);
    if (scratch != NULL) {
        *scratch = RowScratch{base + scores,
                              base + weights,
                              base + hidden,
                              base + hidden_gate,
                              base + shared_hidden,
                              base + shared_weight,
                              (int32_t *)(base + chosen)};
    }
    return at;
}

size_t cuda_experts_row_workspace(const Experts *spec)
{
    return lay_out(spec, NULL, NULL) * sizeof(float) + cuda_route_workspace(spec);
}

/* Chooses the experts; hidden[rank] = activation of expert chosen[rank]'s gate and up. */
static void run_up(CudaQueue *queue, const CudaExperts *experts, const float *x, const RowScratch *scratch)
{
    const Experts *spec = experts->spec;
    MatvecCall call = {};
    call.x = x;
    call.experts = EXPERTS_SPREAD;
    call.n_ids = spec->n_used;
    call.ids = scratch->chosen;
    call.id_weights = scratch->weights;
    call.weigh_input = spec->weight_on_input;
    call.logits = scratch->scores;
    call.route = route_spec(experts);
    call.n_outputs = 1;
    call.activation = spec->activation;
    call.limit = spec->limit;
    call.activated = experts->gate == NULL || experts->gate->type == experts->up->type;
    call.outputs[0] = MatvecOutput{experts->up, NULL, experts->up_bias, NULL, scratch->hidden, spec->n_ff};
    if (experts->gate != NULL && call.activated) {
        call.outputs[0] =
            MatvecOutput{experts->gate, experts->up, experts->gate_bias, experts->up_bias, scratch->hidden, spec->n_ff};
    } else if (experts->gate != NULL) {
        call.outputs[call.n_outputs++] =
            MatvecOutput{experts->gate, NULL, experts->gate_bias, NULL, scratch->hidden_gate, spec->n_ff};
    }
    matvec_launch(queue, &call);
    if (call.activated) return;
    const CudaAct out = {scratch->hidden, NULL};
    cuda_activate(queue, spec->n_used, spec->n_ff, spec->activation, spec->limit, scratch->hidden_gate, scratch->hidden,
                  CUDA_FORM_F32, &out);
}

/* out = sum over the ranks; of as many at a time as a block has warps for. */
static void run_down(CudaQueue *queue, const CudaExperts *experts, const RowScratch *scratch, float *out)
{
    const Experts *spec = experts->spec;
    const int32_t at_once = matvec_max_summed(queue, spec->n_ff);
    for (int32_t first = 0; first < spec->n_used; first += at_once) {
        MatvecCall call = {};
        call.x = scratch->hidden + (size_t)first * (size_t)spec->n_ff;
        call.experts = EXPERTS_SUMMED;
        call.n_ids = spec->n_used - first < at_once ? spec->n_used - first : at_once;
        call.ids = scratch->chosen + first;
        call.id_weights = spec->weight_on_input ? NULL : scratch->weights + first;
        call.n_outputs = 1;
        call.outputs[0] = MatvecOutput{experts->down, NULL, experts->down_bias, NULL, out, experts->down->stack_rows};
        call.add = first > 0;
        matvec_launch(queue, &call);
    }
}

static void add_shared(CudaQueue *queue, const CudaExperts *experts, const RowScratch *scratch, float *out)
{
    MatvecCall call = {};
    call.x = scratch->shared_hidden;
    call.n_outputs = 1;
    call.outputs[0] = MatvecOutput{experts->shared_down.weight,      NULL, experts->shared_down.bias, NULL, out,
                                   experts->shared_down.weight->rows};
    call.add = true;
    call.sigmoid_of = experts->shared_gate != NULL ? scratch->shared_weight : NULL;
    matvec_launch(queue, &call);
}

void cuda_experts_row(CudaQueue *queue, const CudaExperts *experts, const float *x, float *out)
{
    const Experts *spec = experts->spec;
    RowScratch scratch;
    (void)lay_out(spec, (float *)queue->workspace, &scratch);
    const bool shared = experts->shared_up.weight != NULL;
    if (shared) {
        const bool has_gate = experts->shared_gate_proj.weight != NULL;
        matvec_gated(queue, x, has_gate ? &experts->shared_gate_proj : NULL, &experts->shared_up,
                     spec->shared.activation, spec->shared.limit, scratch.shared_hidden,
                     scratch.shared_hidden + spec->shared.n_ff);
        if (experts->shared_gate != NULL) {
            const CudaOutput gate = {experts->shared_gate, NULL, scratch.shared_weight};
            cuda_matvec(queue, x, &gate, 1);
        }
    }
    route_logits(queue, experts, x, 1, scratch.scores);
    run_up(queue, experts, x, &scratch);
    run_down(queue, experts, &scratch, out);
    if (shared) add_shared(queue, experts, &scratch, out);
}
