/*
 * flags.c - the table of flags. A flag that stands for a key of imp.conf names it, and has its type, range, default
 * and, unless it says more, its help text from there.
 */
#include "cli.h"

#include <string.h>

#define SETTING(name, letter, group, argument, key)                                                                    \
    {                                                                                                                  \
        name, letter, FLAG_SETTING, group, argument, key, NULL, 0, NULL, false                                         \
    }
#define SETTING_HELP(name, letter, group, argument, key, help)                                                         \
    {                                                                                                                  \
        name, letter, FLAG_SETTING, group, argument, key, NULL, 0, help, false                                         \
    }
#define FIXED(name, group, key, value, help)                                                                           \
    {                                                                                                                  \
        name, 0, FLAG_SETTING, group, NULL, key, value, 0, help, false                                                 \
    }
#define TEXT(name, letter, group, argument, member, help)                                                              \
    {                                                                                                                  \
        name, letter, FLAG_TEXT, group, argument, NULL, NULL, offsetof(Options, member), help, false                   \
    }
#define SWITCH(name, letter, group, member, help)                                                                      \
    {                                                                                                                  \
        name, letter, FLAG_SWITCH, group, NULL, NULL, NULL, offsetof(Options, member), help, false                     \
    }

static const Flag flags[] = {
    SETTING_HELP("--model", 'm', GROUP_MODEL, "MODEL", "models.default",
                 "GGUF file, SafeTensors directory, or short name of a model in the models directory."),
    SETTING("--device", 0, GROUP_MODEL, "NAME", "runtime.device"),
    SETTING("--gpu-layers", 0, GROUP_MODEL, "N", "runtime.gpu_layers"),
    SETTING("--threads", 't', GROUP_MODEL, "N", "cpu.threads"),
    SETTING("--max-seq-len", 0, GROUP_MODEL, "N", "runtime.max_seq_len"),
    SETTING("--min-kv-tokens", 0, GROUP_MODEL, "N", "kv_cache.min_tokens"),
    FIXED("--kv-fp16", GROUP_MODEL, "kv_cache.dtype", "fp16", "Keep keys and values in FP16, whatever imp.conf says."),
    FIXED("--kv-int8", GROUP_MODEL, "kv_cache.dtype", "int8", "Keep keys and values in 8-bit integers: half the memory."),
    FIXED("--kv-fp8", GROUP_MODEL, "kv_cache.dtype", "fp8", "Keep keys and values in FP8."),
    SETTING("--prefill-chunk-size", 0, GROUP_MODEL, "N", "runtime.prefill_chunk_size"),
    TEXT("--config", 0, GROUP_MODEL, "FILE", config,
         "Configuration file, in place of $IMP_CONFIG, ./imp.conf or ~/.config/imp/imp.conf."),
    {"--set", 0, FLAG_SET, GROUP_MODEL, "KEY=VALUE", NULL, NULL, 0,
     "Set any key of imp.conf: --set kv_cache.dtype=bf16. May be repeated; named flags have the last word.", false},

    TEXT("--prompt", 'p', GROUP_PROMPT, "TEXT", prompt,
         "What to answer. @FILE reads a file, @@ stands for an @ at the beginning. Without it standard input is read, "
         "or a "
         "chat begins when that is a terminal."),
    SWITCH("--interactive", 'i', GROUP_PROMPT, interactive, "Chat on the terminal; --prompt is the first message."),
    SETTING("--system", 0, GROUP_PROMPT, "TEXT", "generation.system"),
    SETTING("--chat-template", 0, GROUP_PROMPT, "NAME", "generation.chat_template"),
    SETTING("--chat-template-file", 0, GROUP_PROMPT, "FILE", "generation.chat_template_file"),
    FIXED("--raw", GROUP_PROMPT, "generation.chat_template", "none",
          "No template: continue the prompt as it stands. Short for --chat-template none."),
    TEXT("--ids", 0, GROUP_PROMPT, "FILE", ids,
         "Token ids in place of a prompt, taken as they are: 32-bit little-endian numbers."),

    SETTING("--max-tokens", 'n', GROUP_ANSWER, "N", "generation.max_tokens"),
    {"--stop", 0, FLAG_APPEND, GROUP_ANSWER, "TEXT", "generation.stop", NULL, 0,
     "Text at which the answer ends, without being part of it. Up to four times.", false},
    TEXT("--json-schema", 0, GROUP_ANSWER, "FILE", json_schema,
         "Make the answer JSON that this JSON Schema accepts; a file with {} for any JSON."),
    TEXT("--regex", 0, GROUP_ANSWER, "PATTERN", regex, "Make the whole answer match this regular expression."),
    TEXT("--grammar", 0, GROUP_ANSWER, "FILE", grammar, "Make the answer follow this GBNF grammar, from its rule root."),
    SWITCH("--json", 0, GROUP_ANSWER, json, "Results as JSON: of an answer, --bench, --perplexity and --list-devices."),

    SETTING("--temperature", 0, GROUP_SAMPLING, "T", "sampling.temperature"),
    SETTING("--top-k", 0, GROUP_SAMPLING, "K", "sampling.top_k"),
    SETTING("--top-p", 0, GROUP_SAMPLING, "P", "sampling.top_p"),
    SETTING("--min-p", 0, GROUP_SAMPLING, "P", "sampling.min_p"),
    SETTING("--typical-p", 0, GROUP_SAMPLING, "P", "sampling.typical_p"),
    SETTING("--repeat-penalty", 0, GROUP_SAMPLING, "X", "sampling.repeat_penalty"),
    SETTING("--repeat-last-n", 0, GROUP_SAMPLING, "N", "sampling.repeat_last_n"),
    SETTING("--frequency-penalty", 0, GROUP_SAMPLING, "X", "sampling.frequency_penalty"),
    SETTING("--presence-penalty", 0, GROUP_SAMPLING, "X", "sampling.presence_penalty"),
    SETTING("--dry-multiplier", 0, GROUP_SAMPLING, "X", "sampling.dry_multiplier"),
    SETTING("--dry-base", 0, GROUP_SAMPLING, "X", "sampling.dry_base"),
    SETTING("--dry-allowed-length", 0, GROUP_SAMPLING, "N", "sampling.dry_allowed_length"),
    SETTING("--dry-penalty-last-n", 0, GROUP_SAMPLING, "N", "sampling.dry_penalty_last_n"),
    SETTING("--mirostat", 0, GROUP_SAMPLING, "0|2", "sampling.mirostat"),
    SETTING("--seed", 0, GROUP_SAMPLING, "N", "sampling.seed"),

    SWITCH("--bench", 0, GROUP_BENCH, bench, "Measure prompt and decode speed."),
    SETTING("--bench-pp", 0, GROUP_BENCH, "N", "bench.prompt_tokens"),
    SETTING("--bench-reps", 0, GROUP_BENCH, "N", "bench.reps"),

    SWITCH("--tokenize", 0, GROUP_TEXT, tokenize,
           "Turn --prompt or standard input, taken as it is, into a JSON array of ids."),
    SWITCH("--detokenize", 0, GROUP_TEXT, detokenize, "The reverse: a JSON array of ids becomes text."),
    SWITCH("--jsonl", 0, GROUP_TEXT, jsonl,
           "For both: standard input holds one JSON string (or array) a line, and so does the output."),
    SWITCH("--check-constraint", 0, GROUP_TEXT, check_constraint,
           "Read {\"schema\"|\"regex\"|\"grammar\": …, \"text\": …} lines and tell whether generation could write each text."),
    SWITCH("--add-special", 0, GROUP_TEXT, add_special, "Let --tokenize add BOS and EOS where the model has them."),
    SWITCH("--no-parse-special", 0, GROUP_TEXT, no_parse_special,
           "Read the text of special tokens as plain text (--tokenize, --perplexity)."),
    TEXT("--render-chat", 0, GROUP_TEXT, "FILE", render_chat,
         "Render a chat template with the variables of a JSON object (messages, tools, add_generation_prompt, …). With "
         "--chat-template-file or a built-in --chat-template no model is needed."),

    SETTING_HELP(
        "--dump-hidden", 0, GROUP_INSPECT, "DIR", "diagnostics.dump_hidden_dir",
        "Write the prompt's embedding, residual stream after each layer and final norm as .npy files, then stop, "
        "unless --max-tokens asks for an answer."),
    TEXT("--dump-logits", 0, GROUP_INSPECT, "FILE", dump_logits,
         "Write the logits of every token of the prompt as float32 [tokens][vocabulary], then stop, unless "
         "--max-tokens asks for an answer. Dumps keep keys and values in FP32 unless kv_cache.dtype is set."),
    TEXT("--perplexity", 0, GROUP_INSPECT, "FILE", perplexity,
         "Perplexity of a text, in windows of 512 tokens or --max-seq-len; the second half of each is scored."),

    SWITCH("--mem-report", 0, GROUP_INSPECT, mem_report, "Print what the model takes from its device and what for."),
    SWITCH("--list-devices", 0, GROUP_GENERAL, list_devices, "List what models can run on."),
    SWITCH("--quiet", 'q', GROUP_GENERAL, quiet, "Only errors on standard error."),
    SWITCH("--version", 'V', GROUP_GENERAL, version, "Show the version."),
    SWITCH("--help", 'h', GROUP_GENERAL, help, "Show this help."),
    {"--print-reference", 0, FLAG_TEXT, GROUP_GENERAL, "KIND", NULL, NULL, offsetof(Options, print_reference),
     "Print a generated file of the repository.", true},
};

enum { FLAG_COUNT = sizeof flags / sizeof flags[0] };

const Flag *flag_at(size_t index) { return index < FLAG_COUNT ? &flags[index] : NULL; }

const Flag *flag_find(const char *name, size_t length)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strlen(flags[i].name) == length && memcmp(flags[i].name, name, length) == 0) return &flags[i];
        if (length == 2 && name[0] == '-' && flags[i].letter != '\0' && name[1] == flags[i].letter) return &flags[i];
    }
    return NULL;
}

const char *flag_nearest(const char *name)
{
    const char *names[FLAG_COUNT + 1] = {0};
    size_t count = 0;
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (!flags[i].hidden) names[count++] = flags[i].name;
    return imp_nearest_name(name, names);
}

const char *flag_group_title(FlagGroup group)
{
    static const char *const titles[GROUP_COUNT] = {
        [GROUP_MODEL] = "Model",
        [GROUP_PROMPT] = "Prompt",
        [GROUP_ANSWER] = "Answer",
        [GROUP_SAMPLING] = "Sampling",
        [GROUP_BENCH] = "Benchmark",
        [GROUP_TEXT] = "Tokens and templates",
        [GROUP_INSPECT] = "Looking inside",
        [GROUP_GENERAL] = "General",
    };
    return titles[group];
}

void flag_describe(const Flag *flag, char *out, size_t size)
{
    const ImpSettingInfo *info = flag->setting != NULL ? imp_setting_find(flag->setting) : NULL;
    const char *help = flag->help != NULL ? flag->help : info->help;
    char range[256] = "";
    /* A range worth telling is a list of words; numbers explain themselves, and a wrong one is answered with its range.
     */
    if (info != NULL && info->type == IMP_SETTING_CHOICE && flag->argument != NULL)
        (void)imp_setting_range(info, range, sizeof range);
    const bool has_default = info != NULL && flag->argument != NULL && flag->kind == FLAG_SETTING &&
                             strcmp(info->default_value, "\"\"") != 0;
    const char *opening = has_default || range[0] != '\0' ? " (" : "";
    const char *separator = has_default && range[0] != '\0' ? "; " : "";
    char value[64] = "";
    if (has_default) { /* words without their quotes */
        const bool quoted = info->default_value[0] == '"';
        (void)snprintf(value, sizeof value, "default %.*s", (int)(strlen(info->default_value) - (quoted ? 2 : 0)),
                       info->default_value + (quoted ? 1 : 0));
    }
    (void)snprintf(out, size, "%s%s%s%s%s%s", help, opening, range, separator, value, opening[0] != '\0' ? ")" : "");
}
