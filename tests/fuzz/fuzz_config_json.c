/* fuzz_config_json.c - any bytes as config.json beside a golden model's tensors: the JSON reader, hyperparameters, the layer
 * table. */
#include "model_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool registered;
    if (!registered) registered = atexit(close_hostile_configs) == 0;
    open_hostile_config(data, size);
    return 0;
}
