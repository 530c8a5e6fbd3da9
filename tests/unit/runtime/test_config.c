/*
 * test_config.c - imp.conf: what the parser takes and refuses, what the schema says, which file applies.
 */
#include "cmocka_all.h"

#include "imp/config.h"
#include "imp/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ImpSettings *fresh(void)
{
    ImpSettings *settings = NULL;
    assert_int_equal(imp_settings_create(&settings), IMP_OK);
    return settings;
}

static ImpStatus parse(ImpSettings *settings, const char *text)
{
    return imp_settings_parse(settings, "imp.conf", text, strlen(text));
}

/* `text` must be refused with exactly this sentence. */
static void assert_refused(const char *text, const char *sentence)
{
    ImpSettings *settings = fresh();
    assert_int_not_equal(parse(settings, text), IMP_OK);
    assert_string_equal(imp_last_error(), sentence);
    imp_settings_free(settings);
}

static void assert_set_refused(const char *assignment, const char *sentence)
{
    ImpSettings *settings = fresh();
    assert_int_not_equal(imp_settings_assign(settings, assignment), IMP_OK);
    assert_string_equal(imp_last_error(), sentence);
    imp_settings_free(settings);
}

static void test_every_kind_of_value(void **state)
{
    (void)state;
    ImpSettings *settings = fresh();
    const char *text = "\xEF\xBB\xBF# comment\r\n"
                       "cpu.threads = 3 # dotted, before any section\r\n"
                       "\r\n"
                       "[ runtime ]   # the section\n"
                       "warmup=true\n"
                       "max_seq_len = 1_000\n"
                       "\t prefill_chunk_size\t=\t+7\n"
                       "[sampling]\n"
                       "temperature = 1\n"
                       "top_p = 9.5e-1\n"
                       "frequency_penalty = -0.25\n"
                       "order = [ # over several lines\n"
                       "  \"top_k\",\n"
                       "  'temperature', # a comment inside\n"
                       "]\n"
                       "[generation]\n"
                       "system = \"a ; b # c = \\\"d\\\" \\u00e9 \\U0001F600 \\\\n \\t\" # behind\n"
                       "stop = []\n"
                       "chat_template_file = 'C:\\no\\escapes \"here\"'\n"
                       "[kv_cache]\n"
                       "dtype = \"bf16\"";
    assert_int_equal(parse(settings, text), IMP_OK);
    assert_int_equal(imp_settings_int(settings, "cpu.threads"), 3);
    assert_true(imp_settings_bool(settings, "runtime.warmup"));
    assert_int_equal(imp_settings_int(settings, "runtime.max_seq_len"), 1000);
    assert_int_equal(imp_settings_int(settings, "runtime.prefill_chunk_size"), 7);
    assert_true(imp_settings_float(settings, "sampling.temperature") == 1.0);
    assert_true(imp_settings_float(settings, "sampling.top_p") == 0.95);
    assert_true(imp_settings_float(settings, "sampling.frequency_penalty") == -0.25);
    assert_string_equal(imp_settings_item(settings, "sampling.order", 0), "top_k");
    assert_string_equal(imp_settings_item(settings, "sampling.order", 1), "temperature");
    assert_null(imp_settings_item(settings, "sampling.order", 2));
    assert_string_equal(imp_settings_string(settings, "generation.system"),
                        "a ; b # c = \"d\" \xC3\xA9 \xF0\x9F\x98\x80 \\n \t");
    assert_null(imp_settings_item(settings, "generation.stop", 0));
    assert_string_equal(imp_settings_string(settings, "generation.chat_template_file"), "C:\\no\\escapes \"here\"");
    assert_string_equal(imp_settings_string(settings, "kv_cache.dtype"), "bf16");
    assert_true(imp_settings_is_set(settings, "kv_cache.dtype"));
    assert_false(imp_settings_is_set(settings, "sampling.top_k"));
    imp_settings_free(settings);
}

static void test_built_in_values(void **state)
{
    (void)state;
    ImpSettings *settings = fresh();
    assert_int_equal(imp_settings_int(settings, "generation.max_tokens"), 256);
    assert_true(imp_settings_float(settings, "sampling.temperature") == 0.7);
    assert_true(imp_settings_float(settings, "sampling.top_p") == 0.9);
    assert_int_equal(imp_settings_int(settings, "sampling.top_k"), 40);
    assert_string_equal(imp_settings_item(settings, "sampling.dry_breakers", 0), "\n");
    assert_string_equal(imp_settings_item(settings, "sampling.dry_breakers", 2), "\"");
    assert_null(imp_settings_item(settings, "sampling.dry_breakers", 4));
    assert_string_equal(imp_settings_file(settings), "");
    /* A key of another type, or none at all, reads as nothing. */
    assert_int_equal(imp_settings_int(settings, "kv_cache.dtype"), 0);
    assert_string_equal(imp_settings_string(settings, "no.such_key"), "");
    imp_settings_free(settings);
}

static void test_syntax_errors_name_file_and_line(void **state)
{
    (void)state;
    assert_refused("\n\n[sampling\n", "imp.conf:3: expected [sampling] with a closing bracket");
    assert_refused("[sampling] top_k = 1\n", "imp.conf:1: something follows [sampling]");
    assert_refused("[sampling]\ntop_k 5\n", "imp.conf:2: expected '=' after sampling.top_k");
    assert_refused("[sampling]\ntop_k = \n", "imp.conf:2: sampling.top_k: the value is missing");
    assert_refused("[sampling]\ntop_k = 5 6\n", "imp.conf:2: something follows the value of sampling.top_k");
    assert_refused("[sampling]\n= 5\n", "imp.conf:2: expected a key of letters, digits, '_' and '-'");
    assert_refused("top_k = 5\n", "imp.conf:1: top_k stands before any section: write [section] above it");
    assert_refused("[kv_cache]\ndtype = \"fp16\n",
                   "imp.conf:2: kv_cache.dtype: the string has no closing \" on its line");
    assert_refused("[kv_cache]\ndtype = 'fp16", "imp.conf:2: kv_cache.dtype: the string has no closing ' on its line");
    assert_refused("[kv_cache]\ndtype = fp16\n", "imp.conf:2: kv_cache.dtype: fp16 is no value: write true, false, a "
                                                 "number or a \"quoted string\"");
    assert_refused(
        "[generation]\nsystem = \"\"\"a\"\"\"\n",
        "imp.conf:2: generation.system: strings over several lines are not supported: write \\n in a \"string\"");
    assert_refused(
        "[generation]\nsystem = \"\\q\"\n",
        "imp.conf:2: generation.system: unknown escape: a backslash is written \\\\, or use 'single quotes'");
    assert_refused("[generation]\nsystem = \"\\u0000\"\n",
                   "imp.conf:2: generation.system: the escape for U+0000 stands for no character allowed here");
    assert_refused("[generation]\nsystem = \"\\uD800\"\n",
                   "imp.conf:2: generation.system: the escape for U+D800 stands for no character allowed here");
    assert_refused("[generation]\nsystem = \"\\u12\"\n",
                   "imp.conf:2: generation.system: \\u needs 4 hexadecimal digits");
    assert_refused("[generation]\nstop = [\"a\" \"b\"]\n",
                   "imp.conf:2: generation.stop: expected ',' or ']' after an entry of the list");
    assert_refused("[generation]\nstop = [\"a\",\n\n", "imp.conf:4: generation.stop: the list has no closing ]");
    assert_refused("[generation]\nstop = [1]\n",
                   "imp.conf:2: generation.stop: a list holds quoted strings, separated by commas");
    assert_refused("[generation]\nsystem = { a = 1 }\n",
                   "imp.conf:2: generation.system: tables in braces are not supported");
    for (int i = 0; i < 7; i++) {
        static const char *const numbers[] = {"007", "1__0", "_1", "1.", "0x10", "1e", "--1"};
        char text[64], sentence[160];
        (void)snprintf(text, sizeof text, "[sampling]\ntop_k = %s\n", numbers[i]);
        (void)snprintf(sentence, sizeof sentence,
                       numbers[i][0] == '_' ? "imp.conf:2: sampling.top_k: %s is no value: write "
                                              "true, false, a number or a \"quoted string\""
                                            : "imp.conf:2: sampling.top_k: %s is no number: "
                                              "write 12, -3, 0.5 or 1e-6",
                       numbers[i]);
        assert_refused(text, sentence);
    }
    assert_refused("[sampling]\ntop_k = 9223372036854775808\n",
                   "imp.conf:2: sampling.top_k: the number 9223372036854775808 does not fit in 64 bits");
    assert_refused("[sampling]\ntemperature = 1e400\n",
                   "imp.conf:2: sampling.temperature: the number 1e400 is too large");
}

static void test_hostile_bytes(void **state)
{
    (void)state;
    ImpSettings *settings = fresh();
    assert_int_not_equal(imp_settings_parse(settings, "x", "[cpu]\nthr\0eads = 1\n", 19), IMP_OK);
    assert_string_equal(imp_last_error(), "x:2: the line contains the control byte 0x00");
    assert_refused("# caf\xE9\n", "imp.conf:1: the line is not valid UTF-8");
    assert_refused("[cpu]\r[gpu]\n", "imp.conf:1: the line contains the control byte 0x0d");
    assert_refused("\n# \x1b[31m\n", "imp.conf:2: the line contains the control byte 0x1b");

    const size_t huge = (size_t)2 << 20;
    char *text = malloc(huge);
    assert_non_null(text);
    memset(text, 'a', huge);
    assert_int_equal(imp_settings_parse(settings, "x", text, huge), IMP_ERR_LIMIT);
    assert_string_equal(imp_last_error(), "x is larger than 1048576 bytes");
    text[0] = '\n';
    assert_int_equal(imp_settings_parse(settings, "x", text, 200000), IMP_ERR_LIMIT);
    assert_string_equal(imp_last_error(), "x:2: the line is longer than 65536 bytes");
    assert_int_not_equal(imp_settings_parse(settings, "x", text, 1000), IMP_OK);
    assert_string_equal(imp_last_error(), "x:2: a key of 999 bytes is too long for any that imp knows");
    free(text);
    imp_settings_free(settings);
}

static void test_said_twice(void **state)
{
    (void)state;
    assert_refused("[cpu]\nthreads = 1\n\nthreads = 1\n", "imp.conf:4: cpu.threads was given in line 2 already");
    assert_refused("cpu.threads = 1\n[cpu]\nthreads = 1\n", "imp.conf:3: cpu.threads was given in line 1 already");
    assert_refused("[cpu]\n[runtime]\n[cpu]\n", "imp.conf:3: [cpu] was given in line 1 already");
}

static void test_unknown_names_tell_the_nearest(void **state)
{
    (void)state;
    assert_refused("[sampling]\ntemprature = 1\n",
                   "imp.conf:2: there is no key sampling.temprature; the nearest is sampling.temperature");
    assert_refused("[smapling]\n", "imp.conf:1: there is no section [smapling]; the nearest is [sampling]");
    assert_refused("[runtime]\nmax_seqlen = 1\n",
                   "imp.conf:2: there is no key runtime.max_seqlen; the nearest is runtime.max_seq_len");
    assert_set_refused("max_seq_len=5", "there is no key max_seq_len; the nearest is runtime.max_seq_len");
    assert_set_refused("sampling.topk=5", "there is no key sampling.topk; the nearest is sampling.top_k");
    assert_set_refused("=5", "expected section.key=value, not \"=5\"");
    assert_set_refused("sampling.top_k", "expected section.key=value, not \"sampling.top_k\"");
}

static void test_types_and_ranges(void **state)
{
    (void)state;
    assert_refused("[sampling]\ntop_k = 1.5\n",
                   "imp.conf:2: sampling.top_k expects a whole number, not the fraction 1.5");
    assert_refused("[sampling]\ntop_k = \"5\"\n",
                   "imp.conf:2: sampling.top_k expects a whole number, not the string \"5\"");
    assert_refused("[sampling]\ntop_p = true\n", "imp.conf:2: sampling.top_p expects a number, not true");
    assert_refused("[sampling]\ntop_p = 1.5\n", "imp.conf:2: sampling.top_p = 1.5 is out of range: 0 to 1");
    assert_refused("[sampling]\nseed = -2\n", "imp.conf:2: sampling.seed = -2 is out of range: at least -1");
    assert_refused("[runtime]\nwarmup = 1\n", "imp.conf:2: runtime.warmup expects true or false, not 1");
    assert_refused("[sampling]\nmirostat = 1\n", "imp.conf:2: sampling.mirostat = 1 is out of range: 0 or 2");
    assert_refused("[kv_cache]\ndtype = \"pf16\"\n",
                   "imp.conf:2: kv_cache.dtype = \"pf16\" is none of fp16, bf16, fp32, fp8, int8, int4 or nvfp4; the nearest is fp16");
    assert_refused(
        "[generation]\nstop = \"a\"\n",
        "imp.conf:2: generation.stop expects a list of strings such as [\"a\", \"b\"], not the string \"a\"");
    assert_refused("[generation]\nstop = ['a', 'b', 'c', 'd', 'e']\n",
                   "imp.conf:2: generation.stop has 5 entries, at most 4 are possible");
    assert_refused("[sampling]\norder = ['top_k', 'topp']\n",
                   "imp.conf:2: sampling.order = \"topp\" is none of penalties, dry, top_k, typical_p, top_p, min_p or "
                   "temperature; the nearest is top_p");
    assert_set_refused("sampling.order=top_k,dry,top_k", "sampling.order names top_k twice");
    assert_set_refused("generation.stop=[\"a\", \"\"]", "generation.stop has an empty entry");
    assert_set_refused("sampling.top_k=many", "sampling.top_k expects a whole number, not \"many\"");
    assert_set_refused("sampling.top_k=", "sampling.top_k expects a whole number, not \"\"");
    assert_set_refused("runtime.warmup=yes", "runtime.warmup expects true or false, not \"yes\"");
    assert_set_refused("kv_cache.dtype=fp61",
                       "kv_cache.dtype = \"fp61\" is none of fp16, bf16, fp32, fp8, int8, int4 or nvfp4; the nearest is fp16");
}

/* A planned key may not even be set to its default, or a file would claim what is not there. */
static void test_planned_mechanisms(void **state)
{
    (void)state;
    assert_refused("[moe]\nskip = true\n", "imp.conf:2: moe.skip: its mechanism is not built yet");
    for (size_t i = 0; imp_setting_at(i) != NULL; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        char assignment[512], sentence[160];
        (void)snprintf(assignment, sizeof assignment, "%s=%s", info->key, info->default_value);
        (void)snprintf(sentence, sizeof sentence, "%s: its mechanism is not built yet", info->key);
        ImpSettings *settings = fresh();
        const ImpStatus status = imp_settings_assign(settings, assignment);
        if (info->built) {
            assert_int_equal(status, IMP_OK);
        } else {
            assert_int_equal(status, IMP_ERR_UNSUPPORTED);
            assert_string_equal(imp_last_error(), sentence);
        }
        imp_settings_free(settings);
    }
}

static void test_command_line_spelling(void **state)
{
    (void)state;
    ImpSettings *settings = fresh();
    assert_int_equal(imp_settings_assign(settings, "generation.system=You = \"x\", #1"), IMP_OK);
    assert_string_equal(imp_settings_string(settings, "generation.system"), "You = \"x\", #1");
    assert_int_equal(imp_settings_assign(settings, "generation.system=\"tab\\there\""), IMP_OK);
    assert_string_equal(imp_settings_string(settings, "generation.system"), "tab\there");
    assert_int_equal(imp_settings_set(settings, "sampling.order", "top_k,temperature"), IMP_OK);
    assert_string_equal(imp_settings_item(settings, "sampling.order", 1), "temperature");
    assert_int_equal(imp_settings_set(settings, "generation.stop", "[\"a,b\", '\\n']"), IMP_OK);
    assert_string_equal(imp_settings_item(settings, "generation.stop", 0), "a,b");
    assert_string_equal(imp_settings_item(settings, "generation.stop", 1), "\\n");
    assert_int_equal(imp_settings_append(settings, "generation.stop", "c,d"), IMP_OK);
    assert_string_equal(imp_settings_item(settings, "generation.stop", 2), "c,d");
    assert_int_equal(imp_settings_append(settings, "generation.stop", "e"), IMP_OK);
    assert_int_not_equal(imp_settings_append(settings, "generation.stop", "f"), IMP_OK);
    assert_string_equal(imp_last_error(), "generation.stop has 5 entries, at most 4 are possible");
    assert_string_equal(imp_settings_item(settings, "generation.stop", 3), "e");
    assert_int_equal(imp_settings_set_string(settings, "generation.system", "\"as it is\""), IMP_OK);
    assert_string_equal(imp_settings_string(settings, "generation.system"), "\"as it is\"");
    /* A refused value leaves the old one. */
    assert_int_not_equal(imp_settings_assign(settings, "sampling.top_k=-1"), IMP_OK);
    assert_int_equal(imp_settings_int(settings, "sampling.top_k"), 40);
    imp_settings_free(settings);
}

/* The keys of the established imp.conf are all there, with their defaults; the rows are a sample of each section. */
static void test_table_is_well_formed(void **state)
{
    (void)state;
    const char *section = "";
    size_t section_length = 0;
    for (size_t i = 0; imp_setting_at(i) != NULL; i++) {
        const ImpSettingInfo *info = imp_setting_at(i);
        const char *dot = strchr(info->key, '.');
        assert_non_null(dot);
        assert_ptr_equal(imp_setting_find(info->key), info);
        const size_t length = (size_t)(dot - info->key);
        if (length != section_length || strncmp(info->key, section, length) != 0) {
            for (size_t j = 0; j < i; j++) /* a section is in one piece */
                assert_false(strncmp(imp_setting_at(j)->key, info->key, length + 1) == 0);
            section = info->key;
            section_length = length;
        }
        char name[64] = "";
        (void)snprintf(name, sizeof name, "%.*s", (int)length, info->key);
        assert_non_null(imp_setting_section_help(name));
        const size_t help_length = strlen(info->help);
        assert_true(help_length > 10 && info->help[help_length - 1] == '.');
        char range[512];
        assert_int_equal(imp_setting_range(info, range, sizeof range), IMP_OK);
        if (info->type == IMP_SETTING_CHOICE) assert_true(strlen(range) > 0);
    }
    assert_null(imp_setting_find("sampling"));
    assert_null(imp_setting_section_help("nothing"));
    char tiny[4];
    assert_int_equal(imp_setting_range(imp_setting_find("sampling.order"), tiny, sizeof tiny),
                     IMP_ERR_BUFFER_TOO_SMALL);
}

static void test_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"--top-k", "--top-p", "--temperature", NULL};
    assert_string_equal(imp_nearest_name("--tmeperature", names), "--temperature");
    assert_string_equal(imp_nearest_name("--topk", names), "--top-k");
    assert_string_equal(imp_nearest_name("--top_p", names), "--top-p");
    assert_null(imp_nearest_name("x", names + 3));
    char endless[5000];
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    assert_non_null(imp_nearest_name(endless, names));
}

/* Every key that is set here arrives in its field. */
static void test_apply(void **state)
{
    (void)state;
    static const char *const assignments[] = {
        "runtime.device=cpu",
        "runtime.gpu_layers=3",
        "runtime.max_seq_len=77",
        "kv_cache.min_tokens=5",
        "runtime.prefill_chunk_size=9",
        "kv_cache.dtype=bf16",
        "kv_cache.memory_fraction=0.25",
        "cpu.threads=2",
        "cpu.isa=avx2",
        "cpu.repack=never",
        "cpu.pin_threads=true",
        "runtime.deterministic_gemm=true",
        "generation.max_tokens=11",
        "generation.stop=a,b",
        "sampling.temperature=0.25",
        "sampling.top_k=12",
        "sampling.top_p=0.5",
        "sampling.min_p=0.125",
        "sampling.typical_p=0.75",
        "sampling.repeat_penalty=1.5",
        "sampling.repeat_last_n=13",
        "sampling.frequency_penalty=2",
        "sampling.presence_penalty=3",
        "sampling.dry_multiplier=4",
        "sampling.dry_base=5",
        "sampling.dry_allowed_length=6",
        "sampling.dry_penalty_last_n=7",
        "sampling.dry_breakers=x",
        "sampling.mirostat=2",
        "sampling.mirostat_tau=8",
        "sampling.mirostat_eta=0.5",
        "sampling.seed=14",
        "sampling.order=temperature,min_p,dry",
        "generation.chat_template=phi",
    };
    ImpSettings *settings = fresh();
    for (size_t i = 0; i < sizeof assignments / sizeof assignments[0]; i++)
        assert_int_equal(imp_settings_assign(settings, assignments[i]), IMP_OK);
    ImpConfig config = {.size = sizeof config};
    assert_int_equal(imp_settings_apply_config(settings, &config), IMP_OK);
    assert_string_equal(config.device, "cpu");
    assert_true(config.gpu_layers == 3 && config.max_seq_len == 77 && config.min_kv_tokens == 5);
    assert_true(config.prefill_chunk_size == 9 && config.kv_type == IMP_KV_BF16 && config.kv_memory_fraction == 0.25f);
    assert_true(config.n_threads == 2 && config.cpu_isa == IMP_CPU_AVX2 && config.repack == IMP_REPACK_NEVER);
    assert_true(config.pin_threads && config.deterministic);

    ImpGenerateParams params = {.size = sizeof params};
    assert_int_equal(imp_settings_apply_params(settings, &params), IMP_OK);
    assert_true(params.max_tokens == 11 && params.n_stop == 2);
    assert_string_equal(params.stop[1], "b");
    assert_true(params.temperature == 0.25f && params.top_k == 12 && params.top_p == 0.5f && params.min_p == 0.125f);
    assert_true(params.typical_p == 0.75f && params.repeat_penalty == 1.5f && params.repeat_last_n == 13);
    assert_true(params.frequency_penalty == 2.0f && params.presence_penalty == 3.0f && params.dry_multiplier == 4.0f);
    assert_true(params.dry_base == 5.0f && params.dry_allowed_length == 6 && params.dry_penalty_last_n == 7);
    assert_true(params.n_dry_breakers == 1 && params.mirostat == 2 && params.mirostat_tau == 8.0f);
    assert_true(params.mirostat_eta == 0.5f && params.seed == 14 && params.n_order == 3);
    assert_true(params.order[0] == IMP_SAMPLER_TEMPERATURE && params.order[1] == IMP_SAMPLER_MIN_P &&
                params.order[2] == IMP_SAMPLER_DRY);
    assert_string_equal(params.chat_template, "phi");

    assert_int_equal(imp_settings_assign(settings, "sampling.seed=-1"), IMP_OK);
    assert_int_equal(imp_settings_assign(settings, "generation.chat_template=auto"), IMP_OK);
    assert_int_equal(imp_settings_apply_params(settings, &params), IMP_OK);
    assert_true(params.seed == IMP_SEED_RANDOM && params.chat_template == NULL);
    assert_int_equal(imp_settings_set(settings, "generation.chat_template_file", "/no/such/file"), IMP_OK);
    assert_int_equal(imp_settings_apply_params(settings, &params), IMP_ERR_IO);
    imp_settings_free(settings);
}

/* ---- which file applies ---- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The threads that the file in force asks for: each file here names another number. */
static int64_t threads_loaded(const char *path, const char *file)
{
    ImpSettings *settings = fresh();
    assert_int_equal(imp_settings_load(settings, path), IMP_OK);
    assert_string_equal(imp_settings_file(settings), file);
    const int64_t threads = imp_settings_int(settings, "cpu.threads");
    imp_settings_free(settings);
    return threads;
}

static void assert_load_refused(const char *path, const char *sentence_start)
{
    ImpSettings *settings = fresh();
    assert_int_not_equal(imp_settings_load(settings, path), IMP_OK);
    assert_memory_equal(imp_last_error(), sentence_start, strlen(sentence_start));
    imp_settings_free(settings);
}

static void test_precedence_of_files(void **state)
{
    (void)state;
    char root[] = "/tmp/imp-config-XXXXXX", before[4096], personal[128];
    assert_non_null(getcwd(before, sizeof before));
    assert_non_null(mkdtemp(root));
    assert_int_equal(chdir(root), 0);
    assert_int_equal(setenv("HOME", root, 1), 0);
    assert_int_equal(unsetenv("IMP_CONFIG"), 0);
    assert_int_equal(threads_loaded(NULL, ""), 0);

    assert_int_equal(mkdir(".config", 0700), 0);
    assert_int_equal(mkdir(".config/imp", 0700), 0);
    write_file(".config/imp/imp.conf", "[cpu]\nthreads = 4\n");
    (void)snprintf(personal, sizeof personal, "%s/.config/imp/imp.conf", root);
    assert_int_equal(threads_loaded(NULL, personal), 4);
    write_file("imp.conf", "[cpu]\nthreads = 3\n");
    assert_int_equal(threads_loaded(NULL, "imp.conf"), 3);
    write_file("named.conf", "[cpu]\nthreads = 2\n");
    assert_int_equal(setenv("IMP_CONFIG", "named.conf", 1), 0);
    assert_int_equal(threads_loaded(NULL, "named.conf"), 2);
    write_file("given.conf", "[cpu]\nthreads = 1\n");
    assert_int_equal(threads_loaded("given.conf", "given.conf"), 1);
    assert_int_equal(threads_loaded("/dev/null", "/dev/null"), 0);

    assert_load_refused("missing.conf", "missing.conf");
    assert_load_refused(".config", ".config");
    assert_int_equal(setenv("IMP_CONFIG", "missing.conf", 1), 0);
    assert_load_refused(NULL, "$IMP_CONFIG: missing.conf");
    assert_int_equal(setenv("IMP_CONFIG", "", 1), 0);
    assert_int_equal(threads_loaded(NULL, "imp.conf"), 3);
    assert_int_equal(unlink("imp.conf"), 0);
    assert_int_equal(mkdir("imp.conf", 0700), 0);
    assert_load_refused(NULL, "imp.conf");

    assert_int_equal(chdir(before), 0);
    char command[160];
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_value),
        cmocka_unit_test(test_built_in_values),
        cmocka_unit_test(test_syntax_errors_name_file_and_line),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_said_twice),
        cmocka_unit_test(test_unknown_names_tell_the_nearest),
        cmocka_unit_test(test_types_and_ranges),
        cmocka_unit_test(test_planned_mechanisms),
        cmocka_unit_test(test_command_line_spelling),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_table_is_well_formed),
        cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_precedence_of_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
