"""Wire formats of the official LaWAM servers, read and written: bytes in, checked records out. Facts: docs/protocols.md."""
