/*
 * arch.h - the architectures: one file a family, each a function that fills the layer table.
 *
 * To add one: write its file here, name it in the table of model.c, add a golden to tests/oracle.
 */
#ifndef IMP_MODEL_ARCH_H
#define IMP_MODEL_ARCH_H

#include "model/builder.h"

typedef ImpStatus ArchBuild(Builder *builder);

ArchBuild arch_build_llama;  /* Llama, Mistral, Mixtral, SmolLM2 */
ArchBuild arch_build_qwen;   /* Qwen2, Qwen3, Qwen3-MoE */
ArchBuild arch_build_gemma3; /* Gemma-3 text */
ArchBuild arch_build_lfm2;   /* LFM2, LFM2-MoE */

#endif
