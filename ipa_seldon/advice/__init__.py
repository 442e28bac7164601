"""What is, or would have been, recommended, set against what ran; what each algorithm would have done."""
