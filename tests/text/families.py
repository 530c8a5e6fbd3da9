"""Tokenizers of the shape of real models' (normalizer, pre-tokenizer, post-processor, decoder, added tokens with their
flags), trained on the test text, each as tokenizer.json and as the GGUF file that the model's conversion would write.
"""
import json
import os

import gguf
import numpy as np
from configurations import (CHARSMAP, D, GEMMA_DECODER, LLAMA_DECODER, N, P, PATTERNS, byte_tokens, charsmap, corpus, template)
from tokenizers import AddedToken, Regex, Tokenizer, models, processors, trainers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
GPT2_SPACES = ["  ", "   ", "    ", "        ", "\t\t", "\t\t\t"]


def splits(patterns, behavior="isolated", invert=False):
    return P.Sequence([P.Split(Regex(p), behavior, invert) for p in patterns] + [P.ByteLevel(add_prefix_space=False, use_regex=False)])


def tokens(texts, **flags):
    return [AddedToken(t, special=True, normalized=False, **flags) for t in texts]


def words(texts, **flags):
    return [AddedToken(t, special=False, normalized=False, **flags) for t in texts]


CHATML = tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
QWEN = CHATML + words(["<tool_call>", "</tool_call>", "<think>", "</think>"])
LLAMA3 = tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
DEEPSEEK = tokens(["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]) + words(["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"])
HARMONY = tokens(["<|startoftext|>", "<|endoftext|>", "<|return|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>"])
MISTRAL = tokens(["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"])
PHI3 = tokens(["<unk>", "<s>"]) + words(["</s>"], rstrip=True) + tokens(["<|endoftext|>"]) + tokens(
    ["<|assistant|>", "<|system|>", "<|end|>", "<|user|>"], rstrip=True)
PHI4 = tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>"], lstrip=True, rstrip=True)
PHI4_MINI = tokens(["<|endoftext|>", "<|endofprompt|>"]) + tokens(["<|assistant|>", "<|end|>", "<|user|>", "<|system|>"], rstrip=True)
GEMMA = tokens(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]) + words(["\n\n", "\n\n\n", "<table>"]) + tokens(["<start_of_turn>", "<end_of_turn>"])
SMOLLM = tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>"])
COHERE = tokens(["<PAD>", "<UNK>", "<BOS_TOKEN>", "<EOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"])
KIMI = tokens(["[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_middle|>"])
GLM = tokens(["<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"]) + words(["<think>", "</think>"])
ROBERTA = tokens(["<s>", "<pad>", "</s>", "<unk>"]) + tokens(["<mask>"], lstrip=True)
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class Family:
    """A tokenizer, the metadata that its GGUF file has beside the vocabulary, and its scores where merges are not stored."""

    def __init__(self, tokenizer, model, pre=None, scores=None, bos=None, eos=None, **fields):
        self.tokenizer, self.model, self.pre, self.scores, self.fields = tokenizer, model, pre, scores, fields
        self.bos, self.eos = bos, eos


def bytes_family(pre_name, pre, added, normalizer=None, ignore_merges=False, single="$A", architecture="llama", vocab_size=3000):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, pre, D.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens(added)
    named = [t for t in single.split() if t != "$A"]
    template(tokenizer, single, named)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), tokenizer.post_processor])
    before, _, after = single.partition("$A")
    return Family(tokenizer, "gpt2", pre_name, bos=before.strip() or None, eos=after.strip() or None, architecture=architecture)


def scored_merges(vocab, scores, usable):
    """What the conversion of a SentencePiece model makes of scores: every way to part a piece in two, the best first."""
    merges = []
    for token in usable:
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        pairs = [p for p in pairs if p[0] in usable and p[1] in usable]
        merges += [(a, b, scores[vocab[token]]) for a, b in sorted(pairs, key=lambda p: (vocab[p[0]], vocab[p[1]]))]
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [(a, b) for a, b, _ in merges]


def marked_family(added, prefix, merges_stored=False, model="llama", pre="default", architecture="llama", single="$A", unknown="<unk>"):
    """SentencePiece's BPE: learnt pieces with falling scores, bytes, the added tokens among the first ids."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = P.Metaspace(prepend_scheme="always")
    learner.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=2500, limit_alphabet=400, show_progress=False))
    vocab, scores = {}, []
    for token in added:
        vocab[token.content] = len(vocab)
        scores.append(0.0)
    for token in byte_tokens():
        vocab[token] = len(vocab)
        scores.append(0.0)
    learnt = [t for t, _ in sorted(learner.get_vocab().items(), key=lambda item: item[1]) if t not in vocab]
    for token in sorted(learnt, key=len, reverse=False):
        vocab[token] = len(vocab)
        scores.append(-1.0 * len(vocab))
    usable = {t: None for t in learnt}
    merges = scored_merges(vocab, scores, usable)
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token=unknown))
    if prefix:
        tokenizer.normalizer, tokenizer.decoder = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), LLAMA_DECODER()
    else:
        tokenizer.normalizer, tokenizer.decoder = N.Replace(" ", "▁"), GEMMA_DECODER()
        tokenizer.pre_tokenizer = P.Split(" ", "merged_with_previous")
    tokenizer.add_tokens(added)
    template(tokenizer, single, [t for t in single.split() if t != "$A"])
    before = single.partition("$A")[0].strip() or None
    return Family(tokenizer, model, pre, None if merges_stored else scores, bos=before, architecture=architecture,
                  unknown=vocab[unknown], space_prefix=prefix)


def unigram_family(added, single, architecture="t5"):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = N.Precompiled(charsmap(CHARSMAP))
    tokenizer.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Metaspace()])
    tokenizer.decoder = D.Metaspace()
    contents = [t.content for t in added]
    trainer = trainers.UnigramTrainer(vocab_size=1200, unk_token="<unk>", special_tokens=contents, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    data = {**json.loads(tokenizer.to_str()), "added_tokens": []}
    # SentencePiece's scores are single precision, in tokenizer.json as in GGUF.
    data["model"]["vocab"] = [[token, float(np.float32(score))] for token, score in data["model"]["vocab"]]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_tokens(added)
    template(tokenizer, single, [t for t in single.split() if t != "$A"])
    before, _, after = single.partition("$A")
    scores = [score for _, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    return Family(tokenizer, "t5", "default", scores, bos=before.strip() or None, eos=after.strip() or None, architecture=architecture,
                  unknown=tokenizer.token_to_id("<unk>"), charsmap=charsmap(CHARSMAP), extra_whitespace=True)


def words_family():
    """Words of plain characters, as jina-embeddings-v2-base-zh has."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = N.Lowercase(), P.WhitespaceSplit()
    tokenizer.decoder = D.Fuse()
    trainer = trainers.BpeTrainer(vocab_size=3000, limit_alphabet=500, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    template(tokenizer, "<s> $A </s>", ["<s>", "</s>"])
    return Family(tokenizer, "whitespace", "whitespace", bos="<s>", eos="</s>", architecture="jina-bert-v2", unknown=tokenizer.token_to_id("<unk>"), lowercase=True)


def bert_family(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = N.BertNormalizer(lowercase=lowercase), P.BertPreTokenizer()
    tokenizer.decoder = D.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=BERT, limit_alphabet=600, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    template(tokenizer, "[CLS] $A [SEP]", ["[CLS]", "[SEP]"])
    return Family(tokenizer, "bert", "jina-v2-en", architecture="bert", lowercase=lowercase)


def digits_first(individual=True):
    return P.Sequence([P.Digits(individual), P.ByteLevel(add_prefix_space=False)])


FAMILIES = {
    "family-llama2": lambda: marked_family(tokens(["<unk>", "<s>", "</s>"]), True, single="<s> $A"),
    "family-llama3": lambda: bytes_family("llama-bpe", splits(PATTERNS["llama3"]), LLAMA3, ignore_merges=True, single="<|begin_of_text|> $A"),
    "family-llama4": lambda: bytes_family("llama4", splits(PATTERNS["o200k"]), LLAMA3, single="<|begin_of_text|> $A"),
    "family-qwen2": lambda: bytes_family("qwen2", splits(PATTERNS["qwen2"]), QWEN, N.NFC(), architecture="qwen2"),
    "family-qwen3.5": lambda: bytes_family("qwen35", splits(PATTERNS["qwen35"]), QWEN, N.NFC(), architecture="qwen35"),
    "family-deepseek-llm": lambda: bytes_family("deepseek-llm", P.Sequence([P.Split(Regex(p), "isolated") for p in PATTERNS["deepseek_llm"][:5]]
                                                + [P.Digits(False), P.ByteLevel(add_prefix_space=False, use_regex=False)]), DEEPSEEK),
    "family-deepseek-coder": lambda: bytes_family("deepseek-coder", P.Sequence([P.Split(Regex(p), "isolated") for p in PATTERNS["deepseek_coder"][:4]]
                                                  + [P.Digits(True), P.ByteLevel(add_prefix_space=False, use_regex=False)]), DEEPSEEK),
    "family-deepseek-v3": lambda: bytes_family("deepseek-v3", splits(PATTERNS["deepseek3"]), DEEPSEEK, N.Sequence([]), architecture="deepseek2",
                                               single="<｜begin▁of▁sentence｜> $A"),
    "family-deepseek-r1-qwen": lambda: bytes_family("deepseek-r1-qwen", splits(PATTERNS["qwen2"]), DEEPSEEK, N.NFC(), architecture="qwen2"),
    "family-gemma": lambda: marked_family(GEMMA, False, single="<bos> $A", architecture="gemma3"),
    "family-gemma4": lambda: marked_family(GEMMA, False, True, "gemma4", "gemma4", "gemma4", "<bos> $A"),
    "family-smollm": lambda: bytes_family("smollm", digits_first(), SMOLLM),
    "family-gpt2": lambda: bytes_family("gpt-2", P.ByteLevel(add_prefix_space=False), tokens(["<|endoftext|>"]), architecture="gpt2"),
    "family-gpt-oss": lambda: bytes_family("gpt-4o", splits(PATTERNS["o200k"]), HARMONY, architecture="gpt-oss"),
    "family-phi2": lambda: bytes_family("phi-2", P.ByteLevel(add_prefix_space=False), tokens(["<|endoftext|>"]) + words(GPT2_SPACES), architecture="phi2"),
    "family-phi3": lambda: marked_family(PHI3, True, architecture="phi3", single="<s> $A"),
    "family-phi4": lambda: bytes_family("dbrx", splits(PATTERNS["llama3"], "removed", True), PHI4, architecture="phi3"),
    "family-phi4-mini": lambda: bytes_family("gpt-4o", splits(PATTERNS["o200k"]), PHI4_MINI, architecture="phi3"),
    "family-mistral": lambda: marked_family(MISTRAL, True, single="<s> $A"),
    "family-tekken": lambda: bytes_family("tekken", splits(PATTERNS["tekken"]), MISTRAL, ignore_merges=True, single="<s> $A"),
    "family-command-r": lambda: bytes_family("command-r", digits_first(), COHERE, N.NFC(), architecture="command-r", single="<BOS_TOKEN> $A"),
    "family-falcon": lambda: bytes_family("falcon", P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(False),
                                          P.Split(Regex("[0-9][0-9][0-9]"), "isolated")]), tokens([">>TITLE<<", "<|endoftext|>"]), architecture="falcon"),
    "family-falcon3": lambda: bytes_family("falcon3", splits(PATTERNS["llama3"]), CHATML, ignore_merges=True),
    "family-starcoder": lambda: bytes_family("starcoder", digits_first(), tokens(["<|endoftext|>", "<fim_prefix>"]), architecture="starcoder2"),
    "family-mpt": lambda: bytes_family("mpt", P.ByteLevel(add_prefix_space=False), CHATML + words(GPT2_SPACES), N.NFC(), architecture="mpt"),
    "family-nemotron-h": lambda: bytes_family("pixtral", splits(PATTERNS["llama3"]), MISTRAL, ignore_merges=True, single="<s> $A", architecture="nemotron_h"),
    "family-lfm2": lambda: bytes_family("lfm2", splits(PATTERNS["llama3"]), HARMONY, ignore_merges=True, single="<|startoftext|> $A", architecture="lfm2"),
    "family-glm4": lambda: bytes_family("glm4", splits(PATTERNS["llama3"]), GLM, ignore_merges=True, architecture="glm4", single="[gMASK] $A"),
    "family-afmoe": lambda: bytes_family("afmoe", splits(PATTERNS["afmoe"]), CHATML, architecture="afmoe"),
    "family-words": words_family,
    "family-kimi-k2": lambda: bytes_family("kimi-k2", splits(PATTERNS["kimi"]), KIMI, architecture="deepseek2"),
    "family-minimax": lambda: bytes_family("minimax-m2", splits(PATTERNS["o200k"]), CHATML, architecture="minimax-m2"),
    "family-hunyuan": lambda: bytes_family("hunyuan-dense", splits(PATTERNS["deepseek3"]), CHATML, architecture="hunyuan-dense"),
    "family-bloom": lambda: bytes_family("bloom", splits(PATTERNS["bloom"]), MISTRAL, architecture="bloom"),
    "family-roberta": lambda: bytes_family("roberta-bpe", P.ByteLevel(add_prefix_space=False), ROBERTA, single="<s> $A </s>", architecture="bert"),
    "family-modern-bert": lambda: bytes_family("modern-bert", P.ByteLevel(add_prefix_space=False), tokens(["[CLS]", "[SEP]"]) + tokens(["[MASK]"], lstrip=True),
                                               N.NFC(), single="[CLS] $A [SEP]", architecture="modern-bert"),
    "family-t5": lambda: unigram_family(tokens(["<pad>", "</s>", "<unk>", "<extra_id_0>"]), "$A </s>"),
    "family-xlm-roberta": lambda: unigram_family(ROBERTA, "<s> $A </s>", "bert"),
    "family-bert": lambda: bert_family(True),
    "family-bert-cased": lambda: bert_family(False),
}



def phantom(token):
    """How a conversion writes a WordPiece token: words are marked, not their continuations."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else "▁" + token


def token_type(family, token, added):
    if token in added:
        flags = added[token]
        return UNKNOWN if family.model == "llama" and token == "<unk>" else CONTROL if flags["special"] else USER_DEFINED
    return BYTE if family.model in ("llama", "gemma4") and token in byte_tokens() else NORMAL


def write_gguf(family, path):
    """The vocabulary-only GGUF file of a family."""
    data = json.loads(family.tokenizer.to_str())
    added = {t["content"]: t for t in data["added_tokens"]}
    vocab = sorted(family.tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    assert [i for _, i in vocab] == list(range(len(vocab)))
    texts = [t for t, _ in vocab]
    types = [token_type(family, t, added) for t in texts]
    # The conversion writes the marks of user-defined tokens as spaces.
    texts = [t.replace("▁", " ") if kind == USER_DEFINED and family.model == "llama" else t for t, kind in zip(texts, types)]
    writer = gguf.GGUFWriter(path, family.fields["architecture"])
    writer.add_tokenizer_model(family.model)
    writer.add_tokenizer_pre(family.pre)
    writer.add_token_list([phantom(t) for t in texts] if family.model == "bert" else texts)
    writer.add_token_types(types)
    if family.scores is not None:
        writer.add_token_scores(family.scores + [-1000.0] * (len(texts) - len(family.scores)))
    elif family.model != "bert" and family.pre != "kimi-k2":
        writer.add_token_merges([" ".join(m) for m in data["model"]["merges"]])
    for name, add in (("bos", writer.add_bos_token_id), ("eos", writer.add_eos_token_id)):
        token = getattr(family, name)
        if token is not None:
            add(family.tokenizer.token_to_id(token))
    if family.model in ("gpt2", "t5", "whitespace") and family.pre not in ("roberta-bpe", "gemma4"):
        writer.add_add_bos_token(family.bos is not None)
        writer.add_add_eos_token(family.eos is not None)
    if family.pre == "roberta-bpe":
        writer.add_sep_token_id(family.tokenizer.token_to_id("</s>"))
        writer.add_add_bos_token(True)
    if "unknown" in family.fields:
        writer.add_unk_token_id(family.fields["unknown"])
    if "space_prefix" in family.fields:
        writer.add_add_space_prefix(family.fields["space_prefix"])
    if "charsmap" in family.fields:
        writer.add_precompiled_charsmap(family.fields["charsmap"])
        writer.add_remove_extra_whitespaces(family.fields["extra_whitespace"])
    if "lowercase" in family.fields and family.fields["lowercase"] == (family.model == "whitespace"):
        writer.add_bool("tokenizer.ggml.normalizer.lowercase", family.fields["lowercase"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def build(name, folder):
    """Writes tokenizer.json and vocabulary.gguf of a family into a folder."""
    family = FAMILIES[name]()
    family.tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write_gguf(family, os.path.join(folder, "vocabulary.gguf"))
