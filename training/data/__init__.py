"""Cut, label and balance the windows that a training learns from."""
