# bash completion of imp-server, made from the table of flags by `ninja reference`.

_imp_server() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"
    COMPREPLY=()
    case "$before" in
    --model) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"; cd ~/.cache/imp 2>/dev/null && compgen -f -X '!*.gguf' -- "$word"); return ;;
    --host) return ;;
    --port) return ;;
    --api-key) return ;;
    --max-concurrent) return ;;
    --max-waiting) return ;;
    --rate-limit) return ;;
    --log-requests) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --reasoning-format) mapfile -t COMPREPLY < <(compgen -W 'deepseek none' -- "$word"); return ;;
    --think-budget) return ;;
    --prefix-pin-budget-pct) return ;;
    --chat-template) mapfile -t COMPREPLY < <(compgen -W 'auto none chatml llama2 llama3 nemotron gemma deepseek_r1 phi' -- "$word"); return ;;
    --chat-template-file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --max-tokens) return ;;
    --device) mapfile -t COMPREPLY < <(compgen -W 'auto cpu 0 1 2 3 4 5 6 7' -- "$word"); return ;;
    --gpu-layers) return ;;
    --threads) return ;;
    --max-seq-len) return ;;
    --kv-tokens) return ;;
    --min-kv-tokens) return ;;
    --prefill-chunk-size) return ;;
    --config) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --set) compopt -o nospace; mapfile -t COMPREPLY < <(compgen -S = -W 'models.default models.dir runtime.device runtime.gpu_layers runtime.prefill_chunk_size runtime.max_seq_len runtime.max_batch_size runtime.warmup runtime.deterministic runtime.deterministic_gemm runtime.cuda_graphs runtime.no_pdl cuda.tier cpu.threads cpu.isa cpu.repack cpu.pin_threads kv_cache.dtype kv_cache.min_tokens kv_cache.memory_fraction generation.max_tokens generation.stop generation.system generation.chat_template generation.chat_template_file generation.tool_format generation.force_bos generation.think_budget sampling.temperature sampling.top_k sampling.top_p sampling.min_p sampling.typical_p sampling.repeat_penalty sampling.repeat_last_n sampling.frequency_penalty sampling.presence_penalty sampling.dry_multiplier sampling.dry_base sampling.dry_allowed_length sampling.dry_penalty_last_n sampling.dry_breakers sampling.mirostat sampling.mirostat_tau sampling.mirostat_eta sampling.seed sampling.order server.host server.port server.api_key server.max_concurrent server.max_waiting server.rate_limit server.head_seconds server.body_seconds server.log_requests server.reasoning_format server.think_budget server.kv_tokens server.prefix_cache server.prefix_pin_budget_pct bench.prompt_tokens bench.generate_tokens bench.depth bench.reps paths.history diagnostics.log_level diagnostics.debug_template diagnostics.dump_tokens diagnostics.dump_hidden_dir diagnostics.debug_forward ' -- "$word"); return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W '--model --host --port --api-key --max-concurrent --max-waiting --rate-limit --log-requests --reasoning-format --think-budget --prefix-pin-budget-pct --chat-template --chat-template-file --max-tokens --device --gpu-layers --threads --max-seq-len --kv-tokens --min-kv-tokens --prefill-chunk-size --config --set --version --help ' -- "$word")
}
complete -F _imp_server imp-server
