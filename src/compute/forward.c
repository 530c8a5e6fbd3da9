/*
 * forward.c - the forward pass.
 *
 * A model is a residual stream x and a chain of blocks, each reading a norm of x and adding to it:
 *
 *     x = embedding(tokens)
 *     for each block:  x += multiplier * post_norm(block(norm(x)))
 *     logits = head(final_norm(x))
 *
 * A layer of the table gives up to two blocks, its mixer and its feed-forward. The addition of one block and the norm
 * of the next are one operation, because that is how a backend wants them: the stream is read once.
 */
#include "compute/forward.h"

#include <stdlib.h>

typedef struct Block {
    enum { BLOCK_MIXER, BLOCK_FFN } kind;
    int32_t layer;
    const Norm *norm, *post_norm;
    float scale; /* of the stream after this block */
    bool ends_layer;
} Block;

struct Forward {
    Compute *compute;
    const Model *model;
    Block *blocks;
    int32_t n_blocks;
    Act x;              /* the residual stream */
    Act h;              /* its norm: what a block reads */
    Act y;              /* what a block adds */
    Act q, k, v, heads; /* attention; `heads` is its output before wo */
    Act gate, up;       /* dense feed-forward */
    Act bcx, conv;      /* short convolution */
    ForwardWatch *watch;
    void *watch_user;
    float *watch_rows; /* [max_rows][n_embd] while someone watches */
};

static void list_blocks(Forward *forward)
{
    for (int32_t i = 0; i < forward->model->n_layers; i++) {
        const Layer *layer = &forward->model->layers[i];
        Block *const first = &forward->blocks[forward->n_blocks];
        Block *next = first;
        if (layer->mixer != MIXER_NONE)
            *next++ = (Block){BLOCK_MIXER, i, &layer->mixer_norm, &layer->mixer_post_norm, 1.0f, false};
        if (layer->ffn != FFN_NONE)
            *next++ = (Block){BLOCK_FFN, i, &layer->ffn_norm, &layer->ffn_post_norm, 1.0f, false};
        if (next == first) continue;
        next[-1].scale = layer->output_scale;
        next[-1].ends_layer = true;
        forward->n_blocks += (int32_t)(next - first);
    }
}

static void widen(int32_t *width, int64_t need)
{
    if (need > *width) *width = (int32_t)need;
}

/* The workspace: each buffer as wide as the widest layer needs it. */
static ImpStatus create_workspace(Forward *forward)
{
    const Model *model = forward->model;
    int32_t q = 0, k = 0, v = 0, heads = 0, ff = 0, bcx = 0, conv = 0;
    for (int32_t i = 0; i < model->n_layers; i++) {
        const Layer *layer = &model->layers[i];
        const Attention *attention = &layer->attention;
        if (layer->mixer == MIXER_ATTENTION) {
            widen(&q, attention->wq.rows);
            widen(&k, attention->wk.rows);
            widen(&v, attention->wv.rows);
            widen(&heads, (int64_t)attention->n_heads * attention->head_dim_v);
        }
        if (layer->mixer == MIXER_SHORT_CONV) {
            widen(&bcx, 3 * (int64_t)layer->short_conv.channels);
            widen(&conv, layer->short_conv.channels);
        }
        if (layer->ffn == FFN_DENSE) widen(&ff, layer->dense.n_ff);
    }
    const struct {
        Act *act;
        int32_t width;
    } buffers[] = {
        {&forward->x, model->n_embd},
        {&forward->h, model->n_embd},
        {&forward->y, model->n_embd},
        {&forward->q, q},
        {&forward->k, k},
        {&forward->v, v},
        {&forward->heads, heads},
        {&forward->gate, ff},
        {&forward->up, ff},
        {&forward->bcx, bcx},
        {&forward->conv, conv},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i].width > 0)
            IMP_TRY(forward->compute->ops->act_create(forward->compute, buffers[i].width, buffers[i].act));
    return IMP_OK;
}

ImpStatus forward_create(Compute *compute, Forward **out)
{
    *out = NULL;
    Forward *forward = calloc(1, sizeof *forward);
    if (forward == NULL) return imp_fail_memory(sizeof *forward);
    forward->compute = compute;
    forward->model = compute->model;
    forward->blocks = calloc((size_t)forward->model->n_layers * 2, sizeof *forward->blocks);
    ImpStatus status = forward->blocks != NULL ? IMP_OK : imp_fail_memory(sizeof(Block));
    if (status == IMP_OK) {
        list_blocks(forward);
        status = create_workspace(forward);
    }
    if (status != IMP_OK) {
        forward_free(forward);
        return status;
    }
    *out = forward;
    return IMP_OK;
}

void forward_free(Forward *forward)
{
    if (forward == NULL) return;
    free(forward->watch_rows);
    free(forward->blocks);
    free(forward);
}

ImpStatus forward_watch(Forward *forward, ForwardWatch *watch, void *user)
{
    free(forward->watch_rows);
    forward->watch_rows = NULL;
    forward->watch = watch;
    forward->watch_user = user;
    if (watch == NULL) return IMP_OK;
    const size_t bytes = (size_t)forward->compute->sizes.max_rows * (size_t)forward->model->n_embd * sizeof(float);
    forward->watch_rows = malloc(bytes);
    if (forward->watch_rows != NULL) return IMP_OK;
    forward->watch = NULL;
    return imp_fail_memory(bytes);
}

/* The leading part of a buffer, as wide as this layer needs it. */
static Act narrow(Act act, int64_t width) { return (Act){.data = act.data, .width = (int32_t)width}; }

static void run_attention(Forward *forward, int32_t layer, const Attention *spec)
{
    Compute *compute = forward->compute;
    const Act q = narrow(forward->q, spec->wq.rows);
    const Act heads = narrow(forward->heads, (int64_t)spec->n_heads * spec->head_dim_v);
    Act k = {0}, v = {0};
    LinearOutput projections[3] = {{&spec->wq, &spec->bq, q}};
    int32_t count = 1;
    if (weight_present(&spec->wk)) {
        k = narrow(forward->k, spec->wk.rows);
        projections[count++] = (LinearOutput){&spec->wk, &spec->bk, k};
    }
    if (weight_present(&spec->wv)) {
        v = narrow(forward->v, spec->wv.rows);
        projections[count++] = (LinearOutput){&spec->wv, &spec->bv, v};
    }
    compute->ops->linear(compute, forward->h, projections, count);
    compute->ops->attention_store(compute, layer, spec, q, k, v);
    compute->ops->attention(compute, spec, q, heads);
    compute->ops->linear(compute, heads, &(LinearOutput){&spec->wo, &spec->bo, forward->y}, 1);
}

static void run_short_conv(Forward *forward, int32_t layer, const ShortConv *spec)
{
    Compute *compute = forward->compute;
    const Act bcx = narrow(forward->bcx, spec->in_proj.rows);
    const Act conv = narrow(forward->conv, spec->channels);
    compute->ops->linear(compute, forward->h, &(LinearOutput){&spec->in_proj, &spec->in_bias, bcx}, 1);
    compute->ops->short_conv(compute, layer, spec, bcx, conv);
    compute->ops->linear(compute, conv, &(LinearOutput){&spec->out_proj, &spec->out_bias, forward->y}, 1);
}

static void run_dense(Forward *forward, const FeedForward *spec)
{
    Compute *compute = forward->compute;
    const Act up = narrow(forward->up, spec->n_ff);
    compute->ops->gated(compute, spec, forward->h, narrow(forward->gate, spec->n_ff), up);
    compute->ops->linear(compute, up, &(LinearOutput){&spec->down, &spec->down_bias, forward->y}, 1);
}

/* y = block(h). */
static void run_block(Forward *forward, const Block *block)
{
    const Layer *layer = &forward->model->layers[block->layer];
    if (block->kind == BLOCK_FFN && layer->ffn == FFN_EXPERTS)
        forward->compute->ops->experts(forward->compute, &layer->experts, forward->h, forward->y);
    else if (block->kind == BLOCK_FFN)
        run_dense(forward, &layer->dense);
    else if (layer->mixer == MIXER_SHORT_CONV)
        run_short_conv(forward, block->layer, &layer->short_conv);
    else
        run_attention(forward, block->layer, &layer->attention);
}

static void show(Forward *forward, int32_t layer, Act act, int32_t n_rows)
{
    if (forward->watch == NULL) return;
    const int32_t width = forward->model->n_embd;
    if (forward->compute->ops->act_read(forward->compute, act, 0, n_rows, forward->watch_rows) == IMP_OK)
        forward->watch(forward->watch_user, layer, forward->watch_rows, n_rows, width);
}

static const Norm *norm_of_block(const Forward *forward, int32_t index)
{
    return index < forward->n_blocks ? forward->blocks[index].norm : &forward->model->final_norm;
}

static void enter_layer(Forward *forward, int32_t from, int32_t layer)
{
    const ComputeOps *ops = forward->compute->ops;
    if (ops->enter_layer != NULL && layer != from) ops->enter_layer(forward->compute, layer, forward->x, forward->h);
}

void forward_start(Forward *forward, const Batch *batch, float *logits)
{
    static const Act none = {0};
    Compute *compute = forward->compute;
    const ComputeOps *ops = compute->ops;
    const Model *model = forward->model;

    ops->begin(compute, batch);
    if (ops->replay != NULL && forward->watch == NULL && ops->replay(compute, logits)) return;
    ops->embed(compute, &model->embedding, model->embedding_multiplier, forward->x);
    if (model->embedding_norm.kind != NORM_NONE)
        ops->residual_norm(compute, forward->x, none, NULL, 1.0f, 1.0f, &model->embedding_norm, forward->x);
    show(forward, -1, forward->x, batch->n_rows);

    ops->residual_norm(compute, forward->x, none, NULL, 1.0f, 1.0f, norm_of_block(forward, 0), forward->h);
    for (int32_t i = 0; i < forward->n_blocks; i++) {
        const Block *block = &forward->blocks[i];
        enter_layer(forward, i == 0 ? -1 : forward->blocks[i - 1].layer, block->layer);
        run_block(forward, block);
        ops->residual_norm(compute, forward->x, forward->y, block->post_norm,
                           model->layers[block->layer].residual_multiplier, block->scale, norm_of_block(forward, i + 1),
                           forward->h);
        if (block->ends_layer) show(forward, block->layer, forward->x, batch->n_rows);
    }
    show(forward, model->n_layers, forward->h, batch->n_rows);

    if (batch->n_logits > 0) ops->logits(compute, model, forward->h, logits);
}

ImpStatus forward_finish(Forward *forward) { return forward->compute->ops->finish(forward->compute); }

ImpStatus forward_run(Forward *forward, const Batch *batch, float *logits)
{
    forward_start(forward, batch, logits);
    return forward_finish(forward);
}

ImpStatus forward_read_hidden(Forward *forward, int32_t first_row, int32_t n_rows, float *out)
{
    return forward->compute->ops->act_read(forward->compute, forward->h, first_row, n_rows, out);
}
