"""The slow twin of pipeline.kernels.row_arrays: one position at a time, from left to right."""

IGNORE = -100


def row_arrays(rows, restart):
    """Lists by name for rows of (tokens, weights, [(end, whether it is padding) of each segment])."""
    arrays = {"tokens": [], "targets": [], "loss_mask": [], "position_ids": [], "document_ids": [], "loss_weights": []}
    bounds, longest = [0], 0
    for tokens, weights, segments in rows:
        row = {name: [] for name in arrays}
        start = 0
        for number, (end, padding) in enumerate(segments):
            for place in range(start, end):
                learned = not padding and place + 1 < end
                row["tokens"].append(tokens[place])
                row["targets"].append(tokens[place + 1] if learned else IGNORE)
                row["loss_mask"].append(learned)
                row["position_ids"].append(place - start if restart else place)
                row["document_ids"].append(-1 if padding else number)
                row["loss_weights"].append(weights[place + 1] if learned else 0)
            bounds.append(bounds[-1] + end - start)
            longest = max(longest, end - start)
            start = end
        for name, values in row.items():
            arrays[name].append(values)
    return arrays | {"cu_seqlens": bounds, "max_seqlen": longest}
