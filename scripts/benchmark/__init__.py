"""Measure zgen, Ray and the bare ZeroMQ floor side by side."""
