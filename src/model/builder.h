/*
 * builder.h - what an architecture file builds a model with: tensors bound by name and checked by shape, rotary tables,
 * and the blocks that most families share.
 *
 * Every tensor has a name in GGUF and one in a Hugging Face checkpoint; an architecture writes both side by side and
 * never asks which format it is reading, except where the formats hold different numbers.
 */
#ifndef IMP_MODEL_BUILDER_H
#define IMP_MODEL_BUILDER_H

#include "model/hparams.h"
#include "model/model.h"

typedef struct Builder {
    const ModelFile *file;
    Hparams hparams;
    Model *model;
    bool gguf;
    float norm_eps;    /* of every norm that builder_norm binds */
    float norm_offset; /* added to norm weights: 1 for checkpoints that store w of 1 + w; GGUF has it folded in */
    char prefix[32];   /* of the text model's tensors in a Hugging Face checkpoint: "model." */
} Builder;

/* A tensor's name without its last part (".weight", ".bias"). A '*' stands for the layer, a second one for the expert.
 * Hugging Face names are relative to the text model ("layers.*.self_attn.q_proj"). NULL: absent in that format. */
typedef struct TensorName {
    const char *gguf, *hf;
} TensorName;

typedef enum Presence { OPTIONAL, REQUIRED } Presence;

/* Where a tensor stands. Expert -1: the name has no second '*'. */
typedef struct TensorPlace {
    TensorName name;
    int32_t layer, expert;
} TensorPlace;

/* name.weight as a matrix of exactly rows × cols (0 rows: as many as there are). Absent and OPTIONAL: *out is cleared.
 */
ImpStatus builder_matrix(Builder *builder, TensorPlace place, int64_t rows, int64_t cols, Presence presence,
                         Weight *out);
/* A stack of `count` matrices in one tensor [count][rows][cols], split into out[count]. */
ImpStatus builder_matrix_stack(Builder *builder, TensorPlace place, int32_t count, int64_t rows, int64_t cols,
                               Presence presence, Weight *out);
/* name + suffix decoded to float32, `size` elements in all. */
ImpStatus builder_vector(Builder *builder, TensorPlace place, const char *suffix, int64_t size, Presence presence,
                         Vector *out);
bool builder_has(const Builder *builder, TensorPlace place, const char *suffix);
/* RMS norm with name.weight, eps and offset of the builder. */
ImpStatus builder_norm(Builder *builder, TensorPlace place, int32_t size, Norm *out);

/* Where one rotary embedding's numbers stand. */
typedef struct RopeSource {
    int32_t head_dim;
    const char *layer_type;  /* member of rope_parameters when that is one object a layer type; NULL: none */
    const char *gguf_base;   /* "rope.freq_base" */
    const char *config_base; /* "rope_theta" */
    float default_base;
    bool unscaled;      /* ignore the file's scaling (Gemma-3's local layers) */
    RopeKind gguf_kind; /* Hugging Face checkpoints are always ROPE_HALF here */
} RopeSource;

ImpStatus builder_rope(Builder *builder, const RopeSource *source, Rope *out);

/* What transformers' configuration class assumes for a key that config.json leaves out. */
typedef struct ClassDefaults {
    int32_t n_layers, n_embd, n_heads, n_ctx;
    int32_t n_kv_heads; /* 0: n_heads */
    int32_t head_dim;   /* 0: n_embd / n_heads */
    float rope_base;
    float norm_eps;
    bool tied; /* embeddings serve as the head */
} ClassDefaults;

/* Opens the file's hyperparameters and an empty model. */
ImpStatus builder_open(const ModelFile *file, Builder *out);
/* Reads layer count, width, context and norm eps, allocates the layers, binds embedding, final norm and head. */
ImpStatus builder_begin(Builder *builder, const ClassDefaults *defaults, TensorName final_norm, const char *eps_key);
/* Assigns page groups and checks what every model must satisfy. */
ImpStatus builder_finish(Builder *builder);

/* Heads and head sizes of one layer, with their usual keys and, unless a GGUF file says otherwise, scale
 * 1/sqrt(head_dim). */
ImpStatus builder_attention_sizes(Builder *builder, int32_t layer, const ClassDefaults *defaults, Attention *out);

/* Whether layer i has the window: layer_types in config.json; sliding_window_pattern in GGUF, one value a layer; or, as
 * `period_key` in config.json too, a period whose last layer is global (0: none is). */
ImpStatus builder_windowed(const Builder *builder, int32_t i, const char *period_key, int32_t default_period,
                           bool *out);

typedef struct AttentionNames {
    TensorName q, k, v, o, q_norm, k_norm;
} AttentionNames;

/* The names that Llama gave and most families kept. */
extern const AttentionNames builder_attention_names;

/* Projections, biases where the file has them, and the norms that `qk_norm` asks for. Sizes must be set. */
ImpStatus builder_attention(Builder *builder, int32_t layer, const AttentionNames *names, Attention *out);

typedef struct DenseNames {
    TensorName gate, up, down;
} DenseNames;

extern const DenseNames builder_dense_names;

/* Gated feed-forward; its width is that of the tensors. */
ImpStatus builder_dense(Builder *builder, int32_t layer, const DenseNames *names, Activation activation,
                        FeedForward *out);

typedef struct ExpertNames {
    TensorName router;
    TensorName gate, up, down;                   /* one tensor an expert; GGUF: the old files of one tensor an expert */
    TensorName gate_stack, up_stack, down_stack; /* one tensor for all */
    TensorName gate_up_stack;                    /* [experts][2 * n_ff]: gate rows, then up rows */
} ExpertNames;

/* Router and experts. n_experts, n_used must be set; the width is that of the tensors. A GGUF file may name another
 * kind of router than the one that is set, and a scale. */
ImpStatus builder_experts(Builder *builder, int32_t layer, const ExpertNames *names, Experts *out);

/* "silu", "gelu_pytorch_tanh", … as Hugging Face names them; key absent: `fallback`. GGUF: `fallback`. */
ImpStatus builder_activation(const Builder *builder, const char *config_key, Activation fallback, Activation *out);

static inline TensorPlace at_layer(TensorName name, int32_t layer) { return (TensorPlace){name, layer, -1}; }

#endif
