/*
 * model_cost.h - what a step must read and multiply at least: what a measured speed is compared with.
 */
#ifndef IMP_MODEL_MODEL_COST_H
#define IMP_MODEL_MODEL_COST_H

#include "model/model.h"

/* A step over rows that each see `keys` keys on average, the row itself included. */
typedef struct StepShape {
    double rows;      /* tokens computed */
    double sequences; /* that the rows belong to: each sequence's keys and values are read once */
    double logits;    /* rows whose logits are wanted */
    double keys;
    double kv_element_bytes;
} StepShape;

typedef struct StepCost {
    double bytes; /* every weight in use once, and the keys and values; activations stay in caches */
    double madds; /* multiply-adds of matrices and attention */
} StepCost;

/* Of experts, those are read that some row is expected to choose when all are equally likely. */
StepCost model_step_cost(const Model *model, const StepShape *shape);

#endif
