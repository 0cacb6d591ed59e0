"""The Magnetic Particle Imaging Data Format: files in, labelled lazy arrays out, and back."""
