"""kalepool: a mining pool for KALE, the proof-of-teamwork token on Stellar."""
