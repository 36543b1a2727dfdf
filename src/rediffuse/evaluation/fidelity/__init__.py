"""Do the images follow the distribution of the real ones?"""
