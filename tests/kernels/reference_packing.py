"""The slow, obvious twin of pipeline.kernels.packing: lists, a scan over every bin."""


def split(lengths, limit):
    return [
        (document, start, min(limit, length - start))
        for document, length in enumerate(lengths)
        for start in range(0, length, limit)
    ]


def best_fit(lengths, limit):
    """The bin of each piece: longest first, into the fullest bin with room, of those the one filled last."""
    room, filled_at, bins = [], [], [0] * len(lengths)
    for time, i in enumerate(sorted(range(len(lengths)), key=lambda i: -lengths[i])):
        fitting = [b for b in range(len(room)) if room[b] >= lengths[i]]
        if fitting:
            chosen = min(fitting, key=lambda b: (room[b], -filled_at[b]))
        else:
            chosen = len(room)
            room.append(limit)
            filled_at.append(0)
        room[chosen] -= lengths[i]
        filled_at[chosen] = time
        bins[i] = chosen
    return bins


def rows(documents, pieces, bins, limit, eos, pad):
    """Token rows and, for each row, (end, piece) of its segments; `bins` lists the pieces of each row."""
    out, segments = [], []
    for row_pieces in bins:
        row, row_segments = [], []
        for p in row_pieces:
            document, start, length = pieces[p]
            row += (documents[document] + [eos])[start : start + length]
            row_segments.append((len(row), p))
        if len(row) < limit:
            row += [pad] * (limit - len(row))
            row_segments.append((limit, -1))
        out.append(row)
        segments.append(row_segments)
    return out, segments
