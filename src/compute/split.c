/*
 * split.c - two backends behind one: operations go to the side whose layers are being walked. Where the second side's layers
 * begin, the residual stream and its norm cross over through host memory, once a step.
 */
#include "compute/split.h"

#include "core/arena.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST, SECOND, SIDES };

typedef struct SplitBackend {
    Backend base;
    Backend *sides[SIDES];
    int32_t n_first;
    bool shares_second; /* with the split that made it ready */
    char name[160];
} SplitBackend;

/* What Act.data points at. */
typedef struct SplitAct {
    void *data[SIDES];
} SplitAct;

typedef struct SplitCompute {
    Compute base;
    Compute *sides[SIDES];
    int32_t n_first;
    int side; /* whose layers are being walked */
    int32_t n_rows;
    float *rows; /* [max_rows][n_embd] on their way */
    ImpStatus status;
    Arena arena;
} SplitCompute;

static SplitCompute *split(Compute *compute) { return (SplitCompute *)compute; }
static Compute *walked(Compute *compute) { return split(compute)->sides[split(compute)->side]; }

static Act on_side(Act act, int side)
{
    const SplitAct *both = act.data;
    return (Act){.data = both != NULL ? both->data[side] : NULL, .width = act.width};
}

static Act here(Compute *compute, Act act) { return on_side(act, split(compute)->side); }

/* ---- memory ---- */

static ImpStatus act_create(Compute *base, int32_t width, Act *out)
{
    SplitCompute *compute = split(base);
    SplitAct *both = arena_alloc(&compute->arena, 1, sizeof *both);
    if (both == NULL) return imp_fail_memory(sizeof *both);
    for (int i = 0; i < SIDES; i++) {
        Act act;
        IMP_TRY(compute->sides[i]->ops->act_create(compute->sides[i], width, &act));
        both->data[i] = act.data;
    }
    *out = (Act){.data = both, .width = width};
    return IMP_OK;
}

static ImpStatus act_read(Compute *base, Act act, int32_t first_row, int32_t n_rows, float *out)
{
    Compute *side = walked(base);
    return side->ops->act_read(side, here(base, act), first_row, n_rows, out);
}

static ImpStatus act_write(Compute *base, Act act, int32_t n_rows, const float *rows)
{
    Compute *side = walked(base);
    return side->ops->act_write(side, here(base, act), n_rows, rows);
}

static void *host_alloc(Compute *base, size_t bytes)
{
    Compute *second = split(base)->sides[SECOND];
    return second->ops->host_alloc(second, bytes);
}

static void host_free(Compute *base, void *memory)
{
    Compute *second = split(base)->sides[SECOND];
    second->ops->host_free(second, memory);
}

static void destroy(Compute *base)
{
    SplitCompute *compute = split(base);
    for (int i = 0; i < SIDES; i++)
        if (compute->sides[i] != NULL) compute->sides[i]->ops->destroy(compute->sides[i]);
    free(compute->rows);
    arena_free(&compute->arena);
    free(compute);
}

/* ---- a step ---- */

static void begin(Compute *base, const Batch *batch)
{
    SplitCompute *compute = split(base);
    compute->side = FIRST;
    compute->status = IMP_OK;
    compute->n_rows = batch->n_rows;
    for (int i = 0; i < SIDES; i++) compute->sides[i]->ops->begin(compute->sides[i], batch);
}

static ImpStatus finish(Compute *base)
{
    SplitCompute *compute = split(base);
    for (int i = 0; i < SIDES; i++) {
        const ImpStatus status = compute->sides[i]->ops->finish(compute->sides[i]);
        if (compute->status == IMP_OK) compute->status = status;
    }
    return compute->status;
}

static ImpStatus carry(SplitCompute *compute, Act act)
{
    Compute *from = compute->sides[FIRST], *to = compute->sides[SECOND];
    IMP_TRY(from->ops->act_read(from, on_side(act, FIRST), 0, compute->n_rows, compute->rows));
    return to->ops->act_write(to, on_side(act, SECOND), compute->n_rows, compute->rows);
}

static void enter_layer(Compute *base, int32_t layer, Act x, Act h)
{
    SplitCompute *compute = split(base);
    if (compute->side == SECOND || layer < compute->n_first) return;
    ImpStatus status = carry(compute, x);
    if (status == IMP_OK) status = carry(compute, h);
    if (compute->status == IMP_OK) compute->status = status;
    compute->side = SECOND;
}

/* ---- operations ---- */

static void embed(Compute *base, const Weight *table, float multiplier, Act x)
{
    walked(base)->ops->embed(walked(base), table, multiplier, here(base, x));
}

static void residual_norm(Compute *base, Act x, Act y, const Norm *post_norm, float multiplier, float scale,
                          const Norm *norm, Act out)
{
    walked(base)->ops->residual_norm(walked(base), here(base, x), here(base, y), post_norm, multiplier, scale, norm,
                                     here(base, out));
}

static void linear(Compute *base, Act x, const LinearOutput *outputs, int32_t n_outputs)
{
    LinearOutput own[3];
    for (int32_t i = 0; i < n_outputs; i++) {
        own[i] = outputs[i];
        own[i].y = here(base, outputs[i].y);
    }
    walked(base)->ops->linear(walked(base), here(base, x), own, n_outputs);
}

static void attention_store(Compute *base, int32_t layer, const Attention *spec, Act q, Act k, Act v)
{
    walked(base)->ops->attention_store(walked(base), layer, spec, here(base, q), here(base, k), here(base, v));
}

static void attention(Compute *base, const Attention *spec, Act q, Act out)
{
    walked(base)->ops->attention(walked(base), spec, here(base, q), here(base, out));
}

static void gated(Compute *base, const FeedForward *spec, Act x, Act gate, Act up)
{
    walked(base)->ops->gated(walked(base), spec, here(base, x), here(base, gate), here(base, up));
}

static void experts(Compute *base, const Experts *spec, Act x, Act out)
{
    walked(base)->ops->experts(walked(base), spec, here(base, x), here(base, out));
}

static void short_conv(Compute *base, int32_t layer, const ShortConv *spec, Act bcx, Act out)
{
    walked(base)->ops->short_conv(walked(base), layer, spec, here(base, bcx), here(base, out));
}

static void logits_of(Compute *base, const Model *model, Act x, float *logits)
{
    walked(base)->ops->logits(walked(base), model, here(base, x), logits);
}

static void sample(Compute *base, const SampleRow *rows, SampleResult *results)
{
    walked(base)->ops->sample(walked(base), rows, results);
}

static ImpStatus logits_read(Compute *base, int32_t index, float *logits)
{
    return walked(base)->ops->logits_read(walked(base), index, logits);
}

static void state_clear(Compute *base, int32_t slot)
{
    for (int i = 0; i < SIDES; i++) split(base)->sides[i]->ops->state_clear(split(base)->sides[i], slot);
}

static void state_copy(Compute *base, int32_t from_slot, int32_t to_slot)
{
    for (int i = 0; i < SIDES; i++) split(base)->sides[i]->ops->state_copy(split(base)->sides[i], from_slot, to_slot);
}

static void page_copy(Compute *base, int32_t group, int32_t from_page, int32_t to_page)
{
    for (int i = 0; i < SIDES; i++)
        split(base)->sides[i]->ops->page_copy(split(base)->sides[i], group, from_page, to_page);
}

static const ComputeOps compute_ops = {
    .destroy = destroy,
    .act_create = act_create,
    .act_read = act_read,
    .act_write = act_write,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .begin = begin,
    .enter_layer = enter_layer,
    .finish = finish,
    .embed = embed,
    .residual_norm = residual_norm,
    .linear = linear,
    .gated = gated,
    .attention_store = attention_store,
    .attention = attention,
    .experts = experts,
    .short_conv = short_conv,
    .logits = logits_of,
    .sample = sample,
    .logits_read = logits_read,
    .state_clear = state_clear,
    .state_copy = state_copy,
    .page_copy = page_copy,
};

/* ---- backend ---- */

static void add_memory(ComputeMemory *sum, const ComputeMemory *part)
{
    sum->pages += part->pages;
    sum->states += part->states;
    sum->activations += part->activations;
    sum->workspace += part->workspace;
}

static ImpStatus create_compute(Backend *base, const Model *model, const ComputeSizes *sizes, Compute **out)
{
    const SplitBackend *backend = (const SplitBackend *)base;
    ImpStatus status;
    *out = NULL;
    SplitCompute *compute = calloc(1, sizeof *compute);
    if (compute == NULL) return imp_fail_memory(sizeof *compute);
    compute->base = (Compute){.ops = &compute_ops, .model = model, .sizes = *sizes};
    compute->n_first = backend->n_first;
    const size_t bytes = (size_t)sizes->max_rows * (size_t)model->n_embd * sizeof *compute->rows;
    compute->rows = malloc(bytes);
    if (compute->rows == NULL) {
        status = imp_fail_memory(bytes);
        goto fail;
    }
    for (int i = 0; i < SIDES; i++) {
        IMP_GOTO(backend->sides[i]->ops->create_compute(backend->sides[i], model, sizes, &compute->sides[i]));
        add_memory(&compute->base.memory, &compute->sides[i]->memory);
    }
    compute->base.draws = compute->sides[SECOND]->draws;
    *out = &compute->base;
    return IMP_OK;
fail:
    destroy(&compute->base);
    return status;
}

static ImpStatus prepare(Backend *base, Model *model, const Progress *progress)
{
    SplitBackend *backend = (SplitBackend *)base;
    if (backend->n_first < 1 || backend->n_first >= model->n_layers)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%d of %d layers on the first device: that is no split",
                        (int)backend->n_first, (int)model->n_layers);
    for (int32_t i = backend->n_first; i < model->n_layers; i++)
        if (model->layers[i].mixer == MIXER_ATTENTION && model->layers[i].attention.kv_layer < backend->n_first)
            return imp_fail(IMP_ERR_UNSUPPORTED, "layer %d reads the keys of layer %d: both must be on one device",
                            (int)i, (int)model->layers[i].attention.kv_layer);
    backend->sides[FIRST]->layers = (LayerRange){0, backend->n_first};
    backend->sides[SECOND]->layers = (LayerRange){backend->n_first, model->n_layers};
    for (int i = 0; i < SIDES; i++) {
        IMP_TRY(backend->sides[i]->ops->prepare(backend->sides[i], model, progress));
        base->weight_bytes += backend->sides[i]->weight_bytes;
    }
    return IMP_OK;
}

static void release(Backend *base, Model *model)
{
    SplitBackend *backend = (SplitBackend *)base;
    for (int i = 0; i < SIDES; i++) backend->sides[i]->ops->release(backend->sides[i], model);
    base->weight_bytes = 0;
}

/* Of the scarcer side: the second, which has less memory than the host. */
static uint64_t memory_available(Backend *base)
{
    Backend *second = ((SplitBackend *)base)->sides[SECOND];
    return second->ops->memory_available != NULL ? second->ops->memory_available(second) : 0;
}

static void backend_destroy(Backend *base)
{
    SplitBackend *backend = (SplitBackend *)base;
    backend->sides[FIRST]->ops->destroy(backend->sides[FIRST]);
    if (!backend->shares_second) backend->sides[SECOND]->ops->destroy(backend->sides[SECOND]);
    free(backend);
}

static const BackendOps backend_ops = {
    .destroy = backend_destroy,
    .memory_available = memory_available,
    .prepare = prepare,
    .release = release,
    .create_compute = create_compute,
};

ImpStatus split_backend_create(Backend *first, Backend *second, int32_t n_first, Backend **out)
{
    *out = NULL;
    SplitBackend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        first->ops->destroy(first);
        second->ops->destroy(second);
        return imp_fail_memory(sizeof *backend);
    }
    backend->base.ops = &backend_ops;
    backend->sides[FIRST] = first;
    backend->sides[SECOND] = second;
    backend->n_first = n_first;
    (void)snprintf(backend->name, sizeof backend->name, "%s for %d layers, %s for the rest", first->name, (int)n_first,
                   second->name);
    backend->base.name = backend->name;
    *out = &backend->base;
    return IMP_OK;
}

ImpStatus split_backend_create_beside(Backend *prepared, Backend *first, Backend **out)
{
    const SplitBackend *other = (const SplitBackend *)prepared;
    *out = NULL;
    SplitBackend *backend = malloc(sizeof *backend);
    if (backend == NULL) {
        first->ops->destroy(first);
        return imp_fail_memory(sizeof *backend);
    }
    *backend = *other;
    backend->sides[FIRST] = first;
    backend->shares_second = true;
    backend->base.name = backend->name;
    first->layers = other->sides[FIRST]->layers;
    *out = &backend->base;
    return IMP_OK;
}
