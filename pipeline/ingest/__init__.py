"""Raw files become documents: discover, inspect, checksum and plan before a build; read, judge and write in it."""
