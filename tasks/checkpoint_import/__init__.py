"""Published, pickled checkpoints as safetensors; nothing in them is executed."""
