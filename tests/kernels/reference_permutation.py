"""The slow twin of pipeline.kernels.permutation: one position at a time, in Python's integers."""

MASK = (1 << 64) - 1


def mix64(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def permuted(position, n, key):
    half = 1
    while 1 << (2 * half) < n:
        half += 1
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for number in range(4):
            mixed = mix64((right * 0x9E3779B97F4A7C15 & MASK) ^ key ^ (number * 0xD1B54A32D192ED03 & MASK))
            left, right = right, left ^ (mixed & mask)
        position = left << half | right
        if position < n:
            return position
