/* Fuzzes the compiler of GBNF grammars and the states of what compiles (constraint_fuzz.h). */
#include "constraint_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_constraint(constraint_compile_grammar, data, size); }
