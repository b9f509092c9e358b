"""Cut, label and balance the training windows."""
