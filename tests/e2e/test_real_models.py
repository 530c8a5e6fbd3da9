"""Real models end to end, through imp-cli as a user runs it."""

import json

import pytest
from conftest import answer

QUESTION = "What is the capital of France?"


def test_smollm2_knows_the_capital_of_france(smollm2):
    # In float32 the first token wins by 0.152 to 0.140: coarser arithmetic starts with the other and ends in nonsense.
    text = answer("--model", smollm2, "--temperature", "0", "--prompt", QUESTION)
    assert text.strip() == "The capital of France is Paris."


def test_short_name_finds_the_model_in_the_models_directory(smollm2):
    text = answer("--model", smollm2.stem, "--set", f"models.dir={smollm2.parent}", "--temperature", "0",
                  "--prompt", QUESTION)
    assert text.strip() == "The capital of France is Paris."


def test_gemma3_continues_text(gemma3):
    # A base model without a template: the prompt goes in as it stands. The words are those of transformers in float32.
    text = answer("--model", gemma3, "--raw", "--temperature", "0", "--max-tokens", "12",
                  "--prompt", "Once upon a time, there was a little")
    assert text.strip() == "girl named Lily. She was a very smart girl, and"


@pytest.mark.parametrize("budget", [0, 1, 7])
def test_reasoning_is_closed_at_its_budget(smollm2, tmp_path, budget):
    """The template opens a block, from which the model goes on; 0: there is no limit."""
    template = tmp_path / "thinking.jinja"
    template.write_text("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                        "<|im_start|>assistant\n<think>\n")
    flags = ["--chat-template-file", template, "--prompt", "Why is the sky blue?", "--temperature", "0",
             "--max-tokens", "12", "--json"]
    free = json.loads(answer("--model", smollm2, *flags))["tokens"]
    kept = json.loads(answer("--model", smollm2, *flags, "--set", f"generation.think_budget={budget}"))
    assert kept["tokens"][:budget] == free[:budget]
    assert ("</think>" in kept["text"]) == (budget > 0)
    assert budget > 0 or kept["tokens"] == free


def test_memory_report_counts_re_laid_weights(smollm2):
    def report(mode):
        return json.loads(answer("--model", smollm2, "--device", "cpu", "--mem-report", "--json", "--set", f"cpu.repack={mode}"))

    mapped, laid = report("never"), report("always")
    assert mapped["weight_bytes"] == 0 and mapped["file_bytes"] > 90e6
    assert 0.5 * laid["file_bytes"] < laid["weight_bytes"] <= 1.05 * laid["file_bytes"]
