/*
 * kv_store.c - the bytes behind page numbers and state slots.
 *
 * Every layer that owns keys and values has its own array of pages, zeroed at start by the system when first touched.
 */
#include "compute/cpu/cpu_compute.h"

#include <string.h>

static ImpStatus create_pages(CpuCompute *compute, const Attention *attention, KvLayer *kv)
{
    const ComputeSizes *sizes = &compute->base.sizes;
    const size_t element = dtype_info(sizes->kv_type)->block_bytes;
    /* Scales, 4 bytes a token, of types that need some. */
    const size_t scales = element == 1 ? KV_PAGE_TOKENS * sizeof(float) : 0;
    kv->type = sizes->kv_type;
    kv->group = attention->page_group;
    kv->n_kv_heads = attention->n_kv_heads;
    kv->head_dim = attention->head_dim;
    kv->value_stride = round_up_i32(attention->head_dim_v, CPU_LANES);
    kv->key_bytes = (size_t)kv->head_dim * KV_PAGE_TOKENS * element + scales;
    kv->head_bytes = kv->key_bytes + (size_t)kv->value_stride * KV_PAGE_TOKENS * element + scales;
    kv->page_bytes = kv->head_bytes * (size_t)kv->n_kv_heads;
    return cpu_alloc(compute, (size_t)sizes->n_pages[kv->group], kv->page_bytes, &kv->pages);
}

static ImpStatus create_state(CpuCompute *compute, const ShortConv *spec, ConvState *state)
{
    state->slot_floats = (size_t)max_i32(spec->width - 1, 1) * (size_t)spec->channels;
    return cpu_alloc(compute, (size_t)compute->base.sizes.n_state_slots, state->slot_floats * sizeof(float),
                     &state->slots);
}

ImpStatus kv_store_create(CpuCompute *compute)
{
    const Model *model = compute->base.model;
    IMP_TRY(cpu_alloc(compute, (size_t)model->n_layers, sizeof *compute->kv, &compute->kv));
    IMP_TRY(cpu_alloc(compute, (size_t)model->n_layers, sizeof *compute->conv, &compute->conv));
    ComputeMemory *memory = &compute->base.memory;
    const LayerRange range = compute->backend->base.layers;
    for (int32_t i = range.first; i < (range.end > 0 ? range.end : model->n_layers); i++) {
        const Layer *layer = &model->layers[i];
        const uint64_t before = memory->workspace;
        if (layer->mixer == MIXER_ATTENTION && layer->attention.kv_layer == i)
            IMP_TRY(create_pages(compute, &layer->attention, &compute->kv[i]));
        if (layer->mixer == MIXER_SHORT_CONV) IMP_TRY(create_state(compute, &layer->short_conv, &compute->conv[i]));
        *(layer->mixer == MIXER_SHORT_CONV ? &memory->states : &memory->pages) += memory->workspace - before;
        memory->workspace = before;
    }
    return IMP_OK;
}

void cpu_state_clear(Compute *base, int32_t slot)
{
    const CpuCompute *compute = cpu_compute(base);
    for (int32_t i = 0; i < base->model->n_layers; i++) {
        const ConvState *state = &compute->conv[i];
        if (state->slots != NULL)
            memset(state->slots + (size_t)slot * state->slot_floats, 0, state->slot_floats * sizeof *state->slots);
    }
}

void cpu_state_copy(Compute *base, int32_t from_slot, int32_t to_slot)
{
    const CpuCompute *compute = cpu_compute(base);
    if (from_slot == to_slot) return;
    for (int32_t i = 0; i < base->model->n_layers; i++) {
        const ConvState *state = &compute->conv[i];
        if (state->slots != NULL)
            memcpy(state->slots + (size_t)to_slot * state->slot_floats,
                   state->slots + (size_t)from_slot * state->slot_floats, state->slot_floats * sizeof *state->slots);
    }
}

void cpu_page_copy(Compute *base, int32_t group, int32_t from_page, int32_t to_page)
{
    const CpuCompute *compute = cpu_compute(base);
    if (from_page == to_page) return;
    for (int32_t i = 0; i < base->model->n_layers; i++) {
        const KvLayer *kv = &compute->kv[i];
        if (kv->pages != NULL && kv->group == group)
            memcpy(kv_head(kv, to_page, 0), kv_head(kv, from_page, 0), kv->page_bytes);
    }
}
