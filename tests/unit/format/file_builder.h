/*
 * file_builder.h - builds model files, good and bad, in a temporary directory, and opens them.
 */
#ifndef IMP_TESTS_FILE_BUILDER_H
#define IMP_TESTS_FILE_BUILDER_H

#include "cmocka_all.h"

#include "core/strbuf.h"
#include "format/model_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char work_dir[64];

static inline int make_work_dir(void **state)
{
    (void)state;
    strcpy(work_dir, "/tmp/imp_format_XXXXXX");
    return mkdtemp(work_dir) == NULL ? -1 : 0;
}

static inline void clear_work_dir(void)
{
    DIR *directory = opendir(work_dir);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", work_dir, entry->d_name);
        (void)unlink(path);
    }
    (void)closedir(directory);
}

static inline int remove_work_dir(void **state)
{
    (void)state;
    clear_work_dir();
    return rmdir(work_dir);
}

/* WORK_DIR/NAME; valid until the fourth next call. */
static inline const char *in_work_dir(const char *name)
{
    static char paths[4][200];
    static int next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", work_dir, name);
    return path;
}

/* Writes the bytes and frees them. */
static inline void write_file(const char *name, StrBuf *bytes)
{
    FILE *file = fopen(in_work_dir(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->length, file), bytes->length);
    assert_int_equal(fclose(file), 0);
    strbuf_free(bytes);
}

static inline void write_text(const char *name, const char *text)
{
    StrBuf bytes = {0};
    strbuf_puts(&bytes, text);
    write_file(name, &bytes);
}

static inline void put_u32(StrBuf *out, uint32_t value) { strbuf_append(out, (const char *)&value, sizeof value); }
static inline void put_u64(StrBuf *out, uint64_t value) { strbuf_append(out, (const char *)&value, sizeof value); }

static inline ModelFile *open_model(const char *path)
{
    ModelFile *file;
    if (model_file_open(path, MODEL_FORMAT_AUTO, &file) != IMP_OK) fail_msg("%s", imp_last_error());
    return file;
}

/* Opening must fail with this status and a sentence that names a file of WORK_DIR and holds `words`. */
static inline void assert_refused(const char *path, ImpStatus code, const char *words)
{
    ModelFile *file;
    const ImpStatus status = model_file_open(path, MODEL_FORMAT_AUTO, &file);
    assert_null(file);
    if (status != code || strstr(imp_last_error(), words) == NULL || strstr(imp_last_error(), work_dir) == NULL)
        fail_msg("%s: expected %s … %s, got %s: %s", path, imp_status_name(code), words, imp_status_name(status),
                 imp_last_error());
}

#endif
