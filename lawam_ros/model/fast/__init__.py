"""The engine's own transcription of the network for one observation: the same weights, the same numbers, less work.

Everything here holds tensors and pure functions over them. The modules one folder up are the reference it is compared with.
"""
