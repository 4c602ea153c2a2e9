"""Made by hand now and then: sizing, and the training of what ships."""
