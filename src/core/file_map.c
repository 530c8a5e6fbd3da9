/* file_map.c - mmap and whole-file reads. */
#include "core/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

ImpStatus file_map_open(const char *path, FileMap *out)
{
    *out = (FileMap){0};
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return imp_fail(IMP_ERR_IO, "%s: %s", path, strerror(errno));
    struct stat info;
    ImpStatus status = IMP_OK;
    if (fstat(descriptor, &info) != 0) {
        status = imp_fail(IMP_ERR_IO, "%s: %s", path, strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        status = imp_fail(IMP_ERR_IO, "%s is a directory, a file was expected", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = imp_fail(IMP_ERR_IO, "%s is not a regular file", path);
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data == MAP_FAILED) {
            status = imp_fail(IMP_ERR_IO, "%s cannot be mapped: %s", path, strerror(errno));
        } else {
            out->data = data;
            out->size = (size_t)info.st_size;
        }
    }
    (void)close(descriptor);
    return status;
}

void file_map_close(FileMap *map)
{
    if (map->data != NULL) (void)munmap((void *)(uintptr_t)map->data, map->size);
    *map = (FileMap){0};
}

ImpStatus file_read(const char *path, size_t max_bytes, StrBuf *out)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return imp_fail(IMP_ERR_IO, "%s: %s", path, strerror(errno));
    ImpStatus status = IMP_OK;
    size_t total = 0;
    for (;;) {
        if (!strbuf_reserve(out, 65536)) {
            status = strbuf_check(out);
            break;
        }
        const ssize_t got = read(descriptor, out->data + out->length, 65536);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = imp_fail(IMP_ERR_IO, "%s: %s", path, strerror(errno));
        if (got <= 0) break;
        total += (size_t)got;
        if (total > max_bytes) {
            status = imp_fail(IMP_ERR_LIMIT, "%s is larger than the %zu bytes allowed here", path, max_bytes);
            break;
        }
        out->length += (size_t)got;
        out->data[out->length] = '\0';
    }
    (void)close(descriptor);
    return status;
}
