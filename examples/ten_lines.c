/* ten_lines.c - continues a text: ten_lines MODEL PROMPT */
#include <imp/imp.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    ImpModel model = NULL;
    ImpContext context = NULL;
    ImpConfig config = imp_config_default();
    ImpGenerateParams params = imp_generate_params_default();
    char text[4096] = "";
    ImpStatus status = imp_model_load(argc == 3 ? argv[1] : NULL, IMP_FORMAT_AUTO, &model);
    if (status == IMP_OK) status = imp_context_create(model, &config, &context);
    if (status == IMP_OK) status = imp_generate(context, argv[2], &params, text, sizeof text, NULL);
    if (status != IMP_OK) fprintf(stderr, "%s\n", imp_last_error());
    puts(text);
    imp_context_free(context);
    imp_model_free(model);
    return status == IMP_OK ? 0 : 1;
}
