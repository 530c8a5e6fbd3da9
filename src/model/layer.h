/*
 * layer.h - the layer table: everything the forward pass knows about a model.
 *
 * A layer is a row wide enough for every family; every field's zero is its neutral default unless said otherwise.
 * arch/ fills rows, compute/forward.c walks them, backends read the specs. Nothing here names an architecture.
 */
#ifndef IMP_MODEL_LAYER_H
#define IMP_MODEL_LAYER_H

#include "model/weight.h"

/* y = x / rms(x) * w, or (x - mean) / std * w + b. Checkpoints that store w for 1 + w are folded at load. */
typedef enum NormKind { NORM_NONE, NORM_RMS, NORM_LAYER } NormKind;

typedef struct Norm {
    NormKind kind;
    float eps;
    Vector weight; /* absent: 1 */
    Vector bias;   /* absent: 0 */
} Norm;

/* Which dimensions turn together: i with i + n_dims/2 (half-split), or 2i with 2i + 1 (pairs). */
typedef enum RopeKind { ROPE_NONE, ROPE_HALF, ROPE_PAIRS } RopeKind;

/* Rotary embedding, all scalings folded in: angle of pair i at position p is p * inv_freq[i] (float32, as transformers
 * computes it), cos and sin are multiplied by `magnitude`. */
typedef struct Rope {
    RopeKind kind;
    int32_t n_dims;             /* leading dimensions of the head that turn; the rest pass through */
    const float *inv_freq;      /* [n_dims / 2] */
    const float *inv_freq_long; /* LongRoPE: used once the sequence is longer than original_context; else NULL */
    int32_t original_context;
    float magnitude;
    int32_t sections[4]; /* multi-section rotary: pairs of each position component; all 0: one component */
} Rope;

typedef enum QkNorm { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_ROW, QK_NORM_HEAD_UNWEIGHTED } QkNorm;

typedef enum OutputGate { OUTPUT_GATE_NONE, OUTPUT_GATE_SIGMOID } OutputGate;

/* softmax(cap(scale * q·k)) v over the keys that the window, the chunk and causality allow. */
typedef struct Attention {
    int32_t n_heads, n_kv_heads;
    int32_t head_dim, head_dim_v; /* of queries and keys, of values */
    Weight wq, wk, wv, wo;        /* wk absent: reads kv_layer's; wv absent: V is the raw K projection */
    Vector bq, bk, bv, bo;
    QkNorm qk_norm;
    float qk_norm_eps;
    bool qk_norm_after_rope;
    Vector q_norm, k_norm; /* [head_dim] or [n_heads * head_dim] */
    bool v_norm;           /* unweighted RMS norm of V per head */
    Rope rope;
    float scale;             /* of q·k; set by the loader, never 0 */
    float softcap;           /* 0: none; else cap * tanh(s / cap) */
    int32_t window;          /* key j is seen from query i when i - j < window; 0: all */
    int32_t chunk;           /* only keys of the query's own chunk of this length; 0: none */
    Vector sinks;            /* [n_heads] one more softmax column each, without a value */
    OutputGate gate;         /* wq then has 2 * head_dim rows a head: query, gate */
    float temperature_scale; /* query *= 1 + t * ln(1 + floor((p + 1) / temperature_floor)); 0: none */
    int32_t temperature_floor;
    bool bidirectional; /* not causal (encoders) */
    int32_t kv_layer;   /* index of the layer whose keys and values are read; own index when it has its own */
    int32_t page_group; /* which of the model's page groups holds its keys and values */
} Attention;

/* LFM2: B, C, x = in_proj(h); y = out_proj(C * conv(B * x)), causal depthwise convolution of `width` taps. */
typedef struct ShortConv {
    int32_t width;
    int32_t channels;
    Weight in_proj; /* [3 * channels][n_embd]: B, C, x */
    Vector in_bias;
    Vector taps; /* [channels][width], tap width-1 meets the current token */
    Vector conv_bias;
    Weight out_proj;
    Vector out_bias;
} ShortConv;

typedef enum MixerKind {
    MIXER_NONE,
    MIXER_ATTENTION,
    MIXER_SHORT_CONV,
} MixerKind;

typedef enum Activation {
    ACT_SILU,
    ACT_GELU, /* erf */
    ACT_GELU_TANH,
    ACT_RELU,
    ACT_RELU2,
    ACT_SWIGLU_OAI, /* (up + 1) * gate * sigmoid(1.702 gate), gate clamped above, up both ways, at `limit` */
} Activation;

/* down(act(gate x) * up x), or down(act(up x)) when there is no gate. */
typedef struct FeedForward {
    Activation activation;
    float limit; /* clamp of ACT_SWIGLU_OAI; 0: none */
    int32_t n_ff;
    Weight gate, up, down;
    Vector gate_bias, up_bias, down_bias;
} FeedForward;

typedef enum RouterKind {
    ROUTER_SOFTMAX,        /* softmax over all experts, then the largest n_used */
    ROUTER_SOFTMAX_CHOSEN, /* the largest n_used, softmax over those */
    ROUTER_SIGMOID,
} RouterKind;

typedef enum GroupScore { GROUP_BEST, GROUP_BEST_TWO } GroupScore;

typedef struct Experts {
    int32_t n_experts, n_used;
    RouterKind router_kind;
    Weight router;                   /* [n_experts][n_embd] */
    Vector router_bias;              /* added to the router's output */
    Vector choice_bias;              /* added to the scores for the choice only */
    int32_t n_groups, n_groups_used; /* 0: no groups */
    GroupScore group_score;
    bool renormalize;      /* the chosen weights sum to 1 */
    float renormalize_eps; /* added to that sum */
    float scale;           /* multiplies the weights; set by the loader, never 0 */
    bool weight_on_input;  /* the weight multiplies the expert's input, not its output */
    Activation activation;
    float limit;
    int32_t n_ff;
    Weight *gate, *up, *down;                /* [n_experts] each */
    Vector *gate_bias, *up_bias, *down_bias; /* [n_experts] each, or NULL */
    FeedForward shared;                      /* n_ff == 0: none */
    Weight shared_gate;                      /* [1][n_embd]: shared output * sigmoid; absent: 1 */
} Experts;

typedef enum FfnKind {
    FFN_NONE,
    FFN_DENSE,
    FFN_EXPERTS,
} FfnKind;

/*
 * x += m * post_norm(mixer(norm(x)));  x += m * post_norm(ffn(norm(x)));  x *= output_scale
 */
typedef struct Layer {
    Norm mixer_norm, mixer_post_norm;
    MixerKind mixer;
    Attention attention;
    ShortConv short_conv;
    Norm ffn_norm, ffn_post_norm;
    FfnKind ffn;
    FeedForward dense;
    Experts experts;
    float residual_multiplier; /* set by the loader, never 0 */
    float output_scale;        /* set by the loader, never 0 */
} Layer;

#endif
