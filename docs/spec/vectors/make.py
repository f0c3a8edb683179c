#!/usr/bin/env python3
"""Makes the test vectors of docs/spec/{crypto,formats,journal,tree}.md from the text of those pages.

This is an implementation of its own: the standard library and `cryptography`, nothing else. It
never runs the Rust code, which is compared with what is written here.

    make.py           writes crypto.json, formats.json, journal.json and tree.json beside itself
    make.py --check   compares them with what it would write; exit code 1 where they differ
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LEAF = 65_536
SHARD_MAX = 30 * LEAF
MANIFEST_IDS_PER_PAGE = (262_144 - 38) // 32


# --- crypto.md -----------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key, label, context=b""):
    """HKDF-Expand of one block: T(1) = HMAC(key, info || 0x01)."""
    return hmac256(key, b"xcloud/v1/" + label + context + b"\x01")


def aes_ctr(key, counter, data):
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def file_cipher(secret, offset, data):
    counter = (offset // 16).to_bytes(16, "big")
    skip = offset % 16
    return aes_ctr(expand(secret, b"ctr"), counter, bytes(skip) + data)[skip:]


def seal(key, context, plain):
    mac = struct.pack("<Q", len(context)) + context + plain
    siv = hmac256(expand(key, b"siv-mac"), mac)
    return b"\x01" + siv + aes_ctr(expand(key, b"siv-enc", siv[:16]), siv[16:], plain)


def tree_hash(data):
    """RFC 9162, 2.1.1, over leaves of 64 KiB, by its recursive definition."""
    if len(data) <= LEAF:
        return sha256(b"\x00" + data)
    leaves = -(-len(data) // LEAF)
    left = 1
    while left * 2 < leaves:
        left *= 2
    return sha256(b"\x01" + tree_hash(data[: left * LEAF]) + tree_hash(data[left * LEAF :]))


def range_proof(data, first, end, at=0):
    """The hashes of the largest subtrees beside leaves first..end, from left to right."""
    leaves = -(-len(data) // LEAF)
    if first <= at and at + leaves <= end:
        return []
    if at + leaves <= first or end <= at:
        return [tree_hash(data)]
    left = 1
    while left * 2 < leaves:
        left *= 2
    head, tail = data[: left * LEAF], data[left * LEAF :]
    return range_proof(head, first, end, at) + range_proof(tail, first, end, at + left)


def public_key(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed, kind, body):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(b"xcloud/v1/" + kind + b"\x00" + body)


def word_indices(entropy):
    """BIP-39: the entropy and the first byte of its SHA-256, in groups of 11 bits."""
    bits = int.from_bytes(entropy + sha256(entropy)[:1], "big")
    return [bits >> (11 * place) & 2047 for place in reversed(range(24))]


# Phrases published with BIP-39 (vectors.json of its reference implementation).
PUBLISHED_PHRASES = {
    0x00: "abandon " * 23 + "art",
    0x7F: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    0x80: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    0xFF: "zoo " * 23 + "vote",
}


def check_phrase(entropy, phrase):
    """One word per index and one index per word, and both in the same order."""
    pairs = sorted(set(zip(word_indices(entropy), phrase.split())))
    words = [word for _, word in pairs]
    assert len({index for index, _ in pairs}) == len(pairs) == len(set(words))
    assert words == sorted(words)


def pattern(length):
    return bytes(i * 31 % 251 for i in range(length))


def account(byte):
    entropy = bytes([byte]) * 32
    phrase = PUBLISHED_PHRASES[byte]
    check_phrase(entropy, phrase)
    ark = hmac256(b"xcloud/v1/account", entropy)
    volume = expand(ark, b"first-volume")[:16]
    identity = public_key(expand(ark, b"id"))
    keys = [expand(ark, b"volume", volume + struct.pack("<I", epoch)) for epoch in (0, 1)]
    blob = bytes(range(16))
    owner = public_key(expand(keys[0], b"own", blob))
    return {
        "entropy": entropy.hex(),
        "phrase": phrase,
        "identity_public": identity.hex(),
        "account": sha256(identity)[:16].hex(),
        "first_volume": volume.hex(),
        "volume_key_0": keys[0].hex(),
        "volume_key_1": keys[1].hex(),
        "blob": blob.hex(),
        "owner_public": owner.hex(),
        "owner_tag": sha256(owner).hex(),
    }


def crypto_vectors():
    key = bytes(range(32))
    seals = [(b"", b""), (b"treepage", b"a"), (pattern(88), pattern(1_000))]
    ciphers = [(0, 40), (5, 40), (65_536, 16), (2**36 + 9, 33), (2**60 - 40, 40)]
    shards = [1, 64, LEAF, LEAF + 1, 5 * LEAF + 3, 7 * LEAF, SHARD_MAX]
    ranges = [(1, 0, 1), (5 * LEAF + 64, 0, 6), (5 * LEAF + 64, 0, 1), (5 * LEAF + 64, 5, 6)]
    ranges += [(7 * LEAF, 2, 5), (SHARD_MAX, 0, 1), (SHARD_MAX, 1, 29), (SHARD_MAX, 13, 17)]
    bodies = [(b"ticket", b""), (b"root", pattern(300))]
    return {
        "expand": [
            {
                "key": key.hex(),
                "label": label.decode(),
                "context": context.hex(),
                "out": expand(key, label, context).hex(),
            }
            for label, context in [(b"ctr", b""), (b"siv-enc", pattern(16)), (b"own", pattern(16))]
        ],
        "file_cipher": [
            {
                "secret": key.hex(),
                "offset": offset,
                "plain": pattern(length).hex(),
                "cipher": file_cipher(key, offset, pattern(length)).hex(),
            }
            for offset, length in ciphers
        ],
        "seal": [
            {
                "key": key.hex(),
                "context": context.hex(),
                "plain": plain.hex(),
                "sealed": seal(key, context, plain).hex(),
            }
            for context, plain in seals
        ],
        "shard_id": [{"bytes": size, "id": tree_hash(pattern(size)).hex()} for size in shards],
        "leaf_range": [
            {
                "bytes": size,
                "first": first,
                "end": end,
                "id": tree_hash(pattern(size)).hex(),
                "proof": [node.hex() for node in range_proof(pattern(size), first, end)],
            }
            for size, first, end in ranges
        ],
        "sign": [
            {
                "seed": key.hex(),
                "public": public_key(key).hex(),
                "kind": kind.decode(),
                "body": body.hex(),
                "signature": sign(key, kind, body).hex(),
            }
            for kind, body in bodies
        ],
        "account": [account(byte) for byte in PUBLISHED_PHRASES],
    }


# --- formats.md ----------------------------------------------------------------------------


def up(value, step):
    return -(-value // step) * step


def segment(length, k, index):
    full = k * SHARD_MAX
    size = min(full, length - index * full)
    return size, up(-(-size // k), 64)


def segments(length, k):
    return -(-length // (k * SHARD_MAX))


def shape(length, k, n):
    count = segments(length, k)
    last_length, last_shard = segment(length, k, count - 1)
    return {
        "length": length,
        "class": f"mirrors:{n}" if k == 1 else f"coded:{k}/{n}",
        "segments": count,
        "shard_size": segment(length, k, 0)[1],
        "last_length": last_length,
        "last_shard_size": last_shard,
        "stored_bytes": n * ((count - 1) * SHARD_MAX + last_shard),
    }


def manifest_page(length, k, n, level, index, ids):
    header = struct.pack("<BBHH", 1, level, k, n)
    header += struct.pack("<IQQ", segment(length, k, 0)[1], length, segments(length, k))
    return header + struct.pack("<QI", index, len(ids)) + b"".join(ids)


def manifest_ids(k, n, index):
    width = 1 if k == 1 else n
    return [sha256(struct.pack("<QH", index, shard)) for shard in range(width)]


def manifest(length, k, n):
    """All pages in the order in which they complete, and the top page's hash."""
    blob, secret = pattern(16), sha256(b"blob secret")
    context = b"manifest" + blob
    per_page = MANIFEST_IDS_PER_PAGE // (1 if k == 1 else n)
    count = segments(length, k)
    groups = []
    for first in range(0, count, per_page):
        some = range(first, min(first + per_page, count))
        groups.append([an_id for index in some for an_id in manifest_ids(k, n, index)])
    level, pages = 0, []
    while True:
        sealed = [
            seal(secret, context, manifest_page(length, k, n, level, index, ids))
            for index, ids in enumerate(groups)
        ]
        pages += sealed
        if len(sealed) == 1:
            return blob, secret, pages
        hashes = [sha256(page) for page in sealed]
        step = MANIFEST_IDS_PER_PAGE
        groups = [hashes[i : i + step] for i in range(0, len(hashes), step)]
        level += 1


def manifest_vector(length, k, n):
    blob, secret, pages = manifest(length, k, n)
    vector = {
        "length": length,
        "k": k,
        "n": n,
        "blob": blob.hex(),
        "secret": secret.hex(),
        "pages": sorted(sha256(page).hex() for page in pages),
        "top": sha256(pages[-1]).hex(),
    }
    if len(pages) == 1:
        vector["sealed"] = pages[0].hex()
    return vector


def prefixed(data):
    return struct.pack("<I", len(data)) + data


def device(seed, name, added):
    return public_key(seed) + prefixed(name.encode()) + prefixed(b"kem") + struct.pack("<Q", added)


IDENTITY, DEVICE = sha256(b"identity"), sha256(b"device")
ACCOUNT, VOLUME = sha256(public_key(IDENTITY))[:16], pattern(16)


def device_list(seq, prev, devices, revoked, wrapped):
    body = b"\x01" + public_key(IDENTITY) + struct.pack("<Q", seq) + prev
    body += struct.pack("<Q", 1_700_000_000_000)
    for items in (devices, revoked, wrapped):
        body += struct.pack("<H", len(items)) + b"".join(items)
    return body + sign(IDENTITY, b"device-list", body)


def device_lists():
    first = device_list(1, bytes(32), [device(DEVICE, "Läptop", 5)], [], [])
    last = pattern(16) + struct.pack("<Q", 9) + sha256(b"last root")
    revoked = public_key(sha256(b"lost")) + struct.pack("<QH", 77, 1) + last
    devices = [device(DEVICE, "Läptop", 5), device(sha256(b"phone"), "", 6)]
    return first, device_list(2, sha256(first), devices, [revoked], [prefixed(b"wrapped")])


def root(seq, ancestors, epoch, pins, locations):
    volume_key, top_key = sha256(b"volume key"), sha256(b"top key")
    previous = sha256(b"previous volume key") if epoch else bytes(32)
    scope = ACCOUNT + VOLUME
    keys = seal(volume_key, b"rootkeys" + scope + struct.pack("<I", epoch), top_key + previous)
    body = b"\x01" + scope + struct.pack("<Q", seq) + b"".join(ancestors)
    body += sha256(b"top page") + struct.pack("<I", epoch) + keys + sha256(b"device list")
    body += struct.pack("<Q", 1_700_000_000_123)
    body += bytes([len(pins)]) + b"".join(pins)
    body += bytes([len(locations)]) + b"".join(locations)
    signed = body + public_key(DEVICE)
    return signed + sign(DEVICE, b"root", signed)


def root_chain(length):
    """Ancestor i is the latest earlier root whose number is a multiple of 2^i."""
    hashes, roots = {}, []
    for seq in range(1, length + 1):
        ancestors = []
        for level in range(16):
            number = (seq - 1) >> level << level
            ancestors.append(hashes[number] if number else bytes(32))
        pins = [sha256(bytes([i])) for i in range(seq % 6)]
        locations = [sha256(b"shard") + sha256(b"host")] * (seq % 3)
        roots.append(root(seq, ancestors, seq // 4, pins, locations))
        hashes[seq] = sha256(roots[-1])
    return roots


def formats_vectors():
    first, second = device_lists()
    full = 4 * SHARD_MAX
    shapes = [(1, 1, 3), (SHARD_MAX, 1, 1), (SHARD_MAX + 1, 1, 64), (full, 4, 8), (full + 257, 4, 8)]
    shapes += [(10**12, 4, 8), (2**60, 10, 20), (2**60, 63, 64), (4_097, 2, 3)]
    per_leaf = MANIFEST_IDS_PER_PAGE
    manifests = [(5_000, 4, 8), (3 * SHARD_MAX, 1, 3), ((per_leaf + 1) * SHARD_MAX - 7, 1, 2)]
    manifests.append(((per_leaf // 3 + 2) * 2 * SHARD_MAX, 2, 3))
    return {
        "shapes": [shape(*one) for one in shapes],
        "manifests": [manifest_vector(*one) for one in manifests],
        "device_lists": {
            "account": ACCOUNT.hex(),
            "identity_seed": IDENTITY.hex(),
            "device_seed": DEVICE.hex(),
            "first": first.hex(),
            "second": second.hex(),
        },
        "roots": [one.hex() for one in root_chain(9)],
    }


# --- journal.md ----------------------------------------------------------------------------


UPLOAD = sha256(b"upload")[:16]


def journal_file(path, size):
    times = struct.pack("<qIqI", -7, 999_999_999, 1_700_000_000, 5)
    place = struct.pack("<IQQ", 0o640, 66_306, 2**40 + 1)
    return prefixed(path) + struct.pack("<Q", size) + times + place + sha256(b"file secret")


def journal_start(blobs):
    body = b"\x01" + struct.pack("<Q", 1_700_000_000_000) + sha256(b"payer")
    body += struct.pack("<HHHHH", 0, 0, 2, 3, len(blobs))
    for number, files in enumerate(blobs):
        blob, secret = sha256(b"blob%d" % number)[:16], sha256(b"blob secret")
        body += blob + secret + struct.pack("<H", len(files)) + b"".join(files)
    return body


def journal_segment(kind, blob, segment, items):
    return struct.pack("<BHQH", kind, blob, segment, len(items)) + b"".join(items)


def journal_vectors():
    small = [journal_file(b"/home/ann/a", 5), journal_file("/home/ann/\u00fc".encode(), 6)]
    large = [journal_file(b"/film", 2 * SHARD_MAX + 1)]
    ids = [sha256(bytes([shard])) for shard in range(3)]
    receipts = [b"\x01" + pattern(189), b"\x00", b"\x01" + pattern(189)]
    records = [
        journal_start([small, large]),
        journal_segment(2, 0, 0, ids),
        journal_segment(2, 1, 1, ids),
        journal_segment(3, 1, 1, receipts),
        struct.pack("<BHHQ", 4, 1, 1, 1),
    ]
    key, scope = expand(DEVICE, b"journal"), ACCOUNT + VOLUME + UPLOAD
    file = b"XCUJ\x01" + UPLOAD
    for number, record in enumerate(records):
        file += prefixed(seal(key, b"ujournal" + scope + struct.pack("<Q", number), record))
    return {
        "device_seed": DEVICE.hex(),
        "account": ACCOUNT.hex(),
        "volume": VOLUME.hex(),
        "upload": UPLOAD.hex(),
        "records": [record.hex() for record in records],
        "file": file.hex(),
    }


# --- tree.md -------------------------------------------------------------------------------


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def either(field, data):
    """Bytes as text where they are UTF-8, else in base64 under a name of its own."""
    try:
        return {field: data.decode()}
    except UnicodeDecodeError:
        return {field + "b": b64(data)}


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def page(key, node, low, level, items):
    context = b"treepage" + ACCOUNT + VOLUME + node + sha256(low)
    field = "c" if level else "e"
    return seal(key, context, text({"v": 1, "l": level, field: items}))


def entry(node, name, mtime, mode, xattrs, epoch, kind):
    value = {"id": b64(node)} | either("n", name) | {"t": list(mtime), "m": mode}
    if xattrs:
        value["x"] = {name: b64(data) for name, data in sorted(xattrs.items())}
    return value | {"e": epoch} | kind


def blob_file(length):
    secrets = {"fk": b64(sha256(b"file")), "bk": b64(sha256(b"blob"))}
    place = {"id": b64(pattern(16)), "o": 128, "l": length}
    return {"f": {"h": b64(sha256(b"content")), "b": place | secrets | {"m": b64(sha256(b"manifest"))}}}


def tree_vectors():
    key, seed, top = sha256(b"top key"), sha256(b"seed"), VOLUME
    # New ids and keys as the reference editor draws them; no format depends on this.
    drawn = [expand(seed, b"edit", struct.pack("<Q", number)) for number in range(1, 7)]
    ids = [drawn[0][:16], drawn[1][:16], drawn[2][:16], drawn[4][:16]]
    folder_key = drawn[3]
    empty = page(folder_key, ids[3], b"", 0, [])
    entries = [
        entry(ids[0], b"a \"quoted\"\\\n\x01\x7f\xc3\xa9", (-1, 999_999_999), 0o644, {}, 3,
              {"f": {"i": b64(b"small")}}),
        entry(ids[3], b"folder", (0, 0), 0o755, {}, 3,
              {"d": {"k": b64(folder_key), "h": b64(sha256(empty))}}),
        entry(ids[1], b"large", (1_700_000_000, 5), 0o4600,
              {"user.b": b"\x00\xff", "user.a": b""}, 3, blob_file(5_000_000_000)),
        entry(ids[2], b"\xff\xfe", (0, 0), 0o777, {}, 3, either("s", b"../\xff")),
    ]
    leaf = page(key, top, b"", 0, entries)

    low = "large".encode()
    first, second = page(key, top, b"", 0, entries[:2]), page(key, top, low, 0, entries[2:])
    links = [{"n": "", "h": b64(sha256(first))}, {"n": "large", "h": b64(sha256(second))}]
    inner = page(key, top, b"", 1, links)
    return {
        "account": ACCOUNT.hex(),
        "volume": VOLUME.hex(),
        "top_key": key.hex(),
        "edit_seed": seed.hex(),
        "leaf": leaf.hex(),
        "leaf_text": text({"v": 1, "l": 0, "e": entries}).decode(),
        "empty_folder": empty.hex(),
        "inner": inner.hex(),
        "inner_leaves": [first.hex(), second.hex()],
    }


def main():
    here = pathlib.Path(__file__).resolve().parent
    files = {
        "crypto": crypto_vectors(),
        "formats": formats_vectors(),
        "journal": journal_vectors(),
        "tree": tree_vectors(),
    }
    differ = False
    for name, vectors in files.items():
        path = here / f"{name}.json"
        made = json.dumps(vectors, ensure_ascii=False, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(made, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != made:
            print(f"{path.name} differs", file=sys.stderr)
            differ = True
    sys.exit(differ)


if __name__ == "__main__":
    main()
