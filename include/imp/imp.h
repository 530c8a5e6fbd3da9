/*
 * imp/imp.h - the whole public API of imp, an inference engine for open-weights language models.
 *
 *     ImpModel model;
 *     ImpContext context;
 *     ImpConfig config = imp_config_default();
 *     ImpGenerateParams params = imp_generate_params_default();
 *     char text[4096];
 *     size_t length;
 *     if (imp_model_load("model.gguf", IMP_FORMAT_AUTO, &model) != IMP_OK ||
 *         imp_context_create(model, &config, &context) != IMP_OK ||
 *         imp_generate(context, "Once upon a time", &params, text, sizeof text, &length) != IMP_OK)
 *         fprintf(stderr, "%s\n", imp_last_error());
 *
 * Every call that can fail returns an ImpStatus, IMP_OK being 0, and leaves a sentence for imp_last_error(). Nothing
 * here prints, exits or aborts, whatever the input.
 *
 * Threads: a model may be used by any number of threads, each with contexts of its own; a context by one thread at a
 * time (imp_context_cancel alone may come from anywhere). The text of a context depends on its own calls only: not on
 * the number of threads, on other contexts, or on what was computed before.
 *
 * Text is UTF-8. Buffers: `length` (may be NULL) receives the bytes of the whole result without the NUL that follows
 * it; when `size` is too small the call stores what fits, cut between characters, with its NUL, and returns
 * IMP_ERR_BUFFER_TOO_SMALL. A NULL buffer of size 0 asks for the length alone, and is no error.
 *
 * Rarely used calls (logits of every token, perplexity, several sequences at once) are in imp/inspect.h.
 */
#ifndef IMP_H
#define IMP_H

#include "imp/config.h"
#include "imp/error.h"
#include "imp/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0". */
IMP_API const char *imp_version(void);

/* ---- Models ---- */

/* Opens a GGUF file or a SafeTensors directory and checks all of it; weights stay in the file, mapped. A file with only
 * a vocabulary (a GGUF without tensors, a directory with only tokenizer.json) loads too: ImpModelInfo.has_weights is
 * false. Errors: IMP_ERR_IO, IMP_ERR_FORMAT, IMP_ERR_UNSUPPORTED, naming file, tensor and reason. */
IMP_API ImpStatus imp_model_load(const char *path, ImpFormat format, ImpModel *model);

/* As imp_model_load, but takes the vocabulary and the chat template alone, from any file that has them. */
IMP_API ImpStatus imp_model_load_vocabulary(const char *path, ImpFormat format, ImpModel *model);

/* The model itself lives on until its last context and detokenizer are freed. */
IMP_API void imp_model_free(ImpModel model);

/* Set info->size first. */
IMP_API ImpStatus imp_model_info(ImpModel model, ImpModelInfo *info);

/* ---- Contexts ---- */

/* Makes room for a conversation. The first context of a model prepares its weights for the device, which may take a
 * while (config->progress watches) and which later contexts share; they cannot ask for another device, instruction set
 * or layout (IMP_ERR_INVALID_ARGUMENT). `config` NULL: the defaults. */
IMP_API ImpStatus imp_context_create(ImpModel model, const ImpConfig *config, ImpContext *context);
IMP_API void imp_context_free(ImpContext context);

/* The tokens that the context holds, computed: [*n_tokens], valid until the next call on the context. */
IMP_API const int32_t *imp_context_tokens(ImpContext context, int32_t *n_tokens);
/* Most tokens that it can hold. */
IMP_API int32_t imp_context_capacity(ImpContext context);
/* Forgets all tokens. */
IMP_API void imp_context_reset(ImpContext context);

/* Ends the context's running call at its next token or prompt chunk with IMP_ERR_CANCELLED; without one running it does
 * nothing. Safe from other threads and from signal handlers. */
IMP_API void imp_context_cancel(ImpContext context);

/* ---- Text ---- */

/*
 * Continues `prompt` as it stands, without a template (with BOS where the model adds it), until the model ends, a stop
 * string appears, params->max_tokens are generated or the context is full. Only what follows the prompt is handed out.
 *
 * Every call stands for itself: `prompt` is the whole text. What it shares with the tokens that the context holds from
 * its last call is not computed again, so prolonging a text or a conversation costs the new tokens alone, and gives the
 * same text as a fresh context. `params` NULL: the defaults.
 *
 * The text is also kept in the context: imp_generated_text. Errors: IMP_ERR_CONTEXT_FULL when the prompt does not fit,
 * IMP_ERR_CANCELLED (imp_generated_text has what came before), IMP_ERR_INVALID_ARGUMENT naming the parameter.
 */
IMP_API ImpStatus imp_generate(ImpContext context, const char *prompt, const ImpGenerateParams *params, char *buffer,
                               size_t size, size_t *length);

/* The same, handing out text as it comes. The callback may not call into this context, but for imp_context_cancel. */
IMP_API ImpStatus imp_generate_stream(ImpContext context, const char *prompt, const ImpGenerateParams *params,
                                      ImpTextCallback *callback, void *user);

/* The same from token ids, taken as they are; `callback` may be NULL. */
IMP_API ImpStatus imp_generate_tokens(ImpContext context, const int32_t *tokens, int32_t n_tokens,
                                      const ImpGenerateParams *params, ImpTextCallback *callback, void *user);

/* Answers a conversation: the messages go through the chat template (imp_chat_render), then as imp_generate. To go on,
 * call again with the answer appended as an "assistant" message and the next "user" message behind it. */
IMP_API ImpStatus imp_chat(ImpContext context, const ImpMessage *messages, size_t n_messages,
                           const ImpGenerateParams *params, char *buffer, size_t size, size_t *length);

IMP_API ImpStatus imp_chat_stream(ImpContext context, const ImpMessage *messages, size_t n_messages,
                                  const ImpGenerateParams *params, ImpTextCallback *callback, void *user);

/* The tags between which a chat template (its source; NULL: none) has the model reason; "<think>" and "</think>" where it
 * names none. Static strings. */
IMP_API void imp_reasoning_tags(const char *template_source, const char **open, const char **close);

/* Text of the last imp_generate… or imp_chat… call, as far as it got: NUL-terminated, valid until the next one.
 * `length` may be NULL. Never NULL. */
IMP_API const char *imp_generated_text(ImpContext context, size_t *length);
/* Its tokens, end token included where one was drawn. */
IMP_API const int32_t *imp_generated_tokens(ImpContext context, int32_t *n_tokens);

/* What that call did. Set stats->size first. */
IMP_API ImpStatus imp_stats(ImpContext context, ImpStats *stats);

/* ---- Token by token ---- */

/* Computes `n_tokens` more tokens behind those that the context holds. Then the logits of the last one are in reach.
 * IMP_ERR_CONTEXT_FULL when they do not fit. */
IMP_API ImpStatus imp_prefill(ImpContext context, const int32_t *tokens, int32_t n_tokens);

/* Logits of the token after the last one: [n_vocab] (imp_model_info), the context's, valid until the next call on it.
 * The caller may change them: imp_decode_step draws from what it finds. NULL when nothing was computed yet, or the last
 * call failed. */
IMP_API float *imp_logits(ImpContext context);

/* Draws the next token from the logits in reach and computes it, so that the logits of the one after are in reach. End
 * tokens are drawn like all others: see imp_token_is_end. Of `params` the sampler's part counts, and IMP_SEED_RANDOM is
 * one number as long as the context lives; NULL: greedy. IMP_ERR_INVALID_ARGUMENT when no logits are in reach;
 * IMP_ERR_CONTEXT_FULL when the context is full: *token was drawn then, but could not be computed. */
IMP_API ImpStatus imp_decode_step(ImpContext context, const ImpGenerateParams *params, int32_t *token);

/* ---- Tokens and templates ---- */

enum {
    IMP_TOKENIZE_ADD_SPECIAL = 1,   /* BOS, EOS or the like, where the model adds them */
    IMP_TOKENIZE_PARSE_SPECIAL = 2, /* the text of special tokens becomes those tokens */
};

/* Token ids of `text_length` bytes (IMP_NUL_TERMINATED: up to the NUL). *count (may be NULL) receives the number of ids
 * also when `capacity` is too small (IMP_ERR_BUFFER_TOO_SMALL; the first `capacity` ids are stored). NULL with capacity
 * 0 asks for the number alone. */
IMP_API ImpStatus imp_tokenize(ImpModel model, const char *text, size_t text_length, unsigned flags, int32_t *tokens,
                               size_t capacity, size_t *count);

/* Text of `n_tokens` ids; special tokens appear only with `keep_special`. The text may hold NUL bytes. */
IMP_API ImpStatus imp_detokenize(ImpModel model, const int32_t *tokens, size_t n_tokens, bool keep_special,
                                 char *buffer, size_t size, size_t *length);

/* Text piece by piece: the pieces joined are imp_detokenize of all ids, and none ends inside a character. *text is the
 * stream's, NUL-terminated, valid until its next call, often empty. */
IMP_API ImpStatus imp_detokenizer_create(ImpModel model, bool keep_special, ImpDetokenizer *stream);
IMP_API ImpStatus imp_detokenizer_push(ImpDetokenizer stream, int32_t token, const char **text, size_t *length);
/* Hands out what is held back; the stream is then as new. */
IMP_API ImpStatus imp_detokenizer_finish(ImpDetokenizer stream, const char **text, size_t *length);
IMP_API void imp_detokenizer_free(ImpDetokenizer stream);

/* Whether the model ends its turn with this token. False for ids outside the vocabulary. */
IMP_API bool imp_token_is_end(ImpModel model, int32_t token);

/* The prompt that imp_chat makes of these messages: the model's template, or params->chat_template, with
 * params->template_variables and add_generation_prompt. `params` NULL: the defaults. IMP_ERR_UNSUPPORTED when there is
 * no template, IMP_ERR_FORMAT with the template's own words when it refuses the messages. */
IMP_API ImpStatus imp_chat_render(ImpModel model, const ImpMessage *messages, size_t n_messages,
                                  const ImpGenerateParams *params, char *buffer, size_t size, size_t *length);

/* ---- Surroundings ---- */

/* Devices that ImpConfig.device can name, best first. Set info->size first; IMP_ERR_INVALID_ARGUMENT past the end. */
IMP_API size_t imp_device_count(void);
IMP_API ImpStatus imp_device_info(size_t index, ImpDeviceInfo *info);

/* Where the library's log goes, up to `max_level`; NULL (the default): nowhere. Set it before other threads start. */
IMP_API void imp_log_set(ImpLogCallback *callback, void *user, ImpLogLevel max_level);

#ifdef __cplusplus
}
#endif
#endif
