/* test_fuzz_regressions.c - hostile files that once broke the readers, or that come close: none may do more than fail. */
#include "cmocka_all.h"

#include "../../fuzz/model_files.h"

#include <dirent.h>

#include "core/file_map.h"

typedef void Replay(const uint8_t *data, size_t size);

static void replay_gguf(const uint8_t *data, size_t size) { open_hostile_bytes(data, size, MODEL_FORMAT_GGUF); }

/* Every file of tests/fuzz/regressions/KIND. */
static void replay_all(const char *kind, Replay *replay)
{
    char directory_path[512];
    (void)snprintf(directory_path, sizeof directory_path, "%s/fuzz/regressions/%s", IMP_TEST_DATA, kind);
    DIR *directory = opendir(directory_path);
    assert_non_null(directory);
    int n_files = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[1024];
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "%s/%s", directory_path, entry->d_name);
        FileMap map;
        assert_int_equal(file_map_open(path, &map), IMP_OK);
        replay(map.data, map.size);
        file_map_close(&map);
        n_files++;
    }
    (void)closedir(directory);
    assert_true(n_files > 0);
}

static void gguf_files_are_survived(void **state)
{
    (void)state;
    replay_all("gguf", replay_gguf);
}

static void safetensors_files_are_survived(void **state)
{
    (void)state;
    replay_all("safetensors", open_hostile_safetensors);
}

static void config_files_are_survived(void **state)
{
    (void)state;
    replay_all("config_json", open_hostile_config);
    close_hostile_configs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_files_are_survived),
        cmocka_unit_test(safetensors_files_are_survived),
        cmocka_unit_test(config_files_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
