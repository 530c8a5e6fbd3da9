/*
 * inspect.c - looking inside: hidden states and logits of a prompt into files, perplexity of a text, the devices there
 * are.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- files of float32 ---- */

/* Little-endian as .npy says and as every processor that imp runs on is. */
typedef struct FloatFile {
    FILE *stream;
    char path[PATH_MAX];
    int64_t rows;
    int32_t width;
    bool failed;
} FloatFile;

static int fail_write(FloatFile *file)
{
    if (!file->failed) (void)fail("cannot write %s: %s", file->path, strerror(errno));
    file->failed = true;
    return EXIT_FAILED;
}

static void float_file_append(FloatFile *file, const float *rows, int32_t n_rows, int32_t width)
{
    const size_t count = (size_t)n_rows * (size_t)width;
    file->width = width;
    file->rows += n_rows;
    if (!file->failed && fwrite(rows, sizeof *rows, count, file->stream) != count) (void)fail_write(file);
}

static int float_file_open(FloatFile *file)
{
    file->stream = fopen(file->path, "wb");
    return file->stream != NULL ? EXIT_OK : fail_write(file);
}

static int float_file_close(FloatFile *file)
{
    if (file->stream != NULL && fclose(file->stream) != 0) (void)fail_write(file);
    file->stream = NULL;
    return file->failed ? EXIT_FAILED : EXIT_OK;
}

enum { NPY_HEADER_BYTES = 128 };

/* NumPy's format, version 1: magic, version, length of the header, a Python dictionary padded with blanks to a line
 * end. The number of rows is known only at the end, so the header is written twice. */
static void npy_write_header(FloatFile *file)
{
    char header[NPY_HEADER_BYTES + 1];
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 0x76: the 118 bytes that remain */
    const int length =
        snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %d), }",
                 (long long)file->rows, file->width);
    memset(header + 10 + length, ' ', (size_t)(NPY_HEADER_BYTES - 10 - length));
    header[NPY_HEADER_BYTES - 1] = '\n';
    if (!file->failed && (fseek(file->stream, 0, SEEK_SET) != 0 ||
                          fwrite(header, 1, NPY_HEADER_BYTES, file->stream) != NPY_HEADER_BYTES))
        (void)fail_write(file);
}

/* ---- hidden states ---- */

typedef struct HiddenDump {
    FloatFile *files; /* [n_layers + 2]: embedding, layers, final norm */
    int32_t n_layers;
    bool print; /* diagnostics.debug_forward too */
} HiddenDump;

static void take_layer(void *user, int32_t layer, const float *rows, int32_t n_rows, int32_t width)
{
    HiddenDump *dump = user;
    if (dump->print) session_print_layer(NULL, layer, rows, n_rows, width);
    if (layer < -1 || layer > dump->n_layers) return;
    FloatFile *file = &dump->files[layer + 1];
    if (!file->failed && file->rows == 0) { /* room for the header */
        file->width = width;
        npy_write_header(file);
    }
    float_file_append(file, rows, n_rows, width);
}

static int hidden_open(HiddenDump *dump, const char *directory, int32_t n_layers)
{
    dump->files = calloc((size_t)n_layers + 2, sizeof *dump->files);
    dump->n_layers = n_layers;
    if (dump->files == NULL) return fail("out of memory for %d layers", n_layers);
    if (mkdir(directory, 0777) != 0 && errno != EEXIST) return fail("cannot make %s: %s", directory, strerror(errno));
    int code = EXIT_OK;
    for (int32_t i = -1; i <= n_layers && code == EXIT_OK; i++) {
        FloatFile *file = &dump->files[i + 1];
        char name[32];
        (void)snprintf(name, sizeof name, i < 0 ? "embedding" : i == n_layers ? "final_norm" : "layer_%03d", i);
        if (snprintf(file->path, sizeof file->path, "%s/%s.npy", directory, name) >= PATH_MAX)
            return fail("%s is too long a path", directory);
        code = float_file_open(file);
    }
    return code;
}

static int hidden_close(HiddenDump *dump)
{
    int code = EXIT_OK;
    for (int32_t i = 0; dump->files != NULL && i < dump->n_layers + 2; i++) {
        if (dump->files[i].stream == NULL) continue;
        if (dump->files[i].rows > 0) npy_write_header(&dump->files[i]);
        if (float_file_close(&dump->files[i]) != EXIT_OK) code = EXIT_FAILED;
    }
    free(dump->files);
    return code;
}

/* ---- --dump-logits, --dump-hidden ---- */

static bool take_logits(void *user, int32_t first_row, int32_t n_rows, int32_t n_vocab, const float *logits)
{
    (void)first_row;
    FloatFile *file = user;
    float_file_append(file, logits, n_rows, n_vocab);
    return !file->failed;
}

/* The prompt through the model, with everybody watching who was asked for. */
static int evaluate(Session *session, const Ids *ids, FloatFile *logits)
{
    const ImpStatus status = logits->stream != NULL
                                 ? imp_evaluate(session->context, ids->data, (int32_t)ids->count, take_logits, logits)
                                 : imp_prefill(session->context, ids->data, (int32_t)ids->count);
    progress_clear();
    if (logits->failed) return EXIT_FAILED;
    return status == IMP_OK ? EXIT_OK : fail_imp();
}

static int dump_ids(Session *session, const Ids *ids)
{
    const char *directory = imp_settings_string(session->settings, "diagnostics.dump_hidden_dir");
    const char *path = session->options->dump_logits;
    HiddenDump hidden = {.print = imp_settings_bool(session->settings, "diagnostics.debug_forward")};
    FloatFile logits = {0};
    int code = EXIT_OK;
    if (path != NULL) {
        (void)snprintf(logits.path, sizeof logits.path, "%s", path);
        code = float_file_open(&logits);
    }
    if (code == EXIT_OK && directory[0] != '\0') {
        code = hidden_open(&hidden, directory, session->info.n_layers);
        if (code == EXIT_OK && imp_watch_layers(session->context, take_layer, &hidden) != IMP_OK) code = fail_imp();
    }
    if (code == EXIT_OK) code = evaluate(session, ids, &logits);
    if (directory[0] != '\0') (void)imp_watch_layers(session->context, NULL, NULL);
    if (hidden_close(&hidden) != EXIT_OK) code = EXIT_FAILED;
    if (float_file_close(&logits) != EXIT_OK) code = EXIT_FAILED;
    if (code == EXIT_OK && path != NULL)
        note("%s: logits of %lld tokens, %d each", path, (long long)logits.rows, logits.width);
    if (code == EXIT_OK && directory[0] != '\0')
        note("%s: hidden states of %zu tokens after %d layers", directory, ids->count, session->info.n_layers);
    return code;
}

int dump_run(Session *session)
{
    Ids ids = {0};
    /* Dumps are for comparing with others, who keep keys and values as they are and take prompts of any length. */
    if (!imp_settings_is_set(session->settings, "kv_cache.dtype")) session->config.kv_type = IMP_KV_F32;
    int code = session_prompt_ids(session, &ids);
    const int32_t count = (int32_t)ids.count, trained = session->info.n_ctx_train;
    if (session->config.max_seq_len == 0 && trained > 0 && count > trained) session->config.max_seq_len = count;
    if (code == EXIT_OK) code = session_start(session);
    if (code == EXIT_OK) code = dump_ids(session, &ids);
    if (code == EXIT_OK && session->options->max_tokens_given) code = generate_answer(session, &ids);
    ids_free(&ids);
    return code;
}

/* ---- --perplexity ---- */

enum { DEFAULT_WINDOW = 512 };

static int text_ids(const Session *session, Ids *ids)
{
    Text text = {0};
    if (!session->info.has_vocabulary)
        return fail("the model has no vocabulary: there is nothing to tokenize a text with");
    int code = text_read_file(&text, session->options->perplexity);
    const unsigned flags = session->options->no_parse_special ? 0 : IMP_TOKENIZE_PARSE_SPECIAL;
    Ids plain = {0};
    if (code == EXIT_OK) code = ids_tokenize(&plain, session->model, text.data, text.length, flags);
    bool done = code != EXIT_OK || !session->info.adds_bos || session->info.bos < 0 || ids_push(ids, session->info.bos);
    for (size_t i = 0; i < plain.count && done; i++) done = ids_push(ids, plain.data[i]);
    ids_free(&plain);
    text_free(&text);
    return done ? code : fail("out of memory for the tokens of %s", session->options->perplexity);
}

int perplexity_run(Session *session)
{
    Ids ids = {0};
    ImpPerplexity result = {.size = sizeof result};
    if (session->config.max_seq_len == 0) {
        const int32_t trained = session->info.n_ctx_train;
        session->config.max_seq_len = trained > 0 && trained < DEFAULT_WINDOW ? trained : DEFAULT_WINDOW;
    }
    int code = text_ids(session, &ids);
    if (code == EXIT_OK) code = session_start(session);
    if (code == EXIT_OK) {
        const ImpStatus status =
            imp_perplexity(session->context, ids.data, ids.count, session->config.max_seq_len, &result);
        progress_clear();
        if (status != IMP_OK) code = fail_imp();
    }
    ids_free(&ids);
    if (code != EXIT_OK) return code;
    if (session->options->json) {
        (void)output_printf("{\"perplexity\": %.6f, \"tokens\": %lld, \"windows\": %d, \"window\": %d}\n",
                            result.perplexity, (long long)result.n_scored, result.n_windows,
                            session->config.max_seq_len);
    } else {
        (void)output_printf("%.4f\n", result.perplexity);
        note("perplexity over %lld tokens in %d windows of %d", (long long)result.n_scored, result.n_windows,
             session->config.max_seq_len);
    }
    return output_status();
}

/* ---- --list-devices ---- */

static int print_device(const ImpDeviceInfo *device, bool json, bool first)
{
    Text out = {0};
    bool done = true;
    if (json) {
        const struct {
            const char *name, *value;
        } texts[] = {{"name", device->name}, {"description", device->description}, {"features", device->features}};
        for (size_t i = 0; i < 3 && done; i++)
            done = text_puts(&out, i == 0 ? "{\"" : ", \"") && text_puts(&out, texts[i].name) &&
                   text_puts(&out, "\": ") && text_append_json(&out, texts[i].value, strlen(texts[i].value));
        if (done)
            (void)output_printf("%s%s, \"cores\": %d, \"memory_bytes\": %llu, \"memory_free_bytes\": %llu}",
                                first ? "" : ", ", out.data, device->n_cores, (unsigned long long)device->memory_bytes,
                                (unsigned long long)device->memory_free_bytes);
    } else {
        (void)output_printf("%-8s %s, %s, %d cores, %.1f of %.1f GB free\n", device->name, device->description,
                            device->features, device->n_cores, (double)device->memory_free_bytes * 1e-9,
                            (double)device->memory_bytes * 1e-9);
    }
    text_free(&out);
    return done ? output_status() : fail("out of memory");
}

int devices_run(const Options *options)
{
    int code = EXIT_OK;
    if (options->json) (void)output_printf("[");
    for (size_t i = 0; i < imp_device_count() && code == EXIT_OK; i++) {
        ImpDeviceInfo device = {.size = sizeof device};
        code = imp_device_info(i, &device) == IMP_OK ? print_device(&device, options->json, i == 0) : fail_imp();
    }
    if (options->json) (void)output_printf("]\n");
    return code;
}

/* ---- --mem-report ---- */

int memory_run(Session *session)
{
    const int code = session_start(session);
    if (code != EXIT_OK) return code;
    ImpMemory memory = {.size = sizeof memory};
    if (imp_context_memory(session->context, &memory) != IMP_OK) return fail_imp();
    const struct {
        const char *name, *key;
        uint64_t bytes;
    } parts[] = {
        {"mapped file", "file_bytes", session->info.weight_bytes},
        {"weights", "weight_bytes", memory.weight_bytes},
        {"keys and values", "page_bytes", memory.page_bytes},
        {"recurrent states", "state_bytes", memory.state_bytes},
        {"activations, logits", "activation_bytes", memory.activation_bytes},
        {"workspace", "workspace_bytes", memory.workspace_bytes},
        {"free", "free_bytes", memory.free_bytes},
    };
    const bool json = session->options->json;
    if (json) {
        (void)output_printf("{\"device\": \"%s\", \"max_tokens\": %d, \"max_sequences\": %d, \"chunk\": %d", memory.device,
                            memory.max_tokens, memory.max_sequences, memory.chunk);
    } else {
        (void)output_printf("%s: %d sequence%s of %d tokens, steps of up to %d rows\n", memory.device,
                            memory.max_sequences, memory.max_sequences == 1 ? "" : "s", memory.max_tokens, memory.chunk);
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (json)
            (void)output_printf(", \"%s\": %llu", parts[i].key, (unsigned long long)parts[i].bytes);
        else
            (void)output_printf("%-20s %10.1f MB\n", parts[i].name, (double)parts[i].bytes * 1e-6);
    }
    if (json) (void)output_printf("}\n");
    return output_status();
}
