"""Inner loops: arrays in, arrays out. Nothing here knows a path, a clock, a logger or a stage."""
