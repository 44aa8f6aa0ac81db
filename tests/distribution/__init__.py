"""Layers and files on several devices."""
