/*
 * Fuzzes lists of tools and the constraints made of them: the first byte chooses a format and the rules, then come a JSON text, a zero
 * byte, and a text that is walked with masks (constraint_fuzz.h).
 */
#include "constraint_fuzz.h"
#include "runtime/tools/tool_constraint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ImpStatus compile(const char *source, size_t length, Constraint **out)
{
    ToolList tools;
    size_t n_formats = 0;
    while (tool_format_at(n_formats) != NULL) n_formats++;
    if (length < 1) return IMP_ERR_FORMAT;
    const unsigned choice = (unsigned char)source[0];
    IMP_TRY(tool_list_parse(source + 1, length - 1, &tools));
    const ToolRules rules = {.required = choice % 2 == 0, .single = choice / 2 % 2 == 0};
    const ImpStatus status = tool_constraint_create(tool_format_at(choice / 4 % n_formats), &tools, &rules, NULL, out);
    tool_list_free(&tools);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_constraint(compile, data, size); }
