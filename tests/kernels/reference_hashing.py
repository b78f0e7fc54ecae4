"""Slow, obvious twins of pipeline.kernels.hashing: plain Python integers, one value at a time."""

M64 = (1 << 64) - 1
C1, C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def rotl(x: int, r: int) -> int:
    return (x << r | x >> (64 - r)) & M64


def mix64(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & M64
    return x ^ x >> 31


def fmix(k: int) -> int:
    k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & M64
    k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & M64
    return k ^ k >> 33


def murmur128(value: bytes, seed: int) -> tuple[int, int]:
    h1 = h2 = seed
    whole = len(value) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = (int.from_bytes(value[at + half : at + half + 8], "little") for half in (0, 8))
        h1 ^= rotl(k1 * C1 & M64, 31) * C2 & M64
        h1 = ((rotl(h1, 27) + h2) * 5 + 0x52DCE729) & M64
        h2 ^= rotl(k2 * C2 & M64, 33) * C1 & M64
        h2 = ((rotl(h2, 31) + h1) * 5 + 0x38495AB5) & M64
    k1, k2 = (int.from_bytes(value[whole + half : whole + half + 8], "little") for half in (0, 8))
    h2 ^= rotl(k2 * C2 & M64, 33) * C1 & M64
    h1 ^= rotl(k1 * C1 & M64, 31) * C2 & M64
    h1, h2 = h1 ^ len(value), h2 ^ len(value)
    h1 = (h1 + h2) & M64
    h2 = (h2 + h1) & M64
    h1, h2 = fmix(h1), fmix(h2)
    h1 = (h1 + h2) & M64
    return h1, (h2 + h1) & M64


def draw(seed: int, doc_id: tuple[int, int], stream: int) -> int:
    golden = 0x9E3779B97F4A7C15
    key = mix64(mix64(seed + golden & M64) + (stream + 1) * golden & M64)
    return mix64(mix64(doc_id[0] ^ key) + doc_id[1] + golden & M64)
