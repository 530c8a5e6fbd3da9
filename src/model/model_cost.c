/* model_cost.c - sums over the layer table. */
#include "model/model_cost.h"

#include <math.h>

/* `reads` times the matrix's bytes, `rows` times its elements. */
static void add_matrix(StepCost *cost, const Weight *weight, double reads, double rows)
{
    if (!weight_present(weight)) return;
    cost->bytes += reads * (double)weight->rows * (double)weight->row_bytes;
    cost->madds += rows * (double)weight->rows * (double)weight->cols;
}

static void add_feed_forward(StepCost *cost, const FeedForward *dense, double rows)
{
    add_matrix(cost, &dense->gate, 1, rows);
    add_matrix(cost, &dense->up, 1, rows);
    add_matrix(cost, &dense->down, 1, rows);
}

static void add_experts(StepCost *cost, const Experts *experts, double rows)
{
    const double share = (double)experts->n_used / (double)experts->n_experts;
    const double chosen = 1.0 - pow(1.0 - share, rows); /* probability that some row chooses an expert */
    add_matrix(cost, &experts->router, 1, rows);
    add_matrix(cost, &experts->shared_gate, 1, rows);
    add_feed_forward(cost, &experts->shared, rows);
    for (int32_t i = 0; i < experts->n_experts; i++) {
        if (experts->gate != NULL) add_matrix(cost, &experts->gate[i], chosen, share * rows);
        add_matrix(cost, &experts->up[i], chosen, share * rows);
        add_matrix(cost, &experts->down[i], chosen, share * rows);
    }
}

static void add_attention(StepCost *cost, const Attention *attention, const StepShape *shape)
{
    const double keys = attention->window > 0 ? fmin(shape->keys, attention->window) : shape->keys;
    const double widths = (double)attention->head_dim + (double)attention->head_dim_v;
    add_matrix(cost, &attention->wq, 1, shape->rows);
    add_matrix(cost, &attention->wk, 1, shape->rows);
    add_matrix(cost, &attention->wv, 1, shape->rows);
    add_matrix(cost, &attention->wo, 1, shape->rows);
    cost->bytes += shape->sequences * keys * attention->n_kv_heads * widths * shape->kv_element_bytes;
    cost->madds += shape->rows * keys * attention->n_heads * widths;
}

StepCost model_step_cost(const Model *model, const StepShape *shape)
{
    StepCost cost = {.bytes = shape->rows * (double)model->embedding.row_bytes};
    for (int32_t i = 0; i < model->n_layers; i++) {
        const Layer *layer = &model->layers[i];
        if (layer->mixer == MIXER_ATTENTION) add_attention(&cost, &layer->attention, shape);
        add_matrix(&cost, &layer->short_conv.in_proj, 1, shape->rows);
        add_matrix(&cost, &layer->short_conv.out_proj, 1, shape->rows);
        if (layer->ffn == FFN_EXPERTS)
            add_experts(&cost, &layer->experts, shape->rows);
        else
            add_feed_forward(&cost, &layer->dense, shape->rows);
    }
    if (shape->logits > 0) add_matrix(&cost, &model->head, 1, shape->logits);
    return cost;
}
