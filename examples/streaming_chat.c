/*
 * streaming_chat.c - a conversation on a terminal, each answer printed as it is made: streaming_chat MODEL
 *
 * The whole conversation goes in at every turn; what the context has computed already is not computed again.
 */
#include <imp/imp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGES = 200, MAX_LINE = 4096 };

typedef struct Conversation {
    ImpMessage messages[MAX_MESSAGES];
    size_t n_messages;
} Conversation;

static int add(Conversation *conversation, const char *role, const char *content)
{
    char *copy = strdup(content);
    if (!copy || conversation->n_messages == MAX_MESSAGES) {
        free(copy);
        return 0;
    }
    conversation->messages[conversation->n_messages].role = role;
    conversation->messages[conversation->n_messages++].content = copy;
    return 1;
}

static bool print_piece(void *user, const char *text, size_t length)
{
    FILE *out = (FILE *)user;
    return fwrite(text, 1, length, out) == length && fflush(out) == 0;
}

static ImpStatus answer(ImpContext context, Conversation *conversation)
{
    ImpGenerateParams params = imp_generate_params_default();
    const ImpStatus status =
        imp_chat_stream(context, conversation->messages, conversation->n_messages, &params, print_piece, stdout);
    if (status != IMP_OK) return status;

    ImpStats stats;
    stats.size = sizeof stats;
    if (imp_stats(context, &stats) == IMP_OK)
        fprintf(stderr, "\n[%d tokens, %d of the prompt's %d known from before]", (int)stats.generated_tokens,
                (int)stats.reused_tokens, (int)stats.prompt_tokens);
    putchar('\n');
    (void)add(conversation, "assistant", imp_generated_text(context, NULL));
    return IMP_OK;
}

int main(int argc, char **argv)
{
    ImpModel model = NULL;
    ImpContext context = NULL;
    Conversation conversation = {.n_messages = 0};
    char line[MAX_LINE];
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    ImpStatus status = imp_model_load(argv[1], IMP_FORMAT_AUTO, &model);
    if (status == IMP_OK) status = imp_context_create(model, NULL, &context);
    while (status == IMP_OK && fputs("> ", stderr) >= 0 && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (!add(&conversation, "user", line)) break;
        status = answer(context, &conversation);
    }
    if (status != IMP_OK) fprintf(stderr, "%s\n", imp_last_error());
    for (size_t i = 0; i < conversation.n_messages; i++) free((void *)(size_t)conversation.messages[i].content);
    imp_context_free(context);
    imp_model_free(model);
    return status == IMP_OK ? 0 : 1;
}
