#!/usr/bin/env python3
"""Writes tests/unit/runtime/sampler_goldens.json: what a plain model of each sampling paper draws.

Every case is a set of parameters, a recipe for logits (see `logits_of`, repeated in test_sampler.c) and for tokens that were
accepted before, and the tokens that follow from them. Nothing here is fast or shared with imp: lists, sorts, float64.

usage: make_sampler_goldens.py [OUTPUT]
"""
import json
import math
import os
import sys

MASK32 = 0xFFFFFFFF
DEFAULT_ORDER = ["penalties", "dry", "top_k", "typical_p", "top_p", "min_p", "temperature"]
DEFAULTS = dict(temperature=0.7, top_k=40, top_p=0.9, min_p=0.0, typical_p=1.0, repeat_penalty=1.0, repeat_last_n=64,
                frequency_penalty=0.0, presence_penalty=0.0, dry_multiplier=0.0, dry_base=1.75, dry_allowed_length=2,
                dry_penalty_last_n=-1, mirostat=0, mirostat_tau=5.0, mirostat_eta=0.1, seed=1, order=DEFAULT_ORDER)


def hash32(value):
    """Integer finalizer of MurmurHash3."""
    value &= MASK32
    value ^= value >> 16
    value = value * 0x85EBCA6B & MASK32
    value ^= value >> 13
    value = value * 0xC2B2AE35 & MASK32
    return value ^ value >> 16


def logits_of(n_vocab, salt, bits, spread):
    """`bits` of a hash as a number from -spread / 2 to spread / 2: few bits make ties. Exact in float32."""
    return [(hash32(i * 2654435761 + salt) >> (32 - bits)) * spread / (1 << bits) - spread / 2 for i in range(n_vocab)]


def history_of(n_vocab, salt, count, distinct):
    """Tokens out of a few, so that they repeat."""
    return [hash32(salt * 7919 + i) % distinct * 31 % n_vocab for i in range(count)]


def philox(seed, position):
    """Salmon et al. 2011: Philox 4x32-10; 53 bits of the first two words as a number in [0, 1).

    The authors' known answer for zeros is 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
    """
    c = [position & MASK32, position >> 32 & MASK32, 0, 0]
    k = [seed & MASK32, seed >> 32 & MASK32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & MASK32, a >> 32 ^ c[3] ^ k[1], a & MASK32]
        k = [(k[0] + 0x9E3779B9) & MASK32, (k[1] + 0xBB67AE85) & MASK32]
    return ((c[0] << 32 | c[1]) >> 11) * 2.0 ** -53


def softmax(candidates):
    top = max(logit for _, logit in candidates)
    weights = [math.exp(logit - top) for _, logit in candidates]
    total = sum(weights)
    return [w / total for w in weights]


def descending(candidates):
    return sorted(candidates, key=lambda c: (-c[1], c[0]))


def penalties(p, candidates, accepted):
    n = p["repeat_last_n"]
    recent = accepted if n < 0 else accepted[max(len(accepted) - n, 0):] if n else []
    out = []
    for token, logit in candidates:
        count = recent.count(token)
        if count:
            logit = logit / p["repeat_penalty"] if logit > 0 else logit * p["repeat_penalty"]
            logit -= count * p["frequency_penalty"] + p["presence_penalty"]
        out.append((token, logit))
    return out


def dry(p, candidates, accepted):
    """p-e-w's definition, repetition by repetition."""
    n = p["dry_penalty_last_n"]
    text = accepted if n < 0 else accepted[max(len(accepted) - n, 0):] if n else []
    single = set(p.get("breaker_tokens", []))
    sequences = p.get("breaker_sequences", [])
    if not p["dry_multiplier"] or not text:
        return candidates

    def ends_breaker(end):
        """Whether the token before `end` ends a breaker."""
        return text[end - 1] in single or any(text[max(end - len(s), 0):end] == s for s in sequences)

    longest = {}
    for i in range(1, len(text)):  # text[i] would be repeated
        length = 0
        while length < i and text[i - 1 - length] == text[len(text) - 1 - length]:
            if ends_breaker(len(text) - length):
                break
            length += 1
        if text[i] not in single:
            longest[text[i]] = max(longest.get(text[i], 0), length)
    out = []
    for token, logit in candidates:
        length = longest.get(token, 0)
        if length >= 1 and length >= p["dry_allowed_length"]:
            logit -= p["dry_multiplier"] * p["dry_base"] ** (length - p["dry_allowed_length"])
        out.append((token, logit))
    return out


def fewest(pairs, wanted):
    """The shortest prefix of (item, probability) with at least `wanted`."""
    kept, mass = [], 0.0
    for item, probability in pairs:
        kept.append(item)
        mass += probability
        if mass >= wanted:
            break
    return kept


def truncate(link, p, candidates):
    """None: nothing was cut."""
    if link == "top_k":
        if p["top_k"] == 0 or p["top_k"] >= len(candidates):
            return None
        return descending(candidates)[: p["top_k"]]
    if link == "top_p":  # Holtzman et al. 2020
        if p["top_p"] >= 1:
            return None
        ordered = descending(candidates)
        return fewest(list(zip(ordered, softmax(ordered))), p["top_p"])
    if link == "typical_p":  # Meister et al. 2023
        if p["typical_p"] >= 1:
            return None
        probabilities = softmax(candidates)
        entropy = -sum(q * math.log(q) for q in probabilities if q > 0)
        ordered = sorted(zip(candidates, probabilities),
                         key=lambda c: (abs(-math.log(c[1]) - entropy), -c[0][1], c[0][0]))
        return descending(fewest(ordered, p["typical_p"]))
    if link == "min_p":  # Nguyen et al. 2024
        if p["min_p"] == 0:
            return None
        probabilities = softmax(candidates)
        bound = p["min_p"] * max(probabilities)
        return descending([c for c, q in zip(candidates, probabilities) if q >= bound])
    raise ValueError(link)


def distribution(p, logits, accepted, allowed=None):
    """The candidates that are left, in the order in which their probabilities are added up."""
    candidates = [(t, l + p.get("logit_bias", {}).get(t, 0.0)) for t, l in enumerate(logits)
                  if allowed is None or t in allowed]
    candidates = [c for c in candidates if c[1] > -math.inf]
    cut = False
    for link in p["order"]:
        greedy = p["temperature"] == 0
        if link == "penalties":
            candidates = penalties(p, candidates, accepted)
        elif link == "dry":
            candidates = dry(p, candidates, accepted)
        elif greedy:
            continue
        elif link == "temperature":
            top = max(logit for _, logit in candidates)
            candidates = [(t, (l - top) / p["temperature"]) for t, l in candidates]
        elif not p["mirostat"]:
            shorter = truncate(link, p, candidates)
            if shorter is not None:
                candidates, cut = shorter, True
        if cut:
            candidates = descending(candidates)
    return candidates


def pick(candidates, u):
    total = 0.0
    for (token, _), probability in zip(candidates, softmax(candidates)):
        total += probability
        if total > u:
            return token
    return token


def draw(p, state, logits, accepted, position, allowed=None):
    candidates = distribution(p, logits, accepted, allowed)
    if p["temperature"] == 0:
        return descending(candidates)[0][0]
    u = philox(p["seed"], position)
    if not p["mirostat"]:
        return pick(candidates, u)
    # Basu et al. 2021: cut what surprises more than mu, draw, move mu by the error of the surprise.
    mu = state.setdefault("mu", 2 * p["mirostat_tau"])
    surprise = {t: -math.log2(q) for (t, _), q in zip(candidates, softmax(candidates))}
    ordered = descending(candidates)
    token = pick([c for c in ordered if surprise[c[0]] <= mu] or ordered[:1], u)
    state["mu"] = mu - p["mirostat_eta"] * (surprise[token] - p["mirostat_tau"])
    return token


def run(name, n_vocab, draws, bits=20, spread=16, history=(0, 1), accept=False, allowed_step=0, **changes):
    p = dict(DEFAULTS, **changes)
    accepted = history_of(n_vocab, len(name), *history)
    allowed = set(range(0, n_vocab, allowed_step)) if allowed_step else None
    state, tokens = {}, []
    for position in range(draws):
        logits = logits_of(n_vocab, position * 977 + len(name), bits, spread)
        token = draw(p, state, logits, accepted, position, allowed)
        tokens.append(token)
        if accept:
            accepted.append(token)
    case = dict(name=name, n_vocab=n_vocab, bits=bits, spread=spread, history=list(history), accept=accept,
                allowed_step=allowed_step, changes=changes, tokens=tokens)
    if "logit_bias" in changes:  # JSON has no infinity
        case["changes"] = dict(changes, logit_bias=[[t, b if b > -math.inf else None]
                                                    for t, b in changes["logit_bias"].items()])
    if "seed" in changes:  # nor integers of 64 bits
        case["changes"] = dict(changes, seed=str(changes["seed"]))
    return case


def main():
    assert philox(0, 0) == ((0x6627E8D5 << 32 | 0xE169C58D) >> 11) * 2.0**-53
    plain = dict(temperature=1.0, top_k=0, top_p=1.0)
    cases = [
        run("default", 1000, 60),
        run("default, large vocabulary", 40013, 8),
        run("greedy", 1000, 20, temperature=0.0),
        run("greedy with ties", 1000, 20, bits=4, temperature=0.0),
        run("whole vocabulary", 1000, 60, **plain),
        run("whole vocabulary, one token", 1, 3, **plain),
        run("temperature high", 1000, 60, top_k=0, top_p=1.0, temperature=1.7),
        run("temperature low", 1000, 30, top_k=0, top_p=1.0, temperature=0.05),
        run("top-k", 1000, 60, **dict(plain, top_k=7)),
        run("top-k of one", 1000, 10, **dict(plain, top_k=1)),
        run("top-k with ties", 1000, 60, bits=3, spread=4, **dict(plain, top_k=11)),
        run("top-k large", 5000, 20, **dict(plain, top_k=3000, temperature=2.0)),
        run("top-k beyond the vocabulary", 50, 30, **dict(plain, top_k=51)),
        run("top-p", 1000, 60, **dict(plain, top_p=0.8)),
        run("top-p narrow", 1000, 20, **dict(plain, top_p=0.05)),
        run("top-p of nothing", 1000, 10, **dict(plain, top_p=0.0)),
        run("top-p flat", 1000, 60, spread=0.25, **dict(plain, top_p=0.5)),
        run("top-p with ties", 1000, 60, bits=3, spread=4, **dict(plain, top_p=0.4)),
        run("min-p", 1000, 60, **dict(plain, min_p=0.1)),
        run("min-p of one", 1000, 20, **dict(plain, min_p=1.0)),
        run("typical-p", 1000, 60, **dict(plain, typical_p=0.5)),
        run("typical-p narrow", 1000, 20, **dict(plain, typical_p=0.01)),
        run("typical-p of nothing", 1000, 20, **dict(plain, typical_p=0.0)),
        run("typical-p after top-k", 1000, 60, **dict(plain, top_k=100, typical_p=0.6)),
        run("all truncations", 1000, 60, top_k=60, typical_p=0.9, top_p=0.85, min_p=0.02, temperature=1.2),
        run("temperature first", 1000, 60, temperature=1.5, top_k=100, top_p=0.7,
            order=["temperature", "min_p", "top_p", "typical_p", "top_k"]),
        run("no links", 1000, 30, temperature=0.5, order=[]),
        run("repeat penalty", 1000, 60, history=(100, 40), accept=True, repeat_penalty=1.5, spread=6),
        run("repeat penalty below one", 1000, 30, history=(100, 40), accept=True, repeat_penalty=0.5, spread=6),
        run("repeat penalty, all tokens", 100, 120, history=(10, 10), accept=True, repeat_penalty=1.3,
            repeat_last_n=-1, spread=4),
        run("repeat penalty, short memory", 100, 120, history=(10, 10), accept=True, repeat_penalty=3.0,
            repeat_last_n=3, spread=2),
        run("repeat penalty, no memory", 100, 20, history=(10, 10), accept=True, repeat_penalty=3.0, repeat_last_n=0),
        run("frequency penalty", 100, 120, history=(30, 9), accept=True, frequency_penalty=0.6, spread=4),
        run("presence penalty", 100, 120, history=(30, 9), accept=True, presence_penalty=1.1, spread=4),
        run("presence reward, greedy", 200, 60, history=(30, 9), accept=True, presence_penalty=-2.5, spread=8,
            temperature=0.0),
        run("penalties after the cut", 100, 120, history=(30, 9), accept=True, presence_penalty=1.1, repeat_penalty=1.2,
            spread=4, order=["top_k", "penalties", "top_p", "temperature"]),
        run("DRY", 12, 150, history=(60, 4), accept=True, dry_multiplier=0.8, spread=2),
        run("DRY, greedy", 12, 150, history=(60, 4), accept=True, dry_multiplier=1.5, spread=2, temperature=0.0),
        run("DRY, short range", 12, 150, history=(60, 4), accept=True, dry_multiplier=0.8, dry_penalty_last_n=20,
            dry_allowed_length=1, spread=2),
        run("DRY, breakers", 12, 150, history=(60, 4), accept=True, dry_multiplier=0.8, dry_allowed_length=1, spread=2,
            breaker_tokens=[3, 7]),
        run("DRY, breaker of two tokens", 12, 150, history=(60, 4), accept=True, dry_multiplier=2.0,
            dry_allowed_length=1, spread=1, breaker_sequences=[[3, 7], [0, 0], [1, 2, 1]]),
        run("DRY after the cut", 12, 150, history=(60, 4), accept=True, dry_multiplier=0.8, spread=2,
            order=["top_k", "dry", "temperature"], top_k=6),
        run("mirostat", 2000, 200, accept=True, mirostat=2, temperature=1.0, spread=12),
        run("mirostat, low", 2000, 100, accept=True, mirostat=2, mirostat_tau=1.0, mirostat_eta=0.5, temperature=0.9),
        run("mirostat ignores truncations", 500, 60, accept=True, mirostat=2, top_k=1, top_p=0.1, min_p=0.9,
            typical_p=0.1),
        run("logit bias", 50, 60, logit_bias={3: 12.0, 4: -math.inf, 49: 9.5}, **plain),
        run("logit bias, greedy", 50, 10, logit_bias={7: 30.0}, temperature=0.0),
        run("allowed", 1000, 60, allowed_step=7),
        run("allowed, whole vocabulary", 1000, 60, allowed_step=3, **plain),
        run("allowed, greedy", 1000, 10, allowed_step=33, temperature=0.0),
        run("large seed", 1000, 40, **dict(plain, seed=2**64 - 2)),
    ]
    output = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit", "runtime",
                                                              "sampler_goldens.json")
    with open(output, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
