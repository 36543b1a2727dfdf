"""A trained model as something that answers: which image for this seed, index and label?"""
