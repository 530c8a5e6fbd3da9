/* fuzz_safetensors.c - any bytes as a SafeTensors file. */
#include "model_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_hostile_safetensors(data, size);
    return 0;
}
