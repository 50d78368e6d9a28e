"""The KALE nonce search, on every CPU and on CUDA."""
