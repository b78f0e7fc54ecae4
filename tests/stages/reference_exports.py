"""Readers of the export formats, written from their published layouts and knowing nothing of our writers.

Each takes the folder of an export. Those of rows return [(tokens, ends of the pieces)] or [tokens]; those of documents
return [tokens of a document].
"""

import gzip
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa


def mds(folder):
    rows = []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        count = int.from_bytes(data[:4], "little")
        assert count == shard["samples"]
        offsets = np.frombuffer(data, "<u4", count + 1, 4)
        dtype = np.dtype(shard["column_encodings"][1].split(":")[1])
        for begin, end in pairwise(offsets):
            size = int.from_bytes(data[begin : begin + 4], "little")
            ends, tokens = data[begin + 4 :][:size], data[begin + 4 + size : end]
            width = 1 << ends[0] % 4
            assert ends[0] >> 2 == 1
            values = np.frombuffer(ends[1 + width :], "<u4").tolist()
            assert len(values) == int.from_bytes(ends[1 : 1 + width], "little")
            rows.append((np.frombuffer(tokens, dtype).tolist(), values))
    return rows


def litdata(folder):
    index = json.loads((folder / "index.json").read_text())
    dtype = {"no_header_tensor:20": "<u2", "no_header_tensor:16": "<i4"}[index["config"]["data_format"][0]]
    rows = []
    for chunk in index["chunks"]:
        data = (folder / chunk["filename"]).read_bytes()
        assert len(data) == chunk["chunk_bytes"]
        count, *offsets = np.frombuffer(data, "<u4", chunk["chunk_size"] + 2).tolist()
        assert count == chunk["chunk_size"]
        items = [data[a:b] for a, b in pairwise(offsets)]
        rows += [np.frombuffer(item, dtype).tolist() for item in items]
        assert sum(len(row) for row in rows[-count:]) == chunk["dim"]
    return rows


def huggingface(folder):
    names = [file["filename"] for file in json.loads((folder / "state.json").read_text())["_data_files"]]
    told = json.loads((folder / "dataset_info.json").read_text())["features"]
    rows = []
    for name in names:
        with pa.memory_map(str(folder / name)) as file:
            table = pa.ipc.open_stream(file).read_all()
        assert json.loads(table.schema.metadata[b"huggingface"])["info"]["features"] == told
        rows += [(row["input_ids"], row["segment_ends"]) for row in table.to_pylist()]
    return rows


def datatrove(folder, dtype):
    documents = []
    for path in sorted(folder.glob("*.ds")):
        tokens, ends = np.fromfile(path, dtype), np.fromfile(f"{path}.index", "<u8")
        assert ends[-1] == len(tokens)
        documents += [part.tolist() for part in np.split(tokens, ends[:-1].astype(np.int64))]
    return documents


def olmo(folder, dtype):
    documents = []
    for path in sorted(folder.glob("*.npy")):
        tokens = np.fromfile(path, dtype)
        lines = gzip.decompress(path.with_suffix(".csv.gz").read_bytes()).decode().splitlines()
        bounds = [tuple(map(int, line.split(","))) for line in lines]
        assert [0, *(end for _, end in bounds)] == [*(start for start, _ in bounds), len(tokens)]
        documents += [tokens[start:end].tolist() for start, end in bounds]
    return documents


def flat(folder):
    return np.fromfile(folder / "train.bin", "<u2").tolist()
