#!/usr/bin/env python3
"""Fills in the numbers of tests/ops/*.ir: `random` inputs and the EXPECT values.

Every operator is written here a second time, in float64, from the formulas of the architectures'
papers, so that the numbers owe nothing to the code they test. Usage: expect.py FILE.ir...
Write `// INPUT %x: random` and `// EXPECT %y: ?`; existing inputs are kept, EXPECT is recomputed.
"""
import itertools
import math
import random
import re
import struct
import sys
import zlib

SEPARATOR = "// -----\n"
NODE = re.compile(r"^\s+(%.*?) = (\w+)\((.*?)\)(?: \{(.*)\})?$")
DECLARATION = re.compile(r"([%@][\w./-]+): (\w+)\[([\w,]*)\]")


# The numbers of f8_e4m3 that are not negative, by their codes.
E4M3 = [m * 2.0**-9 for m in range(8)] + [
    (8 + m) * 2.0**(e - 10) for e in range(1, 16) for m in range(8)][:-1]


def narrow(dtype, x):
    if dtype == "i32":
        return int(x)
    if dtype == "f16":
        return struct.unpack("<e", struct.pack("<e", x))[0]
    if dtype == "f8_e4m3":
        # The nearest of all; of two as near the one with an even code, which its index is.
        near = min(range(len(E4M3)), key=lambda i: (abs(abs(x) - E4M3[i]), i % 2))
        return math.copysign(E4M3[near], x)
    if math.isfinite(x) and abs(x) >= 2.0**128 - 2.0**103:  # what rounds to more than the largest
        return math.copysign(math.inf, x)
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    if dtype == "bf16":
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def narrow_all(dtype, xs):
    if dtype not in ("q8_0", "q4_0"):
        return [narrow(dtype, x) for x in xs]
    out = []
    for i in range(0, len(xs), 32):
        block = xs[i:i + 32]
        if dtype == "q8_0":
            step = max(abs(x) for x in block) / 127
            out += [round(x / step) * narrow("f16", step) if step else 0.0 for x in block]
        else:
            turned = hadamard(block)
            step = max(turned, key=abs) / -8
            quants = [min(7, math.floor(x / step + 0.5)) if step else 0 for x in turned]
            out += hadamard([n * narrow("f16", step) for n in quants])
    return out


def hadamard(xs):
    """Sylvester's construction: [[H, H], [H, -H]] of half the size."""
    if len(xs) == 1:
        return xs
    half = len(xs) // 2
    a, b = hadamard(xs[:half]), hadamard(xs[half:])
    return [(p + q) / math.sqrt(2) for p, q in zip(a, b)] + [
        (p - q) / math.sqrt(2) for p, q in zip(a, b)]


class Array:
    """Row-major numbers."""

    def __init__(self, shape, values, dtype="f32"):
        self.shape, self.v, self.dtype = list(shape), list(values), dtype
        assert len(self.v) == math.prod(self.shape), (self.shape, len(self.v))

    def at(self, *index):
        flat = 0
        for size, i in zip(self.shape, index, strict=True):
            assert 0 <= i < size
            flat = flat * size + i
        return self.v[flat]


def build(shape, fn, dtype="f32"):
    return Array(shape, [fn(*i) for i in itertools.product(*map(range, shape))], dtype)


def add(a, b):
    return Array(a.shape, [p + q for p, q in zip(a.v, b.v, strict=True)])


def embed(tokens, table):
    return build([*tokens.shape, table.shape[1]], lambda t, i: table.at(tokens.at(t), i))


def gather_rows(x, rows):
    return build([*rows.shape, *x.shape[1:]], lambda r, *i: x.at(rows.at(r), *i))


def slice_(x, size, start):
    return build([*x.shape[:-1], size], lambda *i: x.at(*i[:-1], start + i[-1]))


def split_heads(x, heads):
    dim = x.shape[1] // heads
    return build([x.shape[0], heads, dim], lambda t, h, d: x.at(t, h * dim + d))


def merge_heads(x):
    _, heads, dim = x.shape
    return build([x.shape[0], heads * dim], lambda t, n: x.at(t, n // dim, n % dim))


def glu(gate, up, activation):
    def act(x):
        if activation == "silu":
            return x * (1 / (1 + math.exp(-x)))
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)))

    return Array(gate.shape, [act(g) * u for g, u in zip(gate.v, up.v, strict=True)])


def linear(x, weight, bias=None):
    width = weight.shape[1]
    return build(
        [*x.shape[:-1], weight.shape[0]],
        lambda *i: sum(weight.at(i[-1], k) * x.at(*i[:-1], k) for k in range(width))
        + (bias.at(i[-1]) if bias else 0),
    )


def linear_add(residual, x, weight, bias=None):
    width = weight.shape[1]

    def one(*i):
        terms = [weight.at(i[-1], k) * x.at(*i[:-1], k) for k in range(width)]
        return math.fsum([residual.at(*i), bias.at(i[-1]) if bias else 0.0, *terms])

    return build([*x.shape[:-1], weight.shape[0]], one)


def gate_up(x, gate, up, norm=None, gate_bias=None, up_bias=None, *, activation, eps=None):
    def row(i):
        values = [x.at(*i, k) for k in range(x.shape[-1])]
        if norm is None:
            return values
        size = math.hypot(*values, math.sqrt(eps * len(values))) / math.sqrt(len(values))
        return [norm.at(k) * v / size for k, v in enumerate(values)]

    def project(weight, bias, *i):
        terms = [weight.at(i[-1], k) * h for k, h in enumerate(row(i[:-1]))]
        return math.fsum([*terms, bias.at(i[-1]) if bias else 0.0])

    def act(g):
        if activation == "silu":
            return g / (1 + math.exp(-g))
        return 0.5 * g * (1 + math.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))

    return build([*x.shape[:-1], gate.shape[0]],
                 lambda *i: act(project(gate, gate_bias, *i)) * project(up, up_bias, *i))


def arg_max(x):
    def one(*i):
        row = [x.at(*i, k) for k in range(x.shape[-1])]
        if any(math.isnan(v) or v == math.inf for v in row) or max(row) == -math.inf:
            return -1
        return sorted(range(len(row)), key=lambda k: (-row[k], k))[0]

    return build(x.shape[:-1], one, "i32")


def norm_linear(x, norm, weight, bias=None, *, eps):
    def one(*i):
        row = [x.at(*i[:-1], k) for k in range(x.shape[-1])]
        size = math.sqrt(math.fsum(v * v for v in row) / len(row) + eps)
        dot = math.fsum(weight.at(i[-1], k) * norm.at(k) * v for k, v in enumerate(row))
        return dot / size + (bias.at(i[-1]) if bias else 0)

    return build([*x.shape[:-1], weight.shape[0]], one)


def head(x, weight, norm=None, bias=None, *, eps=None):
    if norm is None:
        logits = linear(x, weight, bias)
    else:
        logits = norm_linear(x, norm, weight, bias, eps=eps)
    return logits, arg_max(Array(logits.shape, [narrow("f32", v) for v in logits.v]))


def qkv_rope(x, q, k, v, k_cache, v_cache, positions, cells, norm=None, q_bias=None, k_bias=None,
             v_bias=None, q_norm=None, k_norm=None, factors=None, *, q_heads, kv_heads, eps=None,
             head_eps=None, **rotation):
    """A head of a token at a time."""
    tokens, width = x.shape

    def heads(weight, bias, count, head_norm):
        size = weight.shape[0] // count
        result = []
        for t in range(tokens):
            row = [x.at(t, i) for i in range(width)]
            if norm:
                scale = math.sqrt(math.fsum(e * e for e in row) / width + eps)
                row = [e / scale * norm.at(i) for i, e in enumerate(row)]
            for h in range(count):
                out = [math.fsum([*(weight.at(h * size + n, i) * e for i, e in enumerate(row)),
                                  bias.at(h * size + n) if bias else 0.0]) for n in range(size)]
                if head_norm:
                    scale = math.sqrt(math.fsum(e * e for e in out) / size + head_eps)
                    out = [e / scale * head_norm.at(n) for n, e in enumerate(out)]
                result += out
        return Array([tokens, count, size], result)

    queries = rope(heads(q, q_bias, q_heads, q_norm), positions, factors, **rotation)
    keys = rope(heads(k, k_bias, kv_heads, k_norm), positions, factors, **rotation)
    values = heads(v, v_bias, kv_heads, None)
    return queries, kv_append(k_cache, keys, cells), kv_append(v_cache, values, cells)


def rms_norm(x, weight, eps):
    def one(*i):
        row = [x.at(*i[:-1], k) for k in range(x.shape[-1])]
        return row[i[-1]] / math.sqrt(sum(k * k for k in row) / len(row) + eps) * weight.at(i[-1])

    return build(x.shape, one)


def rope(x, positions, factors=None, *, base, dims, factor, magnitude, pairing, scaling,
         beta_fast=None, beta_slow=None, original_context=None):
    def frequency(p):
        f = base ** (-2 * p / dims)
        if factors:
            f /= factors.at(p)
        if scaling == "linear":
            return f / factor
        if scaling == "yarn":
            def c(turns):
                return dims * math.log(original_context / (2 * math.pi * turns)) / (
                    2 * math.log(base))
            low = max(0, math.floor(c(beta_fast)))
            high = min(dims - 1, math.ceil(c(beta_slow)))
            ramp = 1 - min(1, max(0, (p - low) / max(0.001, high - low)))
            return f * (ramp + (1 - ramp) / factor)
        return f

    def one(t, h, d):
        if d >= dims:
            return x.at(t, h, d)
        if pairing == "neox":
            p, second = d % (dims // 2), d >= dims // 2
            a, b = p, p + dims // 2
        else:
            p, second = d // 2, d % 2 == 1
            a, b = 2 * p, 2 * p + 1
        turn = complex(math.cos(positions.at(t) * frequency(p)),
                       math.sin(positions.at(t) * frequency(p)))
        z = complex(x.at(t, h, a), x.at(t, h, b)) * turn * magnitude
        return z.imag if second else z.real

    return build(x.shape, one)


def cell(sequences, pages, page_tokens, t, j):
    """Where token t's sequence keeps position j; None where it has no page."""
    if j // page_tokens >= pages.shape[1]:
        return None
    page = pages.at(sequences.at(t), j // page_tokens)
    return None if page < 0 else page * page_tokens + j % page_tokens


def kv_append(cache, x, cells):
    rows = {cells.at(t): t for t in range(cells.shape[0])}
    return build(cache.shape,
                 lambda c, k, d: x.at(rows[c], k, d) if c in rows else cache.at(c, k, d))


def bias_of_keys(k_cache, k_bias, positions, rotation):
    """The bias of each head, turned by every position: [positions, K, D]; None without a bias."""
    if not k_bias:
        return None
    _, kv_heads, dim = k_cache.shape
    spread = build([positions, kv_heads, dim], lambda j, h, d: k_bias.at(h * dim + d))
    return rope(spread, Array([positions], range(positions), "i32"), **rotation)


def attn_scores(q, k_cache, sequences, pages, k_bias=None, *, page_tokens, scale, span, symbols,
                **rotation):
    _, heads, dim = q.shape
    group = heads // k_cache.shape[1]
    bias = bias_of_keys(k_cache, k_bias, symbols[span], rotation)

    def one(t, h, j):
        at = cell(sequences, pages, page_tokens, t, j)
        if at is None:
            return 0.0
        return scale * sum(
            q.at(t, h, d) * (k_cache.at(at, h // group, d) + (bias.at(j, h // group, d) if bias else 0))
            for d in range(dim))

    return build([q.shape[0], heads, symbols[span]], one)


def masked_softmax(s, positions, sinks=None, *, causal, window):
    def one(t, h, j):
        def seen(k):
            at = positions.at(t)
            return (not causal or k <= at) and (window == 0 or at - k < window)

        if not seen(j):
            return 0.0
        logits = [s.at(t, h, k) for k in range(s.shape[2]) if seen(k)]
        if sinks:
            logits.append(sinks.at(h))
        top = max(logits)
        return math.exp(s.at(t, h, j) - top) / math.fsum(math.exp(k - top) for k in logits)

    return build(s.shape, one)


def attn_values(p, v_cache, sequences, pages, *, page_tokens):
    _, heads, span = p.shape
    group = heads // v_cache.shape[1]

    def one(t, h, d):
        total = 0.0
        for j in range(span):
            at = cell(sequences, pages, page_tokens, t, j)
            if at is not None and p.at(t, h, j) != 0:
                total += p.at(t, h, j) * v_cache.at(at, h // group, d)
        return total

    return build([p.shape[0], heads, v_cache.shape[2]], one)


def attention(q, k_cache, v_cache, positions, sequences, pages, sinks=None, k_bias=None, *, causal,
              page_tokens, scale, span, window, symbols, **rotation):
    _, heads, dim = q.shape
    group = heads // k_cache.shape[1]
    bias = bias_of_keys(k_cache, k_bias, symbols[span], rotation)

    def mix(t, h):
        """All dims of one token and head, one key at a time, as a sum that is divided at the end."""
        at = positions.at(t)
        terms = []  # exponent, value row
        if sinks:
            terms.append((sinks.at(h), [0.0] * v_cache.shape[2]))
        for j in range(symbols[span]):
            if causal and j > at or window and at - j >= window:
                continue
            where = cell(sequences, pages, page_tokens, t, j)
            dot, row = 0.0, [0.0] * v_cache.shape[2]
            if where is not None:
                key = [k_cache.at(where, h // group, d) for d in range(dim)]
                if bias:
                    key = [e + bias.at(j, h // group, d) for d, e in enumerate(key)]
                dot = sum(q.at(t, h, d) * e for d, e in enumerate(key))
                row = [v_cache.at(where, h // group, d) for d in range(v_cache.shape[2])]
            terms.append((scale * dot, row))
        if len(terms) == (1 if sinks else 0):
            return [0.0] * v_cache.shape[2]
        top = max(e for e, _ in terms)
        below = math.fsum(math.exp(e - top) for e, _ in terms)
        return [math.fsum(math.exp(e - top) * row[d] for e, row in terms) / below
                for d in range(v_cache.shape[2])]

    return build([q.shape[0], heads, v_cache.shape[2]], lambda t, h, d: mix(t, h)[d])


def moe_route(scores, *, normalise, used):
    tokens, experts = scores.shape
    chosen, weights = [], []
    for t in range(tokens):
        top = max(scores.at(t, x) for x in range(experts))
        p = [math.exp(scores.at(t, x) - top) for x in range(experts)]
        p = [v / math.fsum(p) for v in p]
        best = sorted(range(experts), key=lambda x: (-p[x], x))[:used]
        total = max(math.fsum(p[x] for x in best), 2.0**-14) if normalise else 1
        chosen += best
        weights += [p[x] / total for x in best]
    return Array([tokens, used], chosen, "i32"), Array([tokens, used], weights)


def expert_linear(x, weight, experts):
    tokens, used = experts.shape
    _, rows, width = weight.shape

    def one(t, u, n):
        row = [x.at(t, k) if len(x.shape) == 2 else x.at(t, u, k) for k in range(width)]
        return sum(weight.at(experts.at(t, u), n, k) * row[k] for k in range(width))

    return build([tokens, used, rows], one)


def expert_sum(x, weights):
    tokens, used, width = x.shape
    return build([tokens, width],
                 lambda t, n: sum(weights.at(t, u) * x.at(t, u, n) for u in range(used)))


OPS = {f.__name__.rstrip("_"): f for f in (
    add, arg_max, attention, attn_scores, attn_values, embed, expert_linear, expert_sum, gate_up,
    gather_rows, glu, head, kv_append, linear, linear_add, masked_softmax, merge_heads, moe_route,
    norm_linear, qkv_rope, rms_norm, rope, slice_, split_heads)}



def attribute(text):
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def directives(text):
    """[kind, rest] of each comment directive; continuation lines are joined."""
    found = []
    for line in text.splitlines():
        if line.startswith("//   ") and found:
            found[-1][1] += " " + line[5:].strip()
        elif match := re.match(r"// ([A-Z-]+):? (.*)$", line):
            found.append([match[1], match[2]])
        elif line.startswith("// Tests that"):
            found.append(["TITLE", line[3:]])
    return found


def wrap(head, words):
    lines, line = [], head
    for word in words:
        if len(line) + 1 + len(word) > 100:
            lines.append(line)
            line = "//  "
        line += " " + word
    return lines + [line]


def fill(text, name):
    graph = "\n".join(l for l in text.splitlines() if not l.startswith("//")) + "\n"
    found = directives(text)
    if any(kind == "EXPECT-ERROR" for kind, _ in found):
        return text
    symbols = {}
    for kind, rest in found:
        if kind == "SYMBOL":
            symbols.update({k: int(v) for k, v in (item.split("=") for item in rest.split())})
    types = {
        ref: (dtype, [symbols.get(d) or int(d) for d in dims.split(",")])
        for ref, dtype, dims in DECLARATION.findall(graph)
    }
    rng = random.Random(zlib.crc32(name.encode()))
    values, out = {}, []
    for kind, rest in found:
        if kind not in ("INPUT", "WEIGHT", "CACHE"):
            continue
        ref, numbers = rest.split(": ")
        dtype, shape = types[ref]
        if numbers.split() == ["random"]:
            numbers = " ".join(f"{rng.uniform(-2, 2):.2f}" for _ in range(math.prod(shape)))
        words = numbers.split()
        values[ref] = Array(shape, narrow_all(dtype, [float(w) for w in words]), dtype)
        out.append((f"// {kind} {ref}:", words))
    for ref in re.findall(r"^cache (.*?):", graph, re.MULTILINE):
        dtype, shape = types[ref]
        values.setdefault(ref, Array(shape, [0.0] * math.prod(shape), dtype))
    for line in graph.splitlines():
        if not (match := NODE.match(line)):
            continue
        results = [ref for ref, _, _ in DECLARATION.findall(match[1])]
        positional, named = [], {}
        for operand in match[3].split(", "):
            key, _, ref = operand.rpartition("=")
            if key:
                named[key] = values[ref]
            else:
                positional.append(values[ref])
        for item in (match[4] or "").split(", "):
            if item:
                key, value = item.split("=")
                named[key] = attribute(value)
        if match[2] in ("attention", "attn_scores"):
            named["symbols"] = symbols
        got = OPS[match[2]](*positional, **named)
        for ref, array in zip(results, got if isinstance(got, tuple) else (got,), strict=True):
            dtype, shape = types[ref]
            assert array.shape == shape, (line, array.shape, shape)
            values[ref] = Array(shape, narrow_all(dtype, array.v), dtype)
    lines = []
    for kind, rest in found:
        if kind == "EXPECT":
            array = values[rest.split(":")[0]]
            words = [str(v) if array.dtype == "i32" else f"{v:.9g}" for v in array.v]
            tolerance = [] if array.dtype == "i32" else ["(tolerance", "1e-6)"]
            lines += wrap(f"// EXPECT {rest.split(':')[0]}:", words + tolerance)
        elif kind == "TITLE":
            lines += wrap("//", rest.split())
        elif kind == "SYMBOL":
            lines.append("// SYMBOL " + rest)
        else:
            lines += wrap(*out.pop(0))
    return "\n".join(lines) + "\n" + graph


def main():
    for path in sys.argv[1:]:
        with open(path, encoding="ascii") as file:
            cases = file.read().split(SEPARATOR)
        cases = [fill(case, f"{path.split('/')[-1]} {i}") for i, case in enumerate(cases)]
        with open(path, "w", encoding="ascii") as file:
            file.write(SEPARATOR.join(cases))


if __name__ == "__main__":
    main()
