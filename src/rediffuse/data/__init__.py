"""From a folder of the user's files to arrays a model trains on: sources, shards, cleaning, splits. Free of torch."""
