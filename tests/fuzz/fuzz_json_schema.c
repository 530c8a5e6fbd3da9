/* Fuzzes the compiler of JSON Schemas and the states of what compiles (constraint_fuzz.h). */
#include "constraint_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_constraint(constraint_compile_schema_text, data, size); }
