"""Soroban."""
