"""What a run says about itself: on the terminal, as one HTML page, and as a model card."""
