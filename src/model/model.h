/*
 * model.h - a loaded model: hyperparameters, the layer table, weights bound to the mapped file.
 *
 * A Model is immutable once its backend has prepared its weights, and shared by every context on it.
 */
#ifndef IMP_MODEL_MODEL_H
#define IMP_MODEL_MODEL_H

#include "core/arena.h"
#include "core/status.h"
#include "format/model_file.h"
#include "model/layer.h"

enum { MODEL_MAX_PAGE_GROUPS = 4 };

/* Layers whose keys and values live and die together: all full-attention layers, all layers of one window. */
typedef struct PageGroup {
    int32_t window;   /* 0: everything is kept; else pages wholly behind the window may be released */
    int32_t n_layers; /* layers that own keys and values in this group */
} PageGroup;

typedef struct Model {
    const char *arch; /* name in the file: "llama", "LlamaForCausalLM" */
    int32_t n_layers, n_embd, n_vocab;
    int32_t n_ctx_train; /* longest sequence it was trained for; 0: unknown */
    int32_t n_ctx_most;  /* longest sequence whose positions it can tell; 0: any */
    Weight embedding;    /* [n_vocab][n_embd] */
    float embedding_multiplier;
    Norm embedding_norm;
    Layer *layers; /* [n_layers] */
    Norm final_norm;
    Weight head; /* [n_vocab][n_embd]; the embedding itself when tied */
    Vector head_bias;
    float logit_multiplier;
    float logit_softcap; /* 0: none */
    int32_t n_page_groups;
    PageGroup page_groups[MODEL_MAX_PAGE_GROUPS];
    bool has_state; /* some layer keeps a recurrent state */
    Arena arena;    /* owns the table and the decoded vectors */
} Model;

/* Reads hyperparameters and binds every weight of `file`, which must outlive the model. An unsupported architecture's
 * sentence lists the supported ones; a missing or misshapen tensor's names it with what was expected. */
ImpStatus model_load(const ModelFile *file, Model **out);
void model_free(Model *model);

/* Bytes of weights that one decode step reads for one sequence (experts: those used), for benchmarks. */
uint64_t model_bytes_per_token(const Model *model);
uint64_t model_parameter_count(const Model *model);

/* Calls `visit` on every matrix (present ones only), layer by layer, then embedding and head; experts included. */
typedef ImpStatus WeightVisitor(Weight *weight, void *context);
ImpStatus model_visit_weights(Model *model, WeightVisitor *visit, void *context);

/* The same for the layers first … end - 1 alone. */
ImpStatus model_visit_layers(Model *model, int32_t first, int32_t end, WeightVisitor *visit, void *context);

/* The matrices of a layer outside of its experts, present ones only; returns how many. */
enum { LAYER_MATRICES = 14 };
int32_t layer_matrices(Layer *layer, Weight *out[LAYER_MATRICES]);

/* Calls `visit` on every vector (present ones only): norms, biases, sinks, taps; those of the experts included. */
typedef ImpStatus VectorVisitor(Vector *vector, void *context);
ImpStatus model_visit_vectors(Model *model, VectorVisitor *visit, void *context);

#endif
