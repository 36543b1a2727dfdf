"""What are the images good for, to a classifier?"""
