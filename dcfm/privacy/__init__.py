"""What a trained model tells about the samples it was trained on: measured by attacks, and bounded by noise."""
