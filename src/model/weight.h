/*
 * weight.h - what a matrix or a vector of a model is, before and after a backend has taken it.
 */
#ifndef IMP_MODEL_WEIGHT_H
#define IMP_MODEL_WEIGHT_H

#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A matrix y = W x: `rows` outputs, `cols` inputs, rows contiguous in the mapped file. Absent: data == NULL. */
typedef struct Weight {
    const char *name; /* of the tensor in the file, for messages */
    DType type;
    int64_t rows, cols;
    size_t row_bytes;
    const uint8_t *data;
    float scale;    /* multiplies every element (NVFP4's and FP8's tensor scale); 1 when there is none */
    bool exact;     /* of a tiny model, where rounding shows and speed does not: half precision meets float32 */
    void *prepared; /* the backend's own form (re-laid, uploaded); owned by the backend, NULL: straight from `data` */
} Weight;

/* A small vector (norm weights, biases, sinks), decoded to float32 at load. Absent: data == NULL. */
typedef struct Vector {
    const float *data;
    int32_t size;
    void *prepared; /* the backend's copy */
} Vector;

static inline bool weight_present(const Weight *weight) { return weight->data != NULL; }
static inline bool vector_present(const Vector *vector) { return vector->data != NULL; }

#endif
