"""The demo: real models, real images with known text, a live view and a report."""
