"""The windows of one sequence, as the recipe of Hugging Face transformers writes them down."""


def cut(length, window, stride, scored=1):
    """Return (begin, end, scored) of every window of a sequence."""
    found, previous = [], scored
    if length <= scored:
        return found
    for begin in range(0, length, stride):
        end = min(begin + window, length)
        found.append((begin, end, previous))
        previous = end
        if end == length:
            break
    return found
