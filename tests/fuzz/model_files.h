/*
 * model_files.h - feeds bytes to the whole way from a file to a layer table; shared by the fuzz targets and by the test
 * that replays what they once found.
 */
#ifndef IMP_FUZZ_MODEL_FILES_H
#define IMP_FUZZ_MODEL_FILES_H

#include "model/model.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Reads every tensor's first and last byte, so that a sanitizer sees a pointer outside of the mapping. */
static inline unsigned touch_tensors(const ModelFile *file)
{
    unsigned sum = 0;
    for (size_t i = 0; i < model_file_tensor_count(file); i++) {
        const FileTensor *tensor = model_file_tensor_at(file, i);
        if (model_file_tensor(file, tensor->name) != tensor) abort();
        if (tensor->size > 0) sum += (unsigned)tensor->data[0] + tensor->data[tensor->size - 1];
    }
    return sum;
}

/* Opens a path that holds hostile bytes and builds a model from it when it opens. */
static inline void open_hostile(const char *path, ModelFormat format)
{
    ModelFile *file;
    if (model_file_open(path, format, &file) != IMP_OK) {
        if (imp_last_error()[0] == '\0') abort();
        return;
    }
    volatile unsigned sum = touch_tensors(file);
    (void)sum;
    Model *model;
    if (model_load(file, &model) == IMP_OK) model_free(model);
    model_file_close(file);
}

/* Opens the bytes as one file, in memory. */
static inline void open_hostile_bytes(const uint8_t *data, size_t size, ModelFormat format)
{
    const int descriptor = memfd_create("hostile", MFD_CLOEXEC);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size) abort();
    open_hostile(path, format);
    (void)close(descriptor);
}

/* Opens the bytes as a SafeTensors file, then once more with the header's length set to where its last brace is: few
 * mutations of the header would get past the length otherwise. */
static inline void open_hostile_safetensors(const uint8_t *data, size_t size)
{
    open_hostile_bytes(data, size, MODEL_FORMAT_SAFETENSORS);
    uint64_t length = size;
    while (length > sizeof length && data[length - 1] != '}') length--;
    if (length <= sizeof length) return;
    length -= sizeof length;
    uint8_t *mended = malloc(size);
    if (mended == NULL) return;
    memcpy(mended, data, size);
    memcpy(mended, &length, sizeof length);
    open_hostile_bytes(mended, size, MODEL_FORMAT_SAFETENSORS);
    free(mended);
}

/* A model_type and the directory under tests/oracle/golden/ whose tensors go with it. */
typedef struct HostileFamily {
    const char *model_type, *golden;
    char directory[64]; /* made at first use: a link to the tensors, and config.json for the time of a call */
} HostileFamily;

static inline void make_family_directory(HostileFamily *family)
{
    const char *shared = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(family->directory, sizeof family->directory, "%s/imp_config_XXXXXX", shared);
    if (mkdtemp(family->directory) == NULL) abort();
    const char *here = __FILE__;
    char tensors[1024], link[100];
    (void)snprintf(tensors, sizeof tensors, "%.*s/../oracle/golden/%s/model.safetensors",
                   (int)(strrchr(here, '/') - here), here, family->golden);
    (void)snprintf(link, sizeof link, "%s/model.safetensors", family->directory);
    if (access(tensors, R_OK) != 0 || symlink(tensors, link) != 0) abort();
}

static HostileFamily hostile_families[] = {
    {"gemma3_text", "gemma3", ""}, {"lfm2_moe", "lfm2-moe", ""}, {"lfm2", "lfm2", ""},   {"mistral", "mistral", ""},
    {"mixtral", "mixtral", ""},    {"qwen2", "qwen2", ""},       {"qwen3", "qwen3", ""}, {"qwen3_moe", "qwen3-moe", ""},
    {"llama", "llama", ""}, /* last: what no other name is in */
};

/* Opens a directory with this config.json beside the tensors of the family that it names. */
static inline void open_hostile_config(const uint8_t *data, size_t size)
{
    HostileFamily *family = hostile_families;
    HostileFamily *const last = hostile_families + sizeof hostile_families / sizeof *family - 1;
    for (; family < last; family++) {
        char quoted[40];
        const int length = snprintf(quoted, sizeof quoted, "\"%s\"", family->model_type);
        if (size > 0 && memmem(data, size, quoted, (size_t)length) != NULL) break;
    }
    if (family->directory[0] == '\0') make_family_directory(family);
    char path[100];
    (void)snprintf(path, sizeof path, "%s/config.json", family->directory);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
    open_hostile(family->directory, MODEL_FORMAT_AUTO);
    (void)unlink(path);
}

/* Removes the directories again. */
static inline void close_hostile_configs(void)
{
    for (size_t i = 0; i < sizeof hostile_families / sizeof hostile_families[0]; i++) {
        char link[100];
        HostileFamily *family = &hostile_families[i];
        if (family->directory[0] == '\0') continue;
        (void)snprintf(link, sizeof link, "%s/model.safetensors", family->directory);
        (void)unlink(link);
        (void)rmdir(family->directory);
        family->directory[0] = '\0';
    }
}

#endif
