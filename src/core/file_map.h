/*
 * file_map.h - a file's bytes: mapped read-only (models) or read whole (small text files).
 */
#ifndef IMP_CORE_FILE_MAP_H
#define IMP_CORE_FILE_MAP_H

#include "core/status.h"
#include "core/strbuf.h"

#include <stddef.h>
#include <stdint.h>

typedef struct FileMap {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
} FileMap;

/* Maps a regular file. Fails with IMP_ERR_IO and a sentence naming the path (a directory, a missing file, …). */
ImpStatus file_map_open(const char *path, FileMap *out);
void file_map_close(FileMap *map);

/* Appends a whole file to `out`; refuses one larger than `max_bytes` with IMP_ERR_LIMIT. Works on pipes too. */
ImpStatus file_read(const char *path, size_t max_bytes, StrBuf *out);

#endif
