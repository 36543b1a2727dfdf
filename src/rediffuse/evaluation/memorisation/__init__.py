"""Are the images new, or copies of what the model was trained on?"""
