"""What turns an image into the feature vector that every score reads."""
