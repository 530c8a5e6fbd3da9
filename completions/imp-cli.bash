# bash completion of imp-cli, made from the table of flags by `ninja reference`.

_imp_cli() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"
    COMPREPLY=()
    case "$before" in
    --model|-m) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"; cd ~/.cache/imp 2>/dev/null && compgen -f -X '!*.gguf' -- "$word"); return ;;
    --device) mapfile -t COMPREPLY < <(compgen -W 'auto cpu 0 1 2 3 4 5 6 7' -- "$word"); return ;;
    --gpu-layers) return ;;
    --threads|-t) return ;;
    --max-seq-len) return ;;
    --min-kv-tokens) return ;;
    --prefill-chunk-size) return ;;
    --config) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --set) compopt -o nospace; mapfile -t COMPREPLY < <(compgen -S = -W 'models.default models.dir runtime.device runtime.gpu_layers runtime.prefill_chunk_size runtime.max_seq_len runtime.max_batch_size runtime.warmup runtime.deterministic runtime.deterministic_gemm runtime.cuda_graphs runtime.no_pdl cuda.tier cpu.threads cpu.isa cpu.repack cpu.pin_threads kv_cache.dtype kv_cache.min_tokens kv_cache.memory_fraction generation.max_tokens generation.stop generation.system generation.chat_template generation.chat_template_file generation.tool_format generation.force_bos generation.think_budget sampling.temperature sampling.top_k sampling.top_p sampling.min_p sampling.typical_p sampling.repeat_penalty sampling.repeat_last_n sampling.frequency_penalty sampling.presence_penalty sampling.dry_multiplier sampling.dry_base sampling.dry_allowed_length sampling.dry_penalty_last_n sampling.dry_breakers sampling.mirostat sampling.mirostat_tau sampling.mirostat_eta sampling.seed sampling.order server.host server.port server.api_key server.max_concurrent server.max_waiting server.rate_limit server.head_seconds server.body_seconds server.log_requests server.reasoning_format server.think_budget server.kv_tokens server.prefix_cache server.prefix_pin_budget_pct bench.prompt_tokens bench.generate_tokens bench.depth bench.reps paths.history diagnostics.log_level diagnostics.debug_template diagnostics.dump_tokens diagnostics.dump_hidden_dir diagnostics.debug_forward ' -- "$word"); return ;;
    --prompt|-p) return ;;
    --system) return ;;
    --chat-template) mapfile -t COMPREPLY < <(compgen -W 'auto none chatml llama2 llama3 nemotron gemma deepseek_r1 phi' -- "$word"); return ;;
    --chat-template-file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --ids) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --max-tokens|-n) return ;;
    --stop) return ;;
    --json-schema) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --regex) return ;;
    --grammar) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --temperature) return ;;
    --top-k) return ;;
    --top-p) return ;;
    --min-p) return ;;
    --typical-p) return ;;
    --repeat-penalty) return ;;
    --repeat-last-n) return ;;
    --frequency-penalty) return ;;
    --presence-penalty) return ;;
    --dry-multiplier) return ;;
    --dry-base) return ;;
    --dry-allowed-length) return ;;
    --dry-penalty-last-n) return ;;
    --mirostat) mapfile -t COMPREPLY < <(compgen -W '0 2' -- "$word"); return ;;
    --seed) return ;;
    --bench-pp) return ;;
    --bench-reps) return ;;
    --render-chat) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --dump-hidden) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    --dump-logits) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --perplexity) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W '--model --device --gpu-layers --threads --max-seq-len --min-kv-tokens --kv-fp16 --kv-int8 --kv-fp8 --prefill-chunk-size --config --set --prompt --interactive --system --chat-template --chat-template-file --raw --ids --max-tokens --stop --json-schema --regex --grammar --json --temperature --top-k --top-p --min-p --typical-p --repeat-penalty --repeat-last-n --frequency-penalty --presence-penalty --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --mirostat --seed --bench --bench-pp --bench-reps --tokenize --detokenize --jsonl --check-constraint --add-special --no-parse-special --render-chat --dump-hidden --dump-logits --perplexity --mem-report --list-devices --quiet --version --help ' -- "$word")
}
complete -F _imp_cli imp-cli
