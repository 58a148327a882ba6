"""The control plane: HTTP in, LiveKit's API out, and the keeper between them."""
