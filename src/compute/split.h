/*
 * split.h - one model on two devices: its first layers on one, the others and the head on the other. For models larger than
 * a GPU's memory.
 */
#ifndef IMP_COMPUTE_SPLIT_H
#define IMP_COMPUTE_SPLIT_H

#include "compute/compute.h"

/* Layers 0 … n_first - 1 run on `first`, the rest on `second`; 0 < n_first < the model's layers. Takes both backends over, also
 * when it fails. */
ImpStatus split_backend_create(Backend *first, Backend *second, int32_t n_first, Backend **out);

/* A further one over a split that has prepared its model: layers that were on its first side run on `first`, of the same
 * kind, which is taken over; the second side is shared and must outlive this one. */
ImpStatus split_backend_create_beside(Backend *prepared, Backend *first, Backend **out);

#endif
