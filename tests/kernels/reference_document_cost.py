"""The slow, obvious twin of pipeline.kernels.document_cost: the pieces of one document, counted."""


def cost(plain, bos, limit, split, least_rest):
    """(tokens with BOS and EOS, those that are packed)."""
    if not plain:
        return 0, 0
    whole = plain + 1 + bos
    if limit is None or whole <= limit:
        return whole, whole
    if not split:
        return whole, 0
    pieces = [min(limit, whole - start) for start in range(0, whole, limit)]
    return whole, sum(piece for i, piece in enumerate(pieces) if i == 0 or piece >= least_rest)
