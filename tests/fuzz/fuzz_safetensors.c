/* fuzz_safetensors.c - any bytes as a SafeTensors file. */
#include "model_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_hostile_bytes(data, size, MODEL_FORMAT_SAFETENSORS);
    return 0;
}
