/* fuzz_gguf.c - any bytes as a GGUF file: metadata, tensor table, hyperparameters, layer table. */
#include "model_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_hostile_bytes(data, size, MODEL_FORMAT_GGUF);
    return 0;
}
