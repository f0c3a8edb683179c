#!/usr/bin/env python3
"""Writes erasure.json: test vectors of docs/spec/erasure.md.

Independent of the Rust code: its own field arithmetic by shift and add, the matrix straight from
the specification, and restoring by Gaussian elimination. Standard library only.
Run: python3 erasure.py > erasure.json
"""

import hashlib
import itertools
import json


def mul(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return product


INVERSE = {a: next(b for b in range(1, 256) if mul(a, b) == 1) for a in range(1, 256)}


def generator(k, n):
    """Row i gives shard i from the k data shards."""
    unit = [[int(i == j) for j in range(k)] for i in range(k)]
    return unit + [[mul(i, INVERSE[i ^ j]) for j in range(k)] for i in range(k, n)]


def times(matrix, shards):
    tables = {c: bytes(mul(c, x) for x in range(256)) for row in matrix for c in row}
    out = []
    for row in matrix:
        total = 0
        for c, shard in zip(row, shards):
            total ^= int.from_bytes(shard.translate(tables[c]), "big")
        out.append(total.to_bytes(len(shards[0]), "big"))
    return out


def inverse(matrix):
    size = len(matrix)
    rows = [list(row) + [int(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(r for r in range(column, size) if rows[r][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = INVERSE[rows[column][column]]
        rows[column] = [mul(scale, x) for x in rows[column]]
        for r in range(size):
            if r != column and rows[r][column]:
                factor = rows[r][column]
                rows[r] = [x ^ mul(factor, y) for x, y in zip(rows[r], rows[column])]
    return [row[size:] for row in rows]


def restores(k, n, shards, kept):
    rows = generator(k, n)
    back = inverse([rows[i] for i in kept])
    return times(back, [shards[i] for i in kept]) == shards[:k]


def content(label, size):
    """The data of a vector: SHA-256 of label and a counter, in blocks."""
    blocks = (hashlib.sha256(f"{label}/{i}".encode()).digest() for i in itertools.count())
    return b"".join(itertools.islice(blocks, size // 32))


def vector(k, n, size):
    data = [content(f"erasure {k} of {n} shard {j}", size) for j in range(k)]
    shards = data + times(generator(k, n)[k:], data)
    for kept in (range(k), range(n - k, n), list(range(0, n, 2))[:k]):
        kept = list(kept) + [i for i in range(n) if i not in kept]
        assert restores(k, n, shards, kept[:k]), (k, n, kept)
    entry = {"k": k, "n": n, "size": size}
    if size == 64:
        entry["parity"] = [shard.hex() for shard in shards[k:]]
    entry["parity_sha256"] = hashlib.sha256(b"".join(shards[k:])).hexdigest()
    return entry


SHAPES = [(1, 1), (1, 3), (1, 64), (2, 3), (4, 8), (10, 20), (16, 32), (32, 64), (63, 64), (64, 64)]
vectors = [vector(k, n, 64) for k, n in SHAPES]
vectors += [vector(4, 8, 192), vector(10, 20, 65_536), vector(4, 8, 1_966_080)]
print(json.dumps({"content": "sha256('erasure K of N shard J/' + decimal block number), repeated", "vectors": vectors}, indent=1))
