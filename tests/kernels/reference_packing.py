"""The slow, obvious twins of pipeline.kernels.packing and packed_rows: lists, a scan over every bin."""

from collections import Counter, defaultdict


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


def shortest_first(lengths, limit, depth):
    """The bins of SPFHP, as lists of lengths: by histogram, as published (Krell et al., listing 1)."""
    open_bins, closed = defaultdict(list), []  # by room left: (count, bin)

    def keep(count, packed, room):
        (closed if len(packed) == depth or not room else open_bins[room]).append((count, packed))

    for length, count in sorted(Counter(lengths).items(), reverse=True):
        for room in range(limit, length - 1, -1):
            while count and open_bins[room]:
                there, packed = open_bins[room].pop()
                if there > count:
                    open_bins[room].append((there - count, packed))
                now = min(there, count)
                keep(now, [*packed, length], room - length)
                count -= now
        if count:
            keep(count, [length], limit - length)
    strategies = [*closed, *(strategy for room in open_bins.values() for strategy in room)]
    return [packed for count, packed in strategies for _ in range(count)]


def concatenate(lengths, limit):
    """(document, start, length, bin) of the pieces of documents put end to end."""
    owners = [(document, place) for document, length in enumerate(lengths) for place in range(length)]
    pieces = []
    for at, (document, place) in enumerate(owners):
        if not place or not at % limit:
            pieces.append([document, place, 0, at // limit])
        pieces[-1][2] += 1
    return [tuple(piece) for piece in pieces]


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
